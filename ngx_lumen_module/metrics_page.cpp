#include "ngx_lumen_module/metrics_page.h"

#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/gate_report.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

constexpr double kMicrosPerSecond = 1e6;
constexpr double kMillisPerSecond = 1e3;
constexpr std::array<std::string_view, kAttemptOutcomes> kAttemptNames{"answered", "busy", "failed", "timed_out",
                                                                       "connect_failed"};
constexpr std::array<std::string_view, kInterruptedBy> kInterruptedNames{"client", "upstream", "coins"};
constexpr std::array<std::string_view, kErrorTypes> kErrorNames{"", "bad_request", "upstream_error", "incomplete"};

using Labels = std::string;  ///< `name="value",…`, without braces

std::string label(std::string_view name, std::string_view value) {
    std::string text(name);
    text += "=\"";
    for (const char c : value) {
        if (c == '"' || c == '\\') text += '\\';
        if (c == '\n') {
            text += "\\n";
        } else {
            text += c;
        }
    }
    return text += '"';
}

std::string decimal(double value) {
    std::array<char, 32> text;
    return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

class Page {
 public:
    void family(std::string_view name, std::string_view type, std::string_view help) {
        text_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
        text_.append(name).append(" ").append(type).append("\n");
    }
    void sample(std::string_view name, const Labels& labels, std::string_view value) {
        text_.append(name);
        if (!labels.empty()) text_.append("{").append(labels).append("}");
        text_.append(" ").append(value).append("\n");
    }
    /// `per_unit`: how many counted ones make one of the name's unit. Divided, so that bounds are the decimals they
    /// mean. Empty histograms are left out.
    template <std::size_t N>
    void histogram(const std::string& name, const Labels& labels, const Histogram<N>& histogram, const Scale<N>& scale,
                   double per_unit) {
        std::uint64_t count = 0;
        for (const ngx_atomic_t& bucket : histogram.buckets) count += bucket;
        if (count == 0) return;
        const std::string before = labels.empty() ? std::string() : labels + ",";
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < N; ++i) {
            below += histogram.buckets[i];
            const std::string bound = decimal(static_cast<double>(scale.bounds[i]) / per_unit);
            sample(name + "_bucket", before + label("le", bound), std::to_string(below));
        }
        sample(name + "_bucket", before + label("le", "+Inf"), std::to_string(count));
        sample(name + "_sum", labels, decimal(static_cast<double>(histogram.sum) / per_unit));
        sample(name + "_count", labels, std::to_string(count));
    }
    const std::string& text() const noexcept { return text_; }

 private:
    std::string text_;
};

std::string model_name(const Catalogue* catalogue, const Series& series) {
    const auto id = static_cast<ModelId>(series.key >> 8);
    if (series.key == 0) return "other";
    if (catalogue != nullptr) {
        for (const CatalogueModel& model : catalogue->models) {
            if (model.id == id) return model.name;
        }
    }
    return "removed-" + std::to_string(id);
}

struct NamedSeries {
    const Series* series;
    std::string model;
    Labels labels;
};

std::vector<NamedSeries> used_series(const Counters& counters, const Catalogue* catalogue) {
    std::vector<NamedSeries> used;
    for (const Series& series : counters.series) {
        if (series.key == 0 && &series != &counters.series.back()) continue;
        NamedSeries named{&series, model_name(catalogue, series), {}};
        const std::string_view operation =
            series.key == 0 ? std::string_view("other") : operation_name(static_cast<Operation>(series.key & 0xff));
        named.labels = label("gen_ai_operation_name", operation) + "," + label("gen_ai_request_model", named.model);
        used.push_back(std::move(named));
    }
    return used;
}

void write_requests(Page& page, const std::vector<NamedSeries>& all) {
    page.family("gen_ai_client_token_usage", "histogram", "Tokens of a request, as they were charged");
    for (const NamedSeries& one : all) {
        page.histogram("gen_ai_client_token_usage", one.labels + "," + label("gen_ai_token_type", "input"),
                       one.series->input_tokens, kTokenScale, 1);
        page.histogram("gen_ai_client_token_usage", one.labels + "," + label("gen_ai_token_type", "output"),
                       one.series->output_tokens, kTokenScale, 1);
    }
    page.family("gen_ai_server_request_duration_seconds", "histogram", "From the request's head to its answer's end");
    for (const NamedSeries& one : all) {
        for (std::size_t i = 0; i < kErrorTypes; ++i) {
            page.histogram("gen_ai_server_request_duration_seconds",
                           one.labels + "," + label("error_type", kErrorNames[i]), one.series->duration[i],
                           kDurationScale, kMicrosPerSecond);
        }
    }
    page.family("gen_ai_server_time_to_first_token_seconds", "histogram", "From the request's head to the first byte");
    for (const NamedSeries& one : all) {
        page.histogram("gen_ai_server_time_to_first_token_seconds", one.labels, one.series->first_token,
                       kFirstTokenScale, kMicrosPerSecond);
    }
    page.family("gen_ai_server_time_per_output_token_seconds", "histogram", "Of streams, after the first byte");
    for (const NamedSeries& one : all) {
        page.histogram("gen_ai_server_time_per_output_token_seconds", one.labels, one.series->per_token, kPerTokenScale,
                       kMicrosPerSecond);
    }
}

void write_charges(Page& page, const std::vector<NamedSeries>& all) {
    page.family("lumen_coins_charged_total", "counter", "Coins charged");
    std::map<std::string, std::int64_t> by_model;
    for (const NamedSeries& one : all) by_model[one.model] += static_cast<std::int64_t>(one.series->charged_nano);
    for (const auto& [model, nano] : by_model) {
        page.sample("lumen_coins_charged_total", label("model", model), format_coins(NanoCoins(nano)));
    }
}

template <std::size_t N, typename Name>
void write_counts(Page& page, std::string_view family, std::string_view label_name,
                  const std::array<ngx_atomic_t, N>& counts, Name name) {
    std::map<std::string_view, std::uint64_t> by_name;  // several rows of the error table share a code
    for (std::size_t i = 0; i < N; ++i) by_name[name(i)] += counts[i];
    for (const auto& [value, count] : by_name) page.sample(family, label(label_name, value), std::to_string(count));
}

void write_counters(Page& page, const Counters& counters) {
    page.family("lumen_overhead_seconds", "histogram", "Added by the gate before the model server is asked");
    page.histogram("lumen_overhead_seconds", {}, counters.overhead, kOverheadScale, kMicrosPerSecond);
    page.family("lumen_rejections_total", "counter", "Requests refused, by error code");
    write_counts(page, "lumen_rejections_total", "code", counters.refusals,
                 [](std::size_t i) { return refusal_label(static_cast<Refusal>(i)); });
    page.family("lumen_usage_source_total", "counter", "Where the charged numbers came from");
    write_counts(page, "lumen_usage_source_total", "source", counters.usage_sources,
                 [](std::size_t i) { return usage_source_name(static_cast<UsageSource>(i)); });
    page.family("lumen_attempts_total", "counter", "Endpoints asked, by how it went");
    write_counts(page, "lumen_attempts_total", "reason", counters.attempts,
                 [](std::size_t i) { return kAttemptNames[i]; });
    page.family("lumen_stream_interrupted_total", "counter", "Answers that ended early, by who ended them");
    write_counts(page, "lumen_stream_interrupted_total", "side", counters.interrupted,
                 [](std::size_t i) { return kInterruptedNames[i]; });
}

/// The state that people call it by: draining is none of health's.
std::string_view state_name(const EndpointView& view) noexcept {
    return view.endpoint->draining ? std::string_view("draining") : view.state;
}

void write_endpoints(Page& page, const Catalogue& catalogue) {
    const std::vector<EndpointView> views = endpoint_views(catalogue, unix_ms());
    const auto labels = [](const EndpointView& view) {
        return label("model", view.model->name) + "," + label("endpoint", view.endpoint->name);
    };
    page.family("lumen_endpoint_state", "gauge", "1 for the state that the endpoint is in");
    for (const EndpointView& view : views) {
        page.sample("lumen_endpoint_state", labels(view) + "," + label("state", state_name(view)), "1");
    }
    page.family(
        "lumen_endpoint_until_timestamp_seconds", "gauge",
        "Of endpoints that are not ready: when they may get a request again, and why not now; 0: now, as a trial");
    for (const EndpointView& view : views) {
        if (view.reason.empty()) continue;
        page.sample("lumen_endpoint_until_timestamp_seconds", labels(view) + "," + label("reason", view.reason),
                    decimal(static_cast<double>(view.until_ms) / kMillisPerSecond));
    }
    page.family("lumen_endpoint_in_flight", "gauge", "Requests under way at the endpoint, from this host");
    for (const EndpointView& view : views) {
        page.sample("lumen_endpoint_in_flight", labels(view), std::to_string(view.in_flight));
    }
    page.family("lumen_endpoint_latency_seconds", "gauge", "To the first byte, a moving average; absent: not known");
    for (const EndpointView& view : views) {
        if (view.latency_us == 0) continue;
        page.sample("lumen_endpoint_latency_seconds", labels(view),
                    decimal(static_cast<double>(view.latency_us) / kMicrosPerSecond));
    }
}

void write_gauge(Page& page, std::string_view name, std::string_view help, std::string_view value) {
    page.family(name, "gauge", help);
    page.sample(name, {}, value);
}

void write_ring(Page& page) {
    const RingView ring = ring_view();
    const std::int64_t oldest_ms = ring.load.oldest_settled_ms;
    const double oldest_s = oldest_ms == 0 ? 0 : static_cast<double>(unix_ms() - oldest_ms) / kMillisPerSecond;
    write_gauge(page, "lumen_spool_records", "Requests in the ring whose settle Redis has not acknowledged",
                std::to_string(ring.load.unsettled));
    write_gauge(page, "lumen_ring_slots", "Slots of the ring; 0: this worker has none and refuses priced requests",
                std::to_string(ring.slots));
    write_gauge(page, "lumen_ring_settled", "Acknowledged requests, kept for the replay window",
                std::to_string(ring.load.settled));
    write_gauge(page, "lumen_ring_oldest_settled_seconds", "Age of the oldest of them", decimal(oldest_s));
    page.family("lumen_ring_shrunk_total", "counter", "Slots that left the replay window early, as the ring was full");
    page.sample("lumen_ring_shrunk_total", {}, std::to_string(ring.shrunk));
}

std::string page_text() {
    Page page;
    const std::shared_ptr<const Catalogue> catalogue = current_catalogue();
    write_gauge(page, "lumen_redis_up", "1 while Redis answers the worker that made this page",
                redis_complete(RedisLane::requests) ? "1" : "0");
    write_gauge(page, "lumen_coins_held", "Coins held for the requests that this host runs",
                format_coins(coins_held()));
    write_gauge(page, "lumen_catalogue_version", "Of the worker that made this page; 0: none has come",
                std::to_string(catalogue ? catalogue->version : 0));
    write_ring(page);
    if (const Counters* counters = shared_counters()) {
        const std::vector<NamedSeries> series = used_series(*counters, catalogue.get());
        write_requests(page, series);
        write_charges(page, series);
        write_counters(page, *counters);
    }
    if (catalogue) write_endpoints(page, *catalogue);
    return page.text();
}

ngx_int_t answer_metrics(ngx_http_request_t* r) noexcept {
    if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0) return NGX_HTTP_NOT_ALLOWED;
    return guarded(r->connection->log, "metrics", ngx_int_t{NGX_HTTP_INTERNAL_SERVER_ERROR}, [&]() -> ngx_int_t {
        const ngx_int_t rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) return rc;
        const std::string body = page_text();
        r->headers_out.status = NGX_HTTP_OK;
        r->headers_out.content_length_n = static_cast<off_t>(body.size());
        ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4");
        r->headers_out.content_type_len = sizeof("text/plain") - 1;
        ++r->main->count;  // given back twice: by send_body, and by nginx for NGX_DONE of a content handler
        send_body(r, body);
        return NGX_DONE;
    });
}

}  // namespace

char* metrics_directive(ngx_conf_t* cf, ngx_command_t*, void*) {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    core->handler = answer_metrics;
    return NGX_CONF_OK;
}

}  // namespace lumen
