// Meters a server-sent-event answer while it passes, and removes from it what Lumen asked for and the client did not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/money.h"
#include "lumen_core/picture_event.h"
#include "lumen_core/repeated_event.h"
#include "lumen_core/request_facts.h"
#include "lumen_core/sse_event.h"
#include "lumen_core/usage.h"

namespace lumen {

/// What one feed() lets through, and the memory in which it is read: streams that are read one after the other use the
/// same, so that none has to keep its own. The views point into the fed bytes or into this, and die with the next call.
struct StreamOutput {
    std::vector<std::string_view> pieces;  ///< in order; concatenated they are what the client gets
    /// Index in `pieces` of the first piece of the closing event, where a comment line may be put before it; npos while
    /// it has not come. Reported once a stream.
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    std::size_t closing = npos;
    bool in_place = true;  ///< all pieces are parts of the fed bytes, in their order

 private:
    friend class StreamMeter;
    void clear() noexcept;

    SseEventReader reader_;
    std::string whole_event_;             ///< one that began in an earlier call; `pieces` may point into it
    std::list<std::string> told_errors_;  ///< likewise; a list, as that takes no memory while it is empty
};

/// Takes a stream in pieces of any size and gives it out again, the same bytes but for what `hide_usage` removes, and
/// for errors of the upstream that give away what is behind the gate, which are told without that. What it gives out
/// and what it tells do not depend on where the pieces were cut.
///
/// Bytes are held back until an event is whole. One longer than kMaxEventBytes is passed through unread, and all of it
/// counts as text; only those of pictures, which are as long as pictures are, are read on while they pass.
class StreamMeter {
 public:
    static constexpr std::size_t kMaxEventBytes = 1024 * 1024;

    /// `hide_usage`: usage was asked for by us; drop the usage-only chunk and cut `usage` members out of the others.
    /// Has no effect where streams carry usage unasked.
    StreamMeter(Operation operation, bool hide_usage);

    /// Takes the next bytes of the answer, cut anywhere. `out` is cleared first.
    void feed(std::string_view bytes, StreamOutput& out);
    /// The upstream closed properly: reads and lets out what is held back.
    void finish(StreamOutput& out);

    bool done_seen() const noexcept { return done_seen_; }    ///< `[DONE]`, or the dialect's closing event
    bool error_seen() const noexcept { return error_seen_; }  ///< the upstream reported an error in the stream
    bool any_output() const noexcept { return output_text_bytes_ > 0; }
    /// Bytes of text, reasoning and tool arguments in the deltas, unescaped as far as is cheap (±2 %).
    std::uint64_t output_text_bytes() const noexcept { return output_text_bytes_; }
    /// `final` if a usage came without a choice, in a chunk that finishes one, or in a closing event; `continuous` if
    /// only within other chunks; else `none`.
    UsageSource usage_source() const noexcept { return source_; }
    const Usage& usage() const noexcept { return said_.usage; }
    /// The same, with what it lacks: of a message the output until a message_delta has said it.
    const SaidUsage& said_usage() const noexcept { return said_; }
    bool picture_begun() const noexcept { return picture_begun_; }        ///< something of a picture has come
    bool picture_finished() const noexcept { return picture_finished_; }  ///< and all of it

 private:
    void begin_output(StreamOutput& out) noexcept;
    std::size_t find_event_end(std::string_view bytes) noexcept;
    void end_event(std::string_view last_part, StreamOutput& out);
    void keep_unfinished(std::string_view bytes, StreamOutput& out);
    void give_up_on_event(std::string_view bytes, StreamOutput& out);
    std::size_t take_repeated_event(std::string_view bytes, StreamOutput& out);
    void take_event(std::string_view event, StreamOutput& out);
    void learn_event(std::string_view event, const SseEventFacts& facts);
    void take_usage(const SaidUsage& said, bool is_final) noexcept;
    void take_unread(std::string_view bytes);
    void end_unread() noexcept;
    void let_out(std::string_view bytes, StreamOutput& out);
    void forget_event() noexcept;

    Operation operation_;
    bool hide_usage_;
    MessageSoFar message_;
    RepeatedEvent repeated_;

    bool done_seen_ = false;
    bool error_seen_ = false;
    UsageSource source_ = UsageSource::none;
    SaidUsage said_;
    bool picture_begun_ = false;
    bool picture_finished_ = false;
    std::uint64_t output_text_bytes_ = 0;
    bool closing_reported_ = false;

    // The unfinished event. Offsets are bytes from its start.
    std::string tail_;  ///< its bytes so far, unless it is oversized
    std::size_t event_bytes_ = 0;
    std::size_t line_begin_ = 0;     ///< of the line that has not ended
    bool line_ended_by_cr_ = false;  ///< an LF that follows belongs to that CR
    bool oversized_ = false;
    std::unique_ptr<PictureEvent> picture_;  ///< reads it, if it is oversized and a picture

    bool event_ended_by_cr_ = false;  ///< an LF that follows goes where the event before went
    bool event_dropped_ = false;

    std::string_view input_;  ///< of the running call
    bool last_piece_is_input_ = false;
};

}  // namespace lumen
