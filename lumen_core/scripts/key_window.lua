-- Part: the window of a key's cap. Returns its end after `now_ms`, as a number, if the stored window is over; else nil.
local function next_window_end(end_ms, length_ms)
  end_ms, length_ms = tonumber(end_ms), tonumber(length_ms)
  if not length_ms or length_ms == 0 or now_ms < end_ms then return nil end
  return end_ms + (math.floor((now_ms - end_ms) / length_ms) + 1) * length_ms
end
