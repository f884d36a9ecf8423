#include "admind/catalogue/endpoint_states.h"

#include <algorithm>

#include "admind/text/json.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr std::chrono::seconds kFreshFor{1};
constexpr std::size_t kMostGates = 256;
constexpr int kMostScans = 10'000;

void scan_gate_keys(RedisLink& redis, std::vector<std::string>& keys) {
    std::string cursor = "0";
    for (int scans = 0; scans < kMostScans && keys.size() < kMostGates; ++scans) {
        const RedisReply reply = redis.command(
            {"SCAN", cursor, "MATCH", std::string(kGateReportPrefix) + "*", "COUNT", "1000", "TYPE", "string"});
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) break;
        for (std::size_t i = 0; i < reply->element[1]->elements; ++i) {
            keys.emplace_back(reply_text(reply->element[1]->element[i]));
        }
        cursor = reply_text(reply->element[0]);
        if (cursor == "0") break;
    }
}

std::vector<std::string> gate_keys(RedisLink& redis) {
    std::vector<std::string> keys;
    redis.each_master([&](RedisLink& master) { scan_gate_keys(master, keys); });
    return keys;
}

std::int64_t integer(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<Json> endpoint_entries(std::string_view document) {
    std::vector<Json> entries;
    const auto json = parse_json(document);
    if (!json || !json->is_object()) return entries;
    const auto list = json->find("endpoints");
    if (list == json->end() || !list->is_array()) return entries;
    for (const Json& entry : *list) {
        if (entry.is_object() && integer(entry, "id") > 0) entries.push_back(entry);
    }
    return entries;
}

bool is_down(std::string_view state) {
    return state == "ejected" || state == "trial";
}

void take_gate_report(const Json& entry, std::unordered_map<EndpointId, EndpointReport>& reports) {
    EndpointReport& report = reports[integer(entry, "id")];
    const std::string state = text(entry, "state");
    report.in_flight += integer(entry, "in_flight");
    if (report.state.empty() || is_down(state) || (state == "busy" && !is_down(report.state))) {
        report.state = state;
        report.reason = text(entry, "reason");
        report.until_ms = integer(entry, "until_ms");
    }
    if (is_down(state))
        report.life = EndpointLife::down;
    else if (report.life == EndpointLife::unknown)
        report.life = EndpointLife::up;
}

/// A probe is the word where no gate has one, and a failed probe is believed before a gate that had no traffic.
void take_probe(const Json& entry, std::unordered_map<EndpointId, EndpointReport>& reports) {
    EndpointReport& report = reports[integer(entry, "id")];
    const auto healthy = entry.find("healthy");
    if (healthy == entry.end() || !healthy->is_boolean()) return;
    report.checked_ms = integer(entry, "at_ms");
    if (!healthy->get<bool>()) {
        report.life = EndpointLife::down;
        if (report.reason.empty()) report.reason = "probe failed";
    } else if (report.life == EndpointLife::unknown) {
        report.life = EndpointLife::up;
    }
}

}  // namespace

std::string_view model_status_name(ModelStatus status) noexcept {
    switch (status) {
        case ModelStatus::ok:
            return "ok";
        case ModelStatus::degraded:
            return "degraded";
        case ModelStatus::down:
            return "down";
        case ModelStatus::disabled:
            return "disabled";
    }
    return "down";
}

ModelStatus model_status(bool disabled, const std::vector<EndpointId>& endpoints,
                         const std::unordered_map<EndpointId, EndpointReport>& reports) {
    if (disabled) return ModelStatus::disabled;
    const auto down = static_cast<std::size_t>(std::count_if(endpoints.begin(), endpoints.end(), [&](EndpointId id) {
        const auto report = reports.find(id);
        return report != reports.end() && report->second.life == EndpointLife::down;
    }));
    if (down == endpoints.size()) return ModelStatus::down;
    return down == 0 ? ModelStatus::ok : ModelStatus::degraded;
}

std::unordered_map<EndpointId, EndpointReport> EndpointStates::reports() {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - read_at_ < kFreshFor) return reports_;
    read_at_ = now;
    std::unordered_map<EndpointId, EndpointReport> fresh;
    try {
        RedisPool::Lease redis = redis_.acquire();
        for (const std::string& key : gate_keys(*redis)) {
            const RedisReply reply = redis->command({"GET", key});
            for (const Json& entry : endpoint_entries(reply_text(reply.get()))) take_gate_report(entry, fresh);
        }
        const RedisReply probes = redis->command({"GET", kProbeResultsKey});
        for (const Json& entry : endpoint_entries(reply_text(probes.get()))) take_probe(entry, fresh);
    } catch (const RedisUnavailable&) {
        return reports_;
    }
    reports_ = std::move(fresh);
    return reports_;
}

std::map<std::string, std::vector<std::string>> secrets_of_gates(RedisLink& redis) {
    std::map<std::string, std::vector<std::string>> secrets;
    for (const std::string& key : gate_keys(redis)) {
        const RedisReply reply = redis.command({"GET", key});
        const auto report = parse_json(reply_text(reply.get()));
        if (!report || !report->is_object()) continue;  // its life ended in between
        std::vector<std::string>& known = secrets[key.substr(std::string_view(kGateReportPrefix).size())];
        const auto list = report->find("secrets");
        if (list == report->end() || !list->is_array()) continue;
        for (const Json& name : *list) {
            if (name.is_string()) known.push_back(name.get<std::string>());
        }
    }
    return secrets;
}

}  // namespace lumen::admind
