// Meters a server-sent-event answer while it passes, and removes from it what Lumen asked for and the client did not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/money.h"
#include "lumen_core/request_facts.h"
#include "lumen_core/usage.h"

namespace lumen {

/// What one feed() lets through. The views point into the fed bytes or into the meter and die with the next call.
struct StreamOutput {
    std::vector<std::string_view> pieces;  ///< in order; concatenated they are what the client gets
    /// Index in `pieces` of the first piece of the closing event (`data: [DONE]`), where a comment may be put before it;
    /// npos while it has not come.
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    std::size_t closing = npos;
    void clear() {
        pieces.clear();
        closing = npos;
    }
};

/// Holds back at most one unfinished event, and only as much of it as must be seen whole to decide about it.
/// An event longer than kMaxEventBytes is passed through unread (its text still counts by bytes).
class StreamMeter {
   public:
    static constexpr std::size_t kMaxEventBytes = 1024 * 1024;

    /// `hide_usage`: usage was asked for by us; drop the usage-only chunk and cut `usage` members out of the others.
    StreamMeter(Operation operation, bool hide_usage);

    /// Takes the next bytes of the answer, cut anywhere. `out` is cleared first.
    void feed(std::string_view bytes, StreamOutput& out);
    /// The upstream closed properly: lets out what is held back.
    void finish(StreamOutput& out);

    bool done_seen() const noexcept { return done_seen_; }    ///< `[DONE]`, or the dialect's closing event
    bool error_seen() const noexcept { return error_seen_; }  ///< the upstream reported an error in the stream
    bool any_output() const noexcept { return output_text_bytes_ > 0; }
    /// Bytes of text, reasoning and tool arguments in the deltas, unescaped as far as is cheap (±2 %).
    std::uint64_t output_text_bytes() const noexcept { return output_text_bytes_; }
    /// `final` if the usage came in a usage-only or closing chunk, `continuous` if only within chunks, else `none`.
    UsageSource usage_source() const noexcept { return source_; }
    const Usage& usage() const noexcept { return usage_; }

   private:
    void take_event(std::string_view event, StreamOutput& out);

    Operation operation_;
    bool hide_usage_;
    bool done_seen_ = false;
    bool error_seen_ = false;
    UsageSource source_ = UsageSource::none;
    Usage usage_;
    std::uint64_t output_text_bytes_ = 0;
    std::string tail_;                  ///< the unfinished event
    std::vector<std::string> rewritten_;  ///< events cut by us, alive until the next call
};

}  // namespace lumen
