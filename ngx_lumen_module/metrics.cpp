#include "ngx_lumen_module/metrics.h"

#include <algorithm>

#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

void add(ngx_atomic_t& counter, std::uint64_t count) noexcept {
    (void)ngx_atomic_fetch_add(&counter, static_cast<ngx_atomic_int_t>(count));
}

template <std::size_t N>
void observe(Histogram<N>& histogram, const Scale<N>& scale, std::uint64_t value) noexcept {
    const auto bucket = std::lower_bound(scale.bounds.begin(), scale.bounds.end(), value) - scale.bounds.begin();
    add(histogram.buckets[static_cast<std::size_t>(bucket)], 1);
    add(histogram.sum, value);
}

/// The series of a model and operation, made on first sight; the last one takes what comes when the table is full.
Series& series_of(Counters& counters, const Request& request) noexcept {
    const ngx_atomic_uint_t key = series_key(request.model->id, request.operation);
    std::size_t at = static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> 32) % (kMaxSeries - 1);
    for (std::size_t probes = 0; probes < kMaxSeries - 1; ++probes, at = (at + 1) % (kMaxSeries - 1)) {
        Series& series = counters.series[at];
        if (series.key == 0) (void)ngx_atomic_cmp_set(&series.key, 0, key);
        if (series.key == key) return series;
    }
    return counters.series[kMaxSeries - 1];
}

ErrorType error_type_of(const Request& request) noexcept {
    const Metering& metering = request.metering;
    if (metering.upstream_status >= 500 || metering.upstream_status == 0) return ErrorType::upstream;
    if (metering.upstream_status >= 400) return ErrorType::request;
    return metering.complete ? ErrorType::none : ErrorType::incomplete;
}

std::uint64_t since(std::int64_t now_us, std::int64_t then_us) noexcept {
    return now_us > then_us ? static_cast<std::uint64_t>(now_us - then_us) : 0;
}

void count_times(Series& series, const Request& request) noexcept {
    const std::int64_t now_us = monotonic_us();
    const auto error_type = static_cast<std::size_t>(error_type_of(request));
    observe(series.duration[error_type], kDurationScale, since(now_us, request.began_us));
    if (request.first_byte_us == 0) return;
    observe(series.first_token, kFirstTokenScale, since(request.first_byte_us, request.began_us));
    const std::uint64_t output_tokens = request.metering.usage.output_tokens;
    if (request.metering.streaming && output_tokens > 1) {
        observe(series.per_token, kPerTokenScale, since(now_us, request.first_byte_us) / (output_tokens - 1));
    }
}

}  // namespace

Counters* shared_counters() noexcept {
    static auto* const counters = static_cast<Counters*>(shared_metrics(sizeof(Counters)));
    return counters;
}

void count_request(const Request& request) noexcept {
    Counters* counters = shared_counters();
    if (counters == nullptr || request.model == nullptr || !request.metering.sent_upstream) return;
    Series& series = series_of(*counters, request);
    count_times(series, request);
    if (request.metering.source != UsageSource::none) {
        observe(series.input_tokens, kTokenScale, request.metering.usage.input_tokens);
        observe(series.output_tokens, kTokenScale, request.metering.usage.output_tokens);
    }
    add(series.charged_nano, static_cast<std::uint64_t>(request.cost.nano()));
    add(counters->usage_sources[static_cast<std::size_t>(request.metering.source)], 1);
    observe(counters->overhead, kOverheadScale, since(request.gate_us, 0));
}

void count_refusal(Refusal refusal) noexcept {
    if (Counters* counters = shared_counters()) add(counters->refusals[static_cast<std::size_t>(refusal)], 1);
}

void count_attempt(AttemptOutcome outcome) noexcept {
    if (Counters* counters = shared_counters()) add(counters->attempts[static_cast<std::size_t>(outcome)], 1);
}

void count_interrupted(InterruptedBy side) noexcept {
    if (Counters* counters = shared_counters()) add(counters->interrupted[static_cast<std::size_t>(side)], 1);
}

}  // namespace lumen
