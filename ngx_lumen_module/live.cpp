#include "ngx_lumen_module/live.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lumen_core/catalogue.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/live_account.h"
#include "ngx_lumen_module/live_viewer.h"
#include "ngx_lumen_module/request.h"

namespace lumen {
namespace {

constexpr ngx_uint_t kDefaultViewers = 10'000;
constexpr std::size_t kCookieDigits = 64;
constexpr std::size_t kEventIdDigits = 16;

constexpr ngx_msec_t kTickMs = 1'000;
/// A viewer hears something at least this often, or a proxy in between would think it dead (E2).
constexpr std::size_t kBeats = 15;
/// A socket that takes nothing for so long is closed.
constexpr std::int64_t kLongestStuckMs = 30'000;

struct Live {
    ngx_log_t* log = nullptr;
    ngx_msec_t redis_timeout_ms = 0;
    std::size_t viewers = 0;
    std::size_t beat = 0;
    std::array<ngx_queue_t, kBeats> beats{};  ///< viewers by the second in which they are told something
    std::shared_ptr<const std::string> comment;
    ngx_event_t tick{};        ///< not cancelable while somebody looks: it ends the streams before a worker leaves
    ngx_connection_t dummy{};  ///< nginx's event log handler wants a connection behind `data`
};
Live* live = nullptr;

// ---- the session ---------------------------------------------------------------------------------------------------

template <typename Take>
void each_header(const ngx_http_request_t* r, std::string_view lowercase_name, Take&& take) {
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr; part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& header = headers[i];
            const std::string_view name(reinterpret_cast<const char*>(header.lowcase_key), header.key.len);
            if (name == lowercase_name) take(view(header.value));
        }
    }
}

bool is_cookie_value(std::string_view value) noexcept {
    return value.size() == kCookieDigits && std::all_of(value.begin(), value.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

/// The session's in a Cookie header; empty: it is not there.
std::string_view session_cookie(std::string_view header) noexcept {
    constexpr std::string_view kName = kSessionCookie;
    while (!header.empty()) {
        const std::size_t end = std::min(header.find(';'), header.size());
        std::string_view pair = header.substr(0, end);
        header.remove_prefix(std::min(end + 1, header.size()));
        pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
        if (pair.size() <= kName.size() || pair.substr(0, kName.size()) != kName || pair[kName.size()] != '=') continue;
        const std::string_view value = pair.substr(kName.size() + 1);
        if (is_cookie_value(value)) return value;
    }
    return {};
}

/// Under this name Redis keeps it; the cookie itself is stored nowhere.
bool read_session(LiveViewer& viewer) {
    std::string_view cookie;
    each_header(viewer.r, "cookie", [&cookie](std::string_view header) {
        if (cookie.empty()) cookie = session_cookie(header);
    });
    if (cookie.empty()) return false;
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(cookie.data()), cookie.size(), digest.data());
    constexpr char kHex[] = "0123456789abcdef";
    for (std::size_t i = 0; i < digest.size(); ++i) {
        viewer.session[2 * i] = kHex[digest[i] >> 4U];
        viewer.session[2 * i + 1] = kHex[digest[i] & 0x0FU];
    }
    return true;
}

/// The next of a reply's words; 0 for nil and for what is no number.
std::int64_t next_number(std::string_view& words) noexcept {
    const std::size_t end = std::min(words.find(' '), words.size());
    std::int64_t number = 0;
    std::from_chars(words.data(), words.data() + end, number);
    words.remove_prefix(std::min(end + 1, words.size()));
    return number;
}

RedisCall* ask_session(LiveViewer& viewer, RedisCallback callback) {
    const std::string key = kSessionPrefix + std::string(session_of(viewer));
    const std::array<std::string_view, 6> command{"HMGET", key, "user", "account", "created", "expires"};
    return redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()), live->redis_timeout_ms,
                         callback, &viewer);
}

/// The request goes on, or ends, in the middle of nginx's event loop.
template <typename Continue>
void go_on(LiveViewer& viewer, Continue&& step) noexcept {
    ngx_connection_t* connection = viewer.r->connection;
    viewer.call = nullptr;
    ngx_http_set_log_request(connection->log, viewer.r);
    guarded_void(connection->log, "live stream", [&] { step(); });
    ngx_http_run_posted_requests(connection);  // the viewer may be gone
}

/// Sessions of a user who was deactivated are over, also when he is active again.
void on_sessions_since(void* owner, RedisResult result, std::string_view words) {
    auto& viewer = *static_cast<LiveViewer*>(owner);
    go_on(viewer, [&] {
        if (result != RedisResult::reply) return refuse_viewer(viewer.r, LiveRefusal::redis_unavailable);
        if (next_number(words) > viewer.created_ms) return refuse_viewer(viewer.r, LiveRefusal::unauthenticated);
        join_account(viewer);
    });
}

void on_session(void* owner, RedisResult result, std::string_view words) {
    auto& viewer = *static_cast<LiveViewer*>(owner);
    go_on(viewer, [&] {
        if (result != RedisResult::reply) return refuse_viewer(viewer.r, LiveRefusal::redis_unavailable);
        viewer.user = next_number(words);
        viewer.account_id = next_number(words);
        viewer.created_ms = next_number(words);
        viewer.expires_ms = next_number(words);
        if (viewer.user <= 0 || viewer.account_id <= 0 || viewer.expires_ms <= unix_ms()) {
            return refuse_viewer(viewer.r, LiveRefusal::unauthenticated);
        }
        const std::string key = kSessionsSincePrefix + std::to_string(viewer.user);
        const std::array<std::string_view, 2> command{"GET", key};
        viewer.call = redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()),
                                    live->redis_timeout_ms, on_sessions_since, &viewer);
        if (viewer.call == nullptr) refuse_viewer(viewer.r, LiveRefusal::redis_unavailable);
    });
}

/// Of an open stream: it ends with its session, and only if Redis says so.
void on_session_again(void* owner, RedisResult result, std::string_view words) {
    auto& viewer = *static_cast<LiveViewer*>(owner);
    go_on(viewer, [&] {
        if (result != RedisResult::reply) return;
        const std::int64_t user = next_number(words);
        next_number(words);
        next_number(words);
        viewer.expires_ms = next_number(words);
        if (user != viewer.user || viewer.expires_ms <= unix_ms()) end_viewer(viewer);
    });
}

// ---- viewers -------------------------------------------------------------------------------------------------------

void viewer_gone(LiveViewer& viewer) {
    ngx_queue_remove(&viewer.of_beat);
    if (live != nullptr) --live->viewers;
}

LiveViewer* admit_viewer(ngx_http_request_t* r) {
    LiveViewer* viewer = make_viewer(r, viewer_gone);
    if (viewer == nullptr) return nullptr;
    ++live->viewers;
    // Told something for the last time just now, so its next turn is a whole round away.
    ngx_queue_insert_tail(&live->beats[live->beat % kBeats], &viewer->of_beat);
    if (!live->tick.timer_set) ngx_add_timer(&live->tick, kTickMs);
    return viewer;
}

void keep_alive(LiveViewer& viewer, std::int64_t now_ms) {
    if (!viewer.open) return;
    if (viewer.expires_ms <= now_ms) return end_viewer(viewer);
    if (viewer.text != nullptr) {
        if (now_ms - viewer.stuck_since_ms > kLongestStuckMs) ngx_http_finalize_request(viewer.r, NGX_ERROR);
        return;
    }
    // For a sign-out whose message was lost.
    if (viewer.call == nullptr) viewer.call = ask_session(viewer, on_session_again);
    send_to_viewer(viewer, live->comment);
}

/// Calls `act` with each viewer of a beat; that may end it.
template <typename Act>
void for_each_in_beat(ngx_queue_t& beat, Act&& act) {
    ngx_queue_t todo;
    ngx_queue_init(&todo);
    if (ngx_queue_empty(&beat)) return;
    ngx_queue_add(&todo, &beat);
    ngx_queue_init(&beat);
    while (!ngx_queue_empty(&todo)) {
        ngx_queue_t* link = ngx_queue_head(&todo);
        ngx_queue_remove(link);
        ngx_queue_insert_tail(&beat, link);
        LiveViewer& viewer = *ngx_queue_data(link, LiveViewer, of_beat);
        ngx_connection_t* connection = viewer.r->connection;
        act(viewer);
        ngx_http_run_posted_requests(connection);
    }
}

void on_tick(ngx_event_t* timer) {
    guarded_void(live->log, "live tick", [] {
        const std::int64_t now_ms = unix_ms();
        ++live->beat;
        if (ngx_exiting) {
            for (ngx_queue_t& beat : live->beats) for_each_in_beat(beat, end_viewer);
            return;
        }
        for_each_in_beat(live->beats[live->beat % kBeats], [&](LiveViewer& viewer) { keep_alive(viewer, now_ms); });
        live_accounts_tick(now_ms);
    });
    // Accounts are forgotten a little after their last viewer has left.
    if (!ngx_exiting && (live->viewers > 0 || live_accounts_watched())) ngx_add_timer(timer, kTickMs);
}

// ---- nginx's side --------------------------------------------------------------------------------------------------

ngx_int_t answer_events(ngx_http_request_t* r) noexcept {
    return guarded(r->connection->log, "live stream", ngx_int_t{NGX_HTTP_INTERNAL_SERVER_ERROR}, [&]() -> ngx_int_t {
        const ngx_int_t rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) return rc;
        ++r->main->count;  // given back twice: by who ends the request, and by nginx for NGX_DONE of a content handler
        const auto refuse = [r](LiveRefusal refusal) {
            refuse_viewer(r, refusal);
            return NGX_DONE;
        };
        if (r->method != NGX_HTTP_GET) return refuse(LiveRefusal::method_not_allowed);
        if (live == nullptr || live->viewers >= location_conf(r)->live_viewers) {
            return refuse(LiveRefusal::too_many_viewers);
        }
        LiveViewer* viewer = admit_viewer(r);
        if (viewer == nullptr || !read_session(*viewer)) return refuse(LiveRefusal::unauthenticated);
        each_header(r, "last-event-id", [viewer](std::string_view id) {
            if (id.size() == kEventIdDigits) viewer->last_id = id;
        });
        r->read_event_handler = ngx_http_test_reading;  // a browser that leaves is noticed
        r->write_event_handler = ngx_http_request_empty_handler;
        viewer->call = ask_session(*viewer, on_session);
        if (viewer->call == nullptr) return refuse(LiveRefusal::redis_unavailable);
        return NGX_DONE;
    });
}

}  // namespace

ngx_int_t live_init_process(ngx_cycle_t* cycle) {
    live = new Live;
    live->log = cycle->log;
    live->redis_timeout_ms = main_conf(static_cast<const ngx_cycle_t*>(cycle))->redis_timeout_ms;
    live->comment = std::make_shared<const std::string>(":\n\n");
    for (ngx_queue_t& beat : live->beats) {
        ngx_queue_init(&beat);
    }
    live->dummy.fd = static_cast<ngx_socket_t>(-1);
    live->tick.handler = on_tick;
    live->tick.data = &live->dummy;
    live->tick.log = cycle->log;
    live_accounts_init(cycle->log, live->redis_timeout_ms);
    return NGX_OK;
}

void live_exit_process() noexcept {
    live_accounts_exit();
    if (live == nullptr) return;
    if (live->tick.timer_set) {
        ngx_del_timer(&live->tick);
    }
    delete live;
    live = nullptr;
}

char* live_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<LocationConf*>(data);
    if (conf.live_viewers != NGX_CONF_UNSET_UINT) return const_cast<char*>("is duplicate");
    conf.live_viewers = kDefaultViewers;
    if (cf->args->nelts == 2) {
        constexpr std::string_view kViewers = "viewers=";
        ngx_str_t& parameter = static_cast<ngx_str_t*>(cf->args->elts)[1];
        const ngx_int_t count = view(parameter).substr(0, kViewers.size()) == kViewers
                                    ? ngx_atoi(parameter.data + kViewers.size(), parameter.len - kViewers.size())
                                    : NGX_ERROR;
        if (count < 1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" in lumen_live", &parameter);
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        conf.live_viewers = static_cast<ngx_uint_t>(count);
    }
    auto* main = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_lumen_module));
    main->configured = 1;
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    core->handler = answer_events;
    return NGX_CONF_OK;
}

}  // namespace lumen
