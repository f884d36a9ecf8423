#include "admind/catalogue/endpoint_prober.h"

#include <curl/curl.h>

#include <memory>

#include "admind/catalogue/endpoint_states.h"
#include "admind/ledger/live_updates.h"
#include "admind/text/json.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr long kProbesAtOnce = 32;
constexpr std::size_t kMostAnswerBytes = std::size_t{1024} * 1024;  // a list of models; more is no answer to a probe
constexpr const char* kResultsLife = "600";  // seconds; without a prober nothing is known of a server

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Multi = std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

struct Probe {
    const ProbeTarget* target = nullptr;
    std::size_t received = 0;
    Easy easy{nullptr, curl_easy_cleanup};
    Headers headers{nullptr, curl_slist_free_all};
};

std::size_t count_bytes(char*, std::size_t size, std::size_t count, void* data) {
    auto& received = *static_cast<std::size_t*>(data);
    received += size * count;
    return received > kMostAnswerBytes ? 0 : size * count;
}

std::unique_ptr<Probe> make_probe(const ProbeTarget& target, const std::string& url,
                                  std::chrono::milliseconds timeout) {
    auto probe = std::make_unique<Probe>();
    probe->target = &target;
    probe->easy.reset(curl_easy_init());
    CURL* easy = probe->easy.get();
    if (easy == nullptr) return nullptr;
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &probe->received);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, probe.get());
    if (!target.credential.empty()) {
        probe->headers.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + target.credential).c_str()));
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, probe->headers.get());
    }
    return probe;
}

/// Status of each URL; 0: no answer.
std::map<EndpointId, long> get_all(const std::vector<std::pair<const ProbeTarget*, std::string>>& urls,
                                   std::chrono::milliseconds timeout) {
    std::map<EndpointId, long> statuses;
    const Multi multi(curl_multi_init(), curl_multi_cleanup);
    if (!multi) return statuses;
    curl_multi_setopt(multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, kProbesAtOnce);
    std::vector<std::unique_ptr<Probe>> probes;
    for (const auto& [target, url] : urls) {
        statuses[target->id] = 0;
        auto probe = make_probe(*target, url, timeout);
        if (!probe) continue;
        curl_multi_add_handle(multi.get(), probe->easy.get());
        probes.push_back(std::move(probe));
    }
    int running = 1;
    while (running > 0 && curl_multi_perform(multi.get(), &running) == CURLM_OK) {
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
            if (message->msg != CURLMSG_DONE || message->data.result != CURLE_OK) continue;
            Probe* probe = nullptr;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &probe);
            curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &statuses[probe->target->id]);
        }
        if (running > 0) curl_multi_poll(multi.get(), nullptr, 0, 200, nullptr);
    }
    for (const auto& probe : probes) curl_multi_remove_handle(multi.get(), probe->easy.get());
    return statuses;
}

bool is_success(long status) {
    return status >= 200 && status < 300;
}

/// The server is there but has no /health: the list of models says more.
bool has_no_health(long status) {
    return status == 404 || status == 405 || status == 401 || status == 403;
}

}  // namespace

std::string health_url(const std::string& url) {
    constexpr std::string_view kVersion = "/v1";
    std::string base = url;
    if (base.size() > kVersion.size() && base.compare(base.size() - kVersion.size(), kVersion.size(), kVersion) == 0) {
        base.resize(base.size() - kVersion.size());
    }
    return base + "/health";
}

std::map<EndpointId, bool> probe_endpoints(const std::vector<ProbeTarget>& targets, std::chrono::milliseconds timeout) {
    std::vector<std::pair<const ProbeTarget*, std::string>> urls;
    for (const ProbeTarget& target : targets) urls.emplace_back(&target, health_url(target.url));
    const auto began = std::chrono::steady_clock::now();
    std::map<EndpointId, long> statuses = get_all(urls, timeout);

    urls.clear();
    for (const ProbeTarget& target : targets) {
        if (has_no_health(statuses[target.id])) urls.emplace_back(&target, target.url + "/models");
    }
    const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    if (!urls.empty() && spent < timeout) {
        for (const auto& [id, status] : get_all(urls, timeout - spent)) statuses[id] = status;
    }
    std::map<EndpointId, bool> results;
    for (const auto& [id, status] : statuses) results[id] = is_success(status);
    return results;
}

EndpointProber::EndpointProber(LiveSettings& settings, PgPool& postgres, RedisPool& redis)
    : settings_(settings), postgres_(postgres), redis_(redis), random_(std::random_device{}()) {}

std::chrono::milliseconds EndpointProber::jittered(std::chrono::milliseconds interval) {
    // ±10 %: servers that came up together are not asked together for ever.
    std::uniform_int_distribution<std::int64_t> spread(-interval.count() / 10, interval.count() / 10);
    return interval + std::chrono::milliseconds(spread(random_));
}

std::vector<ProbeTarget> EndpointProber::due_targets(std::chrono::steady_clock::time_point now) {
    const std::shared_ptr<const Settings> settings = settings_.current();
    const AppSettings& app = settings->app;
    std::vector<ProbeTarget> due;
    std::map<EndpointId, Known> still_there;
    PgPool::Lease lease = postgres_.acquire();
    pqxx::work transaction(*lease);
    for (const auto& row : transaction.exec("select e.id, e.url, e.credential from endpoints e join models m"
                                            " on m.id = e.model_id where not e.removed and not m.removed")) {
        const auto id = row[0].as<EndpointId>();
        const auto known = known_.find(id);
        still_there[id] = known == known_.end() ? Known{} : known->second;
        if (still_there[id].due > now) continue;
        const auto sealed = row[2].as<std::string>();
        const auto credential = sealed.empty() ? std::string()
                                               : unseal_credential(app.encryption_key, app.previous_encryption_key,
                                                                   std::to_string(id), sealed)
                                                     .value_or("");
        due.push_back({id, row[1].as<std::string>(), credential});
    }
    known_ = std::move(still_there);
    return due;
}

void EndpointProber::announce(const std::map<EndpointId, bool>& results) {
    const std::int64_t now_ms = unix_ms_now();
    Json news = Json::array();
    for (const auto& [id, healthy] : results) news.push_back({{"id", id}, {"healthy", healthy}});
    Json all = Json::array();
    for (const auto& [id, known] : known_) {
        if (known.probed) all.push_back({{"id", id}, {"healthy", known.healthy}, {"at_ms", known.at_ms}});
    }
    const std::string news_text = to_text({{"at_ms", now_ms}, {"endpoints", std::move(news)}});
    RedisPool::Lease redis = redis_.acquire();
    redis->command(
        {"SET", kProbeResultsKey, to_text({{"at_ms", now_ms}, {"endpoints", std::move(all)}}), "EX", kResultsLife});
    redis->command({"SET", kProbesKey, news_text});
    redis->command({"PUBLISH", kProbesKey, news_text});
}

void EndpointProber::run() {
    const HealthSettings health = settings_.current()->health;
    const std::vector<ProbeTarget> targets = due_targets(std::chrono::steady_clock::now());
    if (targets.empty()) return;
    const std::map<EndpointId, bool> results = probe_endpoints(targets, health.timeout);
    const auto now = std::chrono::steady_clock::now();
    bool changed = false;
    for (const auto& [id, healthy] : results) {
        Known& known = known_[id];
        changed = changed || known.healthy != healthy;
        known.probed = true;
        known.healthy = healthy;
        known.at_ms = unix_ms_now();
        known.due = now + jittered(healthy ? health.interval
                                           : std::min<std::chrono::seconds>(health.interval, kProbeWhileDown));
    }
    announce(results);
    if (!changed) return;
    RedisPool::Lease redis = redis_.acquire();
    tell_all_pages(*redis, {LiveEventKind::model, "{}"});
}

}  // namespace lumen::admind
