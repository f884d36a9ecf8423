// The server's time, whatever the clock of this computer says, and however it is set meanwhile (P16).

export type ServerClock = () => number;

/** `iso` is the server's time at this moment; what comes back tells it at any later one, in ms. */
export function serverClock(iso: string): ServerClock {
  const offset = Date.parse(iso) - performance.now();
  return () => offset + performance.now();
}
