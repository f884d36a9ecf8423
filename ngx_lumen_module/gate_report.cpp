#include "ngx_lumen_module/gate_report.h"

#include <array>
#include <charconv>

#include "lumen_core/api_error.h"
#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/settle_ring.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

/// `{"a":1,"b":"text",…}`, member by member.
class JsonObject {
 public:
    explicit JsonObject(std::string& out) : out_(out) { out_.push_back('{'); }
    JsonObject(const JsonObject&) = delete;
    JsonObject& operator=(const JsonObject&) = delete;
    ~JsonObject() { out_.push_back('}'); }

    /// The caller writes the value.
    std::string& member(std::string_view name) {
        if (out_.back() != '{') out_.push_back(',');
        out_.append("\"").append(name).append("\":");
        return out_;
    }
    template <typename Integer>
    void number(std::string_view name, Integer value) {
        member(name).append(std::to_string(value));
    }
    void text(std::string_view name, std::string_view value) {
        member(name).push_back('"');
        append_json_escaped(out_, value);
        out_.push_back('"');
    }
    void flag(std::string_view name, bool value) { member(name).append(value ? "true" : "false"); }

 private:
    std::string& out_;
};

void append_endpoint(std::string& out, const EndpointView& view, ReportNames names) {
    JsonObject object(out);
    object.number("id", view.endpoint->id);
    if (names == ReportNames::ids_and_names) {
        object.text("name", view.endpoint->name);
        object.text("model", view.model->name);
        object.number("weight", view.endpoint->weight);
    }
    object.text("state", view.state);
    object.flag("draining", view.endpoint->draining);
    object.text("reason", view.reason);
    object.number("failures", view.failures);
    object.number("until_ms", view.until_ms);
    object.number("in_flight", view.in_flight);
    object.number("latency_us", view.latency_us);
}

void append_endpoints(std::string& out, const Catalogue& catalogue, std::int64_t now_ms, ReportNames names) {
    out.push_back('[');
    for (const EndpointView& view : endpoint_views(catalogue, now_ms)) {
        if (out.back() != '[') out.push_back(',');
        append_endpoint(out, view, names);
    }
    out.push_back(']');
}

void append_ring(std::string& out) {
    const RingView ring = ring_view();
    JsonObject object(out);
    object.number("slots", ring.slots);
    object.number("unsettled", ring.load.unsettled);
    object.number("settled", ring.load.settled);
    object.number("oldest_settled_ms", ring.load.oldest_settled_ms);
    object.number("shrunk", ring.shrunk);
    object.number("replay_ms", ring.replay_ms);
}

/// Names of the installation secrets that this gate knows, the one in force first: what `lumen-admind secret` shows.
void append_secrets(std::string& out) {
    const MainConf* conf = main_conf(const_cast<const ngx_cycle_t*>(ngx_cycle));
    out.push_back('[');
    if (conf != nullptr) out.append("\"").append(view(conf->secret_id)).append("\"");
    if (conf != nullptr && conf->previous_secret_id.len > 0) {
        out.append(",\"").append(view(conf->previous_secret_id)).append("\"");
    }
    out.push_back(']');
}

struct Reporter {
    const MainConf* conf = nullptr;
    ngx_log_t* log = nullptr;
    ngx_event_t timer{};
};
Reporter reporter;

/// Several gates may run on one host, each with a ring of its own, and hosts may be copies of one another.
std::string gate_id() {
    std::string id(view(reporter.conf->host_name));
    if (worker_ring() == nullptr) return id;
    std::array<char, 16> hex;
    const auto [end, error] = std::to_chars(hex.data(), hex.data() + hex.size(), worker_ring()->instance(), 16);
    return id.append("-").append(hex.data(), end);
}

void send_report(const Catalogue& catalogue, std::int64_t now_ms) {
    const std::string report = gate_report(&catalogue, now_ms, ReportNames::ids);
    const std::string key = kGateReportPrefix + gate_id();
    const std::string life = std::to_string(kGateReportLifeSeconds);
    const std::array<std::string_view, 5> command{"SET", key, report, "EX", life};
    redis_command(
        RedisLane::requests, command.data(), static_cast<int>(command.size()), reporter.conf->redis_timeout_ms,
        [](void*, RedisResult, std::string_view) {}, nullptr);
}

void on_report_time(ngx_event_t* timer) {
    ngx_add_timer(timer, kGateReportMs);
    guarded_void(reporter.log, "gate report", [] {
        const std::int64_t now_ms = unix_ms();
        const std::shared_ptr<const Catalogue> catalogue = current_catalogue();
        if (!catalogue || !claim_host_task(HostTask::gate_report, now_ms, kGateReportMs)) return;
        send_report(*catalogue, now_ms);
    });
}

}  // namespace

std::vector<EndpointView> endpoint_views(const Catalogue& catalogue, std::int64_t now_ms) {
    std::vector<EndpointView> views;
    for (const CatalogueModel& model : catalogue.models) {
        for (const CatalogueEndpoint& endpoint : model.endpoints) {
            EndpointState* state = endpoint_state(endpoint.id);
            if (state == nullptr) continue;
            const EndpointHealth health = read_health(*state);
            EndpointView& view = views.emplace_back();
            view.model = &model;
            view.endpoint = &endpoint;
            view.state = endpoint_status_name(endpoint_status(health, now_ms));
            view.reason = endpoint_status_reason(health, now_ms);
            view.until_ms = endpoint_status_until_ms(health, now_ms);
            view.failures = health.failures_in_row;
            view.in_flight = in_flight(*state);
            view.latency_us = health.latency_ewma_us;
        }
    }
    return views;
}

RingView ring_view() noexcept {
    RingView view;
    const MainConf* conf = main_conf(const_cast<const ngx_cycle_t*>(ngx_cycle));
    if (conf != nullptr) view.replay_ms = static_cast<std::int64_t>(conf->replay_ms);
    const RingFile* ring = worker_ring();
    if (ring == nullptr) return view;
    view.slots = ring->slots();
    view.load = ring->total_load();
    view.shrunk = ring->shrunk();
    return view;
}

std::string gate_report(const Catalogue* catalogue, std::int64_t now_ms, ReportNames names) {
    std::string out;
    {
        JsonObject report(out);
        report.number("at_ms", now_ms);
        report.number("catalogue", catalogue != nullptr ? catalogue->version : 0);
        if (names == ReportNames::ids_and_names) {
            report.flag("redis_up", redis_complete(RedisLane::requests));
            report.number("models", catalogue != nullptr ? catalogue->models.size() : 0);
        }
        report.text("coins_held", format_coins(coins_held()));
        append_secrets(report.member("secrets"));
        append_ring(report.member("ring"));
        std::string& endpoints = report.member("endpoints");
        if (catalogue != nullptr) {
            append_endpoints(endpoints, *catalogue, now_ms, names);
        } else {
            endpoints.append("[]");
        }
    }
    return out;
}

void gate_report_init(ngx_cycle_t* cycle) {
    reporter.conf = main_conf(const_cast<const ngx_cycle_t*>(cycle));
    reporter.log = cycle->log;
    reporter.timer.handler = on_report_time;
    reporter.timer.data = &reporter;
    reporter.timer.log = cycle->log;
    reporter.timer.cancelable = 1;
    ngx_add_timer(&reporter.timer, kGateReportMs);
}

}  // namespace lumen
