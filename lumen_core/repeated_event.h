// Most events of a stream are the one before again but for the piece of text that they bring: what was found out about
// one holds for all that are the same around their text, so those are compared and not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lumen {

/// A part of an event, in bytes from its start.
struct EventPart {
    std::size_t begin = 0;
    std::size_t end = 0;
};

/// The last event that brought text, without it.
class RepeatedEvent {
 public:
    struct Match {
        std::size_t event_bytes = 0;   ///< its blank line included; 0: no such event
        std::uint64_t text_bytes = 0;  ///< of its text, unescaped
        EventPart cut;                 ///< what is cut out of it; empty: nothing
    };

    /// An event that has been read: `text` is what may differ in the next ones, all of a JSON string between its
    /// quotes, and nothing else in it matters but `cut`. Events that are too long, that do not end with a blank line of
    /// a lone LF, or that have all been different so far are not kept.
    void learn(std::string_view event, EventPart text, EventPart cut);
    /// Whether `bytes`, which begin an event, begin with one that is the same around its text.
    Match match(std::string_view bytes) noexcept;

 private:
    std::string frame_;        ///< the event without its text; empty: none is known
    std::size_t text_at_ = 0;  ///< where in the frame it was
    EventPart cut_;            ///< in the frame
    std::uint8_t misses_ = 0;  ///< events in a row that were learned in vain
};

}  // namespace lumen
