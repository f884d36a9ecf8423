#include "lumen_core/sse.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "lumen_core/api_error.h"

namespace lumen {
namespace {

constexpr std::array<std::string_view, 2> kClosingChunk{"data: [DONE]", "data:[DONE]"};
constexpr std::array<std::string_view, 8> kClosingResponse{
    "data: [DONE]",
    "data:[DONE]",
    "event: response.completed",
    "event:response.completed",
    "event: response.incomplete",
    "event:response.incomplete",
    "event: response.failed",
    "event:response.failed",
};
constexpr std::array<std::string_view, 2> kClosingMessage{"event: message_stop", "event:message_stop"};

template <typename Matches>
bool any_closing_line(Operation operation, Matches matches) noexcept {
    const auto any = [&matches](const auto& lines) { return std::any_of(lines.begin(), lines.end(), matches); };
    if (operation == Operation::responses) return any(kClosingResponse);
    return operation == Operation::messages ? any(kClosingMessage) : any(kClosingChunk);
}

bool is_closing_line(Operation operation, std::string_view line) noexcept {
    return any_closing_line(operation, [line](std::string_view closing) { return line == closing; });
}

/// An open stream must not keep the memory of the largest event that another one had: assigning would exchange it.
void hand_over(std::string& from, std::string& to) noexcept {
    to = std::string(std::move(from));
    from.clear();
}

}  // namespace

void StreamOutput::clear() noexcept {
    pieces.clear();
    closing = npos;
    in_place = true;
    whole_event_.clear();
    told_errors_.clear();
}

StreamMeter::StreamMeter(Operation operation, bool hide_usage)
    : operation_(operation), hide_usage_(hide_usage && takes_stream_options(operation)) {}

void StreamMeter::feed(std::string_view bytes, StreamOutput& out) {
    begin_output(out);
    input_ = bytes;
    while (!bytes.empty()) {
        if (event_ended_by_cr_) {
            event_ended_by_cr_ = false;
            if (bytes.front() == '\n') {
                if (!event_dropped_) let_out(bytes.substr(0, 1), out);
                bytes.remove_prefix(1);
                continue;
            }
        }
        if (const std::size_t repeated = event_bytes_ == 0 ? take_repeated_event(bytes, out) : 0; repeated > 0) {
            bytes.remove_prefix(repeated);
            continue;
        }
        const std::size_t end = find_event_end(bytes);
        if (end == std::string_view::npos) return keep_unfinished(bytes, out);
        event_ended_by_cr_ = bytes[end - 1] == '\r';
        end_event(bytes.substr(0, end), out);
        bytes.remove_prefix(end);
    }
}

void StreamMeter::finish(StreamOutput& out) {
    begin_output(out);
    // The standard drops an event without its blank line; clients do not, so neither may we.
    if (!tail_.empty()) end_event({}, out);
}

void StreamMeter::begin_output(StreamOutput& out) noexcept {
    out.clear();
    last_piece_is_input_ = false;
    input_ = {};
}

/// Where the event ends in `bytes`, its blank line included, but not the LF after a CR; npos: not in here.
std::size_t StreamMeter::find_event_end(std::string_view bytes) noexcept {
    std::size_t at = 0;
    if (line_ended_by_cr_ && bytes.front() == '\n') {
        at = 1;
        line_begin_ = event_bytes_ + 1;
    }
    line_ended_by_cr_ = false;

    const std::size_t event_bytes_before = event_bytes_;
    while (at < bytes.size()) {
        const SseLine line = first_sse_line(bytes.substr(at));
        const std::size_t line_end = at + line.text.size();
        if (line_end == bytes.size()) break;  // has no end yet
        if (line_begin_ == event_bytes_before + line_end) return line_end + 1;
        at += line.next;
        line_begin_ = event_bytes_before + at;
        line_ended_by_cr_ = bytes[at - 1] == '\r';
    }
    event_bytes_ += bytes.size();
    return std::string_view::npos;
}

void StreamMeter::end_event(std::string_view last_part, StreamOutput& out) {
    if (oversized_) {
        take_unread(last_part);
        let_out(last_part, out);
    } else if (tail_.size() + last_part.size() > kMaxEventBytes) {
        give_up_on_event(last_part, out);
    } else if (tail_.empty()) {
        take_event(last_part, out);
    } else {
        hand_over(tail_, out.whole_event_);
        out.whole_event_.append(last_part);
        take_event(out.whole_event_, out);
    }
    if (oversized_) end_unread();
    forget_event();
}

void StreamMeter::keep_unfinished(std::string_view bytes, StreamOutput& out) {
    if (oversized_) {
        take_unread(bytes);
        return let_out(bytes, out);
    }
    if (tail_.size() + bytes.size() > kMaxEventBytes) return give_up_on_event(bytes, out);

    tail_.append(bytes);
}

void StreamMeter::give_up_on_event(std::string_view bytes, StreamOutput& out) {
    take_unread(tail_);
    take_unread(bytes);
    if (!tail_.empty()) {  // else whole_event_ may hold an event that this call has let out
        hand_over(tail_, out.whole_event_);
        let_out(out.whole_event_, out);
    }
    let_out(bytes, out);
    event_dropped_ = false;
    oversized_ = true;
}

/// An event like the one before but for its text, if `bytes` begin with one: how long it is; else 0.
std::size_t StreamMeter::take_repeated_event(std::string_view bytes, StreamOutput& out) {
    const RepeatedEvent::Match match = repeated_.match(bytes);
    if (match.event_bytes == 0 || match.event_bytes > kMaxEventBytes) return 0;
    output_text_bytes_ += match.text_bytes;
    const std::string_view event = bytes.substr(0, match.event_bytes);
    let_out(event.substr(0, match.cut.begin), out);
    let_out(event.substr(match.cut.end), out);
    return match.event_bytes;
}

void StreamMeter::learn_event(std::string_view event, const SseEventFacts& facts) {
    const std::size_t cuts = hide_usage_ ? facts.usage_members.size() : 0;
    if (!facts.only_text || cuts > 1) return;
    repeated_.learn(event, *facts.only_text, cuts == 1 ? facts.usage_members.front() : EventPart{});
}

void StreamMeter::take_event(std::string_view event, StreamOutput& out) {
    const SseEventFacts& facts = out.reader_.read(operation_, event, message_);
    done_seen_ = done_seen_ || facts.done;
    error_seen_ = error_seen_ || facts.error;
    output_text_bytes_ += facts.output_text_bytes;
    picture_begun_ = picture_begun_ || facts.picture;
    picture_finished_ = picture_finished_ || (facts.picture && facts.done);
    if (facts.usage) take_usage(*facts.usage, facts.usage_is_final);

    event_dropped_ = hide_usage_ && facts.usage_only;
    if (event_dropped_) return;
    if (facts.error && gives_away(facts.error_data)) {
        out.told_errors_.push_back(upstream_error_event(operation_, facts.error_data));
        return let_out(out.told_errors_.back(), out);
    }
    std::size_t at = 0;
    if (facts.done && !closing_reported_) {
        std::size_t line_begin = 0;
        while (line_begin < event.size()) {
            const SseLine line = first_sse_line(event.substr(line_begin));
            if (is_closing_line(operation_, line.text)) break;
            line_begin += line.next;
        }
        if (line_begin < event.size()) {
            let_out(event.substr(at, line_begin - at), out);
            at = line_begin;
            out.closing = out.pieces.size();
            closing_reported_ = true;
        }
    }
    if (hide_usage_) {
        for (const EventPart& part : facts.usage_members) {
            let_out(event.substr(at, part.begin - at), out);
            at = part.end;
        }
    }
    let_out(event.substr(at), out);
    learn_event(event, facts);
}

void StreamMeter::take_usage(const SaidUsage& said, bool is_final) noexcept {
    said_ = said;  // counts are totals so far: the last one replaces the others
    if (source_ != UsageSource::final) source_ = is_final ? UsageSource::final : UsageSource::continuous;
}

/// Part of an event that is too long to be kept.
void StreamMeter::take_unread(std::string_view bytes) {
    if (operation_ != Operation::images_generations) {
        output_text_bytes_ += bytes.size();
        return;
    }
    picture_begun_ = true;  // what else is as long?
    if (!picture_) picture_ = std::make_unique<PictureEvent>();
    picture_->feed(bytes);
}

void StreamMeter::end_unread() noexcept {
    if (!picture_) return;
    if (picture_->finished()) {
        done_seen_ = picture_finished_ = true;
        if (const auto usage = picture_->usage()) take_usage(*usage, true);
    }
    picture_.reset();
}

void StreamMeter::let_out(std::string_view bytes, StreamOutput& out) {
    if (bytes.empty()) return;
    const std::less<const char*> before;  // unlike `<`, defined for pointers into different strings
    const bool is_input = !before(bytes.data(), input_.data()) && before(bytes.data(), input_.data() + input_.size());
    if (is_input && last_piece_is_input_ && out.closing != out.pieces.size()) {
        std::string_view& last = out.pieces.back();
        if (last.data() + last.size() == bytes.data()) {
            last = {last.data(), last.size() + bytes.size()};
            return;
        }
    }
    out.pieces.push_back(bytes);
    out.in_place = out.in_place && is_input;
    last_piece_is_input_ = is_input;
}

void StreamMeter::forget_event() noexcept {
    tail_.clear();
    event_bytes_ = line_begin_ = 0;
    line_ended_by_cr_ = false;
    oversized_ = false;
}

}  // namespace lumen
