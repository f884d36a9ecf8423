// Counters in the shared zone, added to without locks (spec/api.md §5). Never labelled by user or key.
#pragma once

#include <array>

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Adds one finished request to the histograms and counters: tokens, duration, time to first byte, cost, source.
void count_request(const Request& request) noexcept;
void count_refusal(Refusal refusal) noexcept;
enum class AttemptOutcome : std::uint8_t { answered, busy, failed, timed_out, connect_failed };
inline constexpr std::size_t kAttemptOutcomes = 5;
void count_attempt(AttemptOutcome outcome) noexcept;
enum class InterruptedBy : std::uint8_t { client, upstream, coins };
inline constexpr std::size_t kInterruptedBy = 3;
void count_interrupted(InterruptedBy side) noexcept;

/// How a request ended, as the label error_type.
enum class ErrorType : std::uint8_t { none, request, upstream, incomplete };
inline constexpr std::size_t kErrorTypes = 4;

// ---- as they lie in the zone: zeroed memory, kept over reloads ------------------------------------------------------

/// Upper bounds of a histogram's buckets, inclusive, in its unit; seconds are counted in µs.
template <std::size_t N>
struct Scale {
    std::array<std::uint64_t, N> bounds;
};
inline constexpr Scale<14> kTokenScale{
    {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}};
inline constexpr Scale<14> kDurationScale{{10'000, 20'000, 40'000, 80'000, 160'000, 320'000, 640'000, 1'280'000,
                                           2'560'000, 5'120'000, 10'240'000, 20'480'000, 40'960'000, 81'920'000}};
inline constexpr Scale<16> kFirstTokenScale{{1'000, 5'000, 10'000, 20'000, 40'000, 60'000, 80'000, 100'000, 250'000,
                                             500'000, 750'000, 1'000'000, 2'500'000, 5'000'000, 7'500'000, 10'000'000}};
inline constexpr Scale<13> kPerTokenScale{{10'000, 25'000, 50'000, 75'000, 100'000, 150'000, 200'000, 300'000, 400'000,
                                           500'000, 750'000, 1'000'000, 2'500'000}};
inline constexpr Scale<12> kOverheadScale{{10, 20, 50, 100, 200, 500, 1'000, 2'000, 5'000, 10'000, 100'000, 1'000'000}};

template <std::size_t N>
struct Histogram {
    std::array<ngx_atomic_t, N + 1> buckets;  ///< not cumulative; the last one is +Inf
    ngx_atomic_t sum;
};

/// One model and operation.
struct Series {
    ngx_atomic_t key;  ///< series_key; 0: not used
    Histogram<14> input_tokens;
    Histogram<14> output_tokens;
    std::array<Histogram<14>, kErrorTypes> duration;
    Histogram<16> first_token;
    Histogram<13> per_token;
    ngx_atomic_t charged_nano;
};
/// Models times the operations they are used for; what comes beyond is counted together as "other".
inline constexpr std::size_t kMaxSeries = 256;

constexpr ngx_atomic_uint_t series_key(ModelId model, Operation operation) noexcept {
    return static_cast<ngx_atomic_uint_t>(model) << 8 | static_cast<ngx_atomic_uint_t>(operation);
}

struct Counters {
    std::array<Series, kMaxSeries> series;  ///< open addressing by key; the last one is "other"
    Histogram<12> overhead;
    std::array<ngx_atomic_t, kRefusals> refusals;
    std::array<ngx_atomic_t, 4> usage_sources;  ///< by UsageSource
    std::array<ngx_atomic_t, kAttemptOutcomes> attempts;
    std::array<ngx_atomic_t, kInterruptedBy> interrupted;
};

/// Null: the zone is full, and nothing is counted.
Counters* shared_counters() noexcept;

}  // namespace lumen
