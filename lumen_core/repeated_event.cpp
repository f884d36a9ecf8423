#include "lumen_core/repeated_event.h"

#include <cstring>

#include "lumen_core/counted_string.h"

namespace lumen {
namespace {

/// Kept by each stream: longer ones are not worth their memory.
constexpr std::size_t kLongestFrame = 768;
/// A stream in which so many in a row were all different, as where events are numbered, is not tried any more.
constexpr std::uint8_t kMostMisses = 16;

bool ends_with_blank_line(std::string_view event) noexcept {
    return event.size() >= 2 && event[event.size() - 1] == '\n' && event[event.size() - 2] == '\n';
}

}  // namespace

void RepeatedEvent::learn(std::string_view event, EventPart text, EventPart cut) {
    const std::size_t text_bytes = text.end - text.begin;
    const bool cut_is_apart = cut.end <= text.begin || cut.begin > text.end;
    if (misses_ == kMostMisses || event.size() - text_bytes > kLongestFrame || !cut_is_apart) return;
    if (!ends_with_blank_line(event)) return;
    // Behind the text, as behind every member: so the end of none of the names that are looked for can be text.
    const char behind = event[text.end + 1];
    if (event[text.end] != '"' || (behind != ',' && behind != '}')) return;
    if (++misses_ == kMostMisses) {
        frame_ = {};
        return;
    }
    frame_.reserve(event.size() - text_bytes);
    frame_.assign(event.substr(0, text.begin));
    frame_.append(event.substr(text.end));
    text_at_ = text.begin;
    cut_ = cut;
    if (cut.begin > text.end) {
        cut_.begin -= text_bytes;
        cut_.end -= text_bytes;
    }
}

RepeatedEvent::Match RepeatedEvent::match(std::string_view bytes) noexcept {
    if (frame_.empty() || bytes.size() < frame_.size()) return {};
    if (std::memcmp(bytes.data(), frame_.data(), text_at_) != 0) return {};
    const char* const end = bytes.data() + bytes.size();
    // Clean text has no line ends: so the event has those of the frame and no other.
    const CountedString counted = count_string(bytes.data() + text_at_, end);
    const std::size_t rest_bytes = frame_.size() - text_at_;
    const char* const rest = counted.text.data() + counted.text.size();
    if (!counted.clean || static_cast<std::size_t>(end - rest) < rest_bytes) return {};
    if (std::memcmp(rest, frame_.data() + text_at_, rest_bytes) != 0) return {};
    misses_ = 0;
    Match match{frame_.size() + counted.text.size(), counted.bytes, cut_};
    if (cut_.begin > text_at_) {
        match.cut.begin += counted.text.size();
        match.cut.end += counted.text.size();
    }
    return match;
}

}  // namespace lumen
