#include "ngx_lumen_module/catalogue_feed.h"

#include <simdjson.h>

#include <array>
#include <string>
#include <utility>

#include "lumen_core/api_error.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_channels.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

/// The document begins with its format and version, so equal heads are equal catalogues: a look costs 96 bytes.
constexpr std::string_view kHeadLast = "95";

struct Feed {
    const MainConf* conf = nullptr;
    ngx_log_t* log = nullptr;
    std::shared_ptr<const Catalogue> snapshot;
    std::string head;  ///< of the document behind `snapshot`, or of one that was refused
    bool fetching = false;
    bool fetch_again = false;  ///< announced while a fetch was under way: that one may have been too early
    ngx_queue_t waiting{};
    ngx_event_t look_timer{};
    ngx_msec_t began = 0;
    ngx_event_t first_timer{};  ///< while somebody waits for the first catalogue; not cancelable: he holds the worker
};
Feed feed;

// ---- the document --------------------------------------------------------------------------------------------------

void fetch();

void take_document(std::string_view document) {
    CatalogueResult result = parse_catalogue(document, view(feed.conf->secret), view(feed.conf->previous_secret));
    feed.head = document.substr(0, 96);
    if (!result.catalogue) {
        ngx_log_error(NGX_LOG_ERR, feed.log, 0, "lumen: catalogue refused, the one before stays: %s",
                      result.error.c_str());
        return;
    }
    if (feed.snapshot && result.catalogue->version <= feed.snapshot->version) return;
    feed.snapshot = std::move(result.catalogue);
    ngx_log_error(NGX_LOG_NOTICE, feed.log, 0, "lumen: catalogue version %L: %uz models",
                  static_cast<int64_t>(feed.snapshot->version), feed.snapshot->models.size());
}

void add_waiting(CatalogueWait& wait, void (*done)(void* owner), void* owner) noexcept {
    wait.done = done;
    wait.owner = owner;
    ngx_queue_insert_tail(&feed.waiting, &wait.link);
}

void tell_waiting() {
    // Taken off first: one that is told may wait again.
    ngx_queue_t told;
    ngx_queue_init(&told);
    if (!ngx_queue_empty(&feed.waiting)) {
        ngx_queue_add(&told, &feed.waiting);
        ngx_queue_init(&feed.waiting);
    }
    while (!ngx_queue_empty(&told)) {
        CatalogueWait& wait = *ngx_queue_data(ngx_queue_head(&told), CatalogueWait, link);
        const auto done = wait.done;
        void* owner = wait.owner;
        cancel(wait);
        done(owner);
    }
}

void on_document(void*, RedisResult result, std::string_view text) {
    feed.fetching = false;
    if (feed.first_timer.timer_set) {
        ngx_del_timer(&feed.first_timer);
    }
    if (result == RedisResult::error) {
        ngx_log_error(NGX_LOG_ERR, feed.log, 0, "lumen: catalogue: %*s", text.size(), text.data());
    }
    if (result == RedisResult::reply && !text.empty()) {
        guarded_void(feed.log, "catalogue", [&] { take_document(text); });
    }
    tell_waiting();
    if (std::exchange(feed.fetch_again, false)) fetch();
}

void fetch() {
    if (feed.fetching) {
        feed.fetch_again = true;
        return;
    }
    const std::array<std::string_view, 2> command{"GET", kCatalogueKey};
    feed.fetching = redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()),
                                  feed.conf->redis_timeout_ms, on_document, nullptr) != nullptr;
}

void on_head(void*, RedisResult result, std::string_view text) {
    if (result == RedisResult::reply && !text.empty() && text != feed.head) fetch();
}

void look() {
    const std::array<std::string_view, 4> command{"GETRANGE", kCatalogueKey, "0", kHeadLast};
    redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()), feed.conf->redis_timeout_ms,
                  on_head, nullptr);
}

void on_announced(void*, std::string_view version) {
    const ngx_int_t announced = ngx_atoi(reinterpret_cast<u_char*>(const_cast<char*>(version.data())), version.size());
    if (feed.snapshot && announced != NGX_ERROR && announced <= feed.snapshot->version) return;
    fetch();
}

// ---- probes --------------------------------------------------------------------------------------------------------

void take_probe(EndpointId id, bool healthy, std::int64_t at_ms) {
    EndpointState* state = endpoint_state(id);
    if (state == nullptr) return;
    struct Probe {
        bool healthy;
        std::int64_t at_ms;
    } probe{healthy, at_ms};
    update_health(
        *state,
        [](EndpointHealth& health, void* data) {
            const auto& news = *static_cast<const Probe*>(data);
            on_probe(health, news.at_ms, news.healthy);
        },
        &probe);
}

// {"at_ms":…,"endpoints":[{"id":1,"healthy":true}]}. Every worker hears it and one takes it for all: health is shared,
// and a bad probe counted once per worker would eject an endpoint for a single failure.
void on_probes(void*, std::string_view text) {
    simdjson::dom::parser parser;
    simdjson::dom::element document;
    simdjson::dom::array endpoints;
    std::int64_t at_ms = 0;
    if (parser.parse(text.data(), text.size()).get(document) != simdjson::SUCCESS ||
        document["at_ms"].get(at_ms) != simdjson::SUCCESS ||
        document["endpoints"].get(endpoints) != simdjson::SUCCESS) {
        ngx_log_error(NGX_LOG_ERR, feed.log, 0, "lumen: probes: not understood");
        return;
    }
    if (!claim_host_task(HostTask::probes, at_ms, 1)) return;  // by the message's own time: each is claimed once
    for (const simdjson::dom::element endpoint : endpoints) {
        std::int64_t id = 0;
        bool healthy = false;
        if (endpoint["id"].get(id) == simdjson::SUCCESS && endpoint["healthy"].get(healthy) == simdjson::SUCCESS) {
            take_probe(id, healthy, unix_ms());
        }
    }
}

// ---- timers --------------------------------------------------------------------------------------------------------

void on_look_time(ngx_event_t* timer) {
    ngx_add_timer(timer, kCatalogueLookMs);
    guarded_void(feed.log, "catalogue look", look);
}

}  // namespace

ngx_int_t catalogue_feed_init(ngx_cycle_t* cycle) {
    feed.conf = main_conf(cycle);
    feed.log = cycle->log;
    ngx_queue_init(&feed.waiting);
    redis_on_connected(RedisLane::requests, fetch);
    subscribe(kCatalogueKey, on_announced, nullptr);
    subscribe(kProbesKey, on_probes, nullptr);
    feed.began = ngx_current_msec;
    feed.first_timer.handler = [](ngx_event_t*) { guarded_void(feed.log, "first catalogue", tell_waiting); };
    feed.first_timer.data = &feed;
    feed.first_timer.log = feed.log;
    feed.look_timer.handler = on_look_time;
    feed.look_timer.data = &feed;
    feed.look_timer.log = feed.log;
    feed.look_timer.cancelable = 1;
    // Workers start together; they need not ask together.
    ngx_add_timer(&feed.look_timer, static_cast<ngx_msec_t>(ngx_random()) % kCatalogueLookMs + 1);
    return NGX_OK;
}

std::shared_ptr<const Catalogue> current_catalogue() noexcept {
    return feed.snapshot;
}

bool await_catalogue(CatalogueWait& wait, void (*done)(void* owner), void* owner) {
    fetch();
    if (!feed.fetching) return false;
    add_waiting(wait, done, owner);
    return true;
}

bool await_first_catalogue(CatalogueWait& wait, void (*done)(void* owner), void* owner) {
    const ngx_msec_t age_ms = ngx_current_msec - feed.began;
    if (feed.snapshot || age_ms >= feed.conf->redis_timeout_ms) return false;
    if (!feed.first_timer.timer_set) {
        ngx_add_timer(&feed.first_timer, feed.conf->redis_timeout_ms - age_ms);
    }
    add_waiting(wait, done, owner);
    return true;
}

void cancel(CatalogueWait& wait) noexcept {
    if (wait.done == nullptr) return;
    ngx_queue_remove(&wait.link);
    wait.done = nullptr;
}

}  // namespace lumen
