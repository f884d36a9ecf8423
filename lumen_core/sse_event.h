// Reads one server-sent event of a model server's stream: its usage, its text in bytes, and which bytes carry `usage`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/counted_string.h"
#include "lumen_core/money.h"
#include "lumen_core/repeated_event.h"
#include "lumen_core/request_facts.h"
#include "lumen_core/usage.h"

namespace lumen {

/// The first line of `text`, without its end (LF, CR or CRLF), and where the next one begins.
struct SseLine {
    std::string_view text;
    std::size_t next = 0;
};
SseLine first_sse_line(std::string_view text) noexcept;

struct SseEventFacts {
    bool done = false;            ///< `[DONE]`, or the dialect's event that ends an answer
    bool error = false;           ///< the upstream reports an error
    std::string_view error_data;  ///< of an error: the event's data
    bool usage_only = false;      ///< carries a usage object and no choice
    std::optional<SaidUsage> usage;
    bool usage_is_final = false;  ///< no choice comes with it, or one that finishes
    bool picture = false;         ///< carries one: unfinished, or if `done` the one that was asked for
    std::uint64_t output_text_bytes = 0;
    std::vector<EventPart> usage_members;  ///< with one comma each, in order: what remains without them is valid JSON
    /// The one piece of text in it, between its quotes, if that is all that the event tells and it is well-formed.
    std::optional<EventPart> only_text;
};

/// What has come of a messages stream, of which each event tells some counts.
struct MessageSoFar {
    MessageCounts counts;
    bool delta_seen = false;
    bool output_said = false;  ///< by a message_delta: what message_start says of it is of no output yet
};

/// Reads events one after the other, of any streams, in memory that it keeps.
class SseEventReader {
 public:
    /// `event`: its lines, with or without the blank one. `message` is its stream's. The result dies with the next
    /// call.
    const SseEventFacts& read(Operation operation, std::string_view event, MessageSoFar& message);

 private:
    struct DataLine {
        std::size_t in_data = 0;   ///< where the line's text begins in the joined data
        std::size_t in_event = 0;  ///< where it begins in the event
    };
    std::string_view collect_data(std::string_view event);
    bool scan_members(std::string_view data);
    void read_facts(std::string_view data);
    void read_chunk(std::string_view data);
    void read_response_event(std::string_view data);
    void read_message_event(std::string_view data);
    void read_transcript_event(std::string_view data);
    void read_picture_event(std::string_view data);
    void mark_usage_member(std::size_t begin, std::size_t end);
    void find_only_text(std::string_view event) noexcept;
    std::size_t event_offset(std::size_t data_offset) const noexcept;

    Operation operation_ = Operation::chat_completions;  // of the event being read, as all that follows
    MessageSoFar* message_ = nullptr;
    SseEventFacts facts_;
    bool finishes_choice_ = false;  // it has a finish_reason
    std::size_t facts_seen_ = 0;    // members `usage` and `error` in it, wherever they are
    std::size_t texts_seen_ = 0;
    CountedString last_text_;      // of them
    std::string_view event_name_;  // of the event being read
    std::vector<DataLine> data_lines_;
    std::string joined_data_;  // of events with several data lines
};

}  // namespace lumen
