#include "ngx_lumen_module/live_account.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "lumen_core/account_bucket.h"
#include "lumen_core/catalogue.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/live_viewer.h"
#include "ngx_lumen_module/redis_channels.h"
#include "ngx_lumen_module/request.h"

namespace lumen {
namespace {

/// A page that is loaded anew comes back within this; its channel need not be given up for that.
constexpr std::int64_t kForgetMs = 5'000;
/// After something happened a wallet is looked at often for so long.
constexpr std::int64_t kLivelyMs = 15'000;
/// A browser waits so long before it comes back, each another time: all leave at once when nginx is reloaded.
constexpr std::int64_t kLeastRetryMs = 500;
constexpr std::int64_t kRetrySpreadMs = 2'000;

struct Accounts {
    ngx_log_t* log = nullptr;
    ngx_msec_t redis_timeout_ms = 0;
    std::unordered_map<AccountId, std::unique_ptr<LiveAccount>> by_id;
    ngx_event_t tell_timer{};  ///< for changes that came too soon after the last
};
Accounts* accounts = nullptr;

using Text = std::shared_ptr<const std::string>;

Text text(std::string content) {
    return std::make_shared<const std::string>(std::move(content));
}

LiveViewer& viewer_of(ngx_queue_t* link) noexcept {
    return *ngx_queue_data(link, LiveViewer, of_account);
}

/// Calls `act` with each viewer. What it does may end that one or, on HTTP/2, others.
template <typename Act>
void for_each_viewer(LiveAccount& account, Act&& act) {
    ngx_queue_t todo;
    ngx_queue_init(&todo);
    if (ngx_queue_empty(&account.viewers)) return;
    ngx_queue_add(&todo, &account.viewers);
    ngx_queue_init(&account.viewers);
    while (!ngx_queue_empty(&todo)) {
        ngx_queue_t* link = ngx_queue_head(&todo);
        ngx_queue_remove(link);
        ngx_queue_insert_tail(&account.viewers, link);
        LiveViewer& viewer = viewer_of(link);
        ngx_connection_t* connection = viewer.r->connection;
        act(viewer);
        ngx_http_run_posted_requests(connection);  // the viewer may be gone
    }
}

std::string retry_line() {
    const std::int64_t ms = kLeastRetryMs + static_cast<std::int64_t>(ngx_random()) % kRetrySpreadMs;
    return "retry: " + std::to_string(ms) + "\n";
}

void open_or_refuse(LiveViewer& viewer) {
    LiveAccount& account = *viewer.account;
    if (!account.wallet->active) return end_viewer(viewer);
    const std::int64_t now_ms = unix_ms();
    const std::string data = balance_event_data(*account.wallet, account.totals, now_ms);
    std::string first = retry_line();
    first += viewer.last_id == live_event_id(data) ? ": as you know it\n\n" : balance_event(data, now_ms);
    open_viewer(viewer, text(std::move(first)));
}

// ---- telling -------------------------------------------------------------------------------------------------------

void tell(LiveAccount& account, std::int64_t now_ms) {
    account.changed = false;
    std::string news = std::exchange(account.waiting, {});
    std::size_t events = std::exchange(account.waiting_events, 0);
    std::string data = balance_event_data(*account.wallet, account.totals, now_ms);
    if (data != account.shown) {
        account.shown = std::move(data);
        news += balance_event(account.shown, now_ms);
        ++events;
    }
    if (events == 0) return;
    account.may_tell_ms = now_ms + static_cast<std::int64_t>(events) * kLiveEventMs;
    const Text shared = text(std::move(news));
    for_each_viewer(account, [&](LiveViewer& viewer) {
        if (viewer.open) send_to_viewer(viewer, shared);
    });
}

void tell_soon(LiveAccount& account) {
    if (!account.wallet) return;  // the first look is still to come
    const std::int64_t now_ms = unix_ms();
    if (now_ms >= account.may_tell_ms) return tell(account, now_ms);
    account.changed = true;
    if (!accounts->tell_timer.timer_set) ngx_add_timer(&accounts->tell_timer, kLiveEventMs / 2);
}

void on_tell_time(ngx_event_t* timer) {
    guarded_void(accounts->log, "live events", [timer] {
        const std::int64_t now_ms = unix_ms();
        bool more = false;
        for (auto& [id, account] : accounts->by_id) {
            if (!account->changed) continue;
            if (now_ms >= account->may_tell_ms) {
                tell(*account, now_ms);
            } else {
                more = true;
            }
        }
        if (more) ngx_add_timer(timer, kLiveEventMs / 2);
    });
}

void end_all(LiveAccount& account) {
    for_each_viewer(account, [](LiveViewer& viewer) { end_viewer(viewer); });
}

// ---- the wallet in Redis -------------------------------------------------------------------------------------------

void look(LiveAccount& account, std::int64_t now_ms);

void refuse_waiting(LiveAccount& account) {
    for_each_viewer(account, [](LiveViewer& viewer) {
        if (viewer.open) return;
        leave_account(viewer);
        refuse_viewer(viewer.r, LiveRefusal::redis_unavailable);
    });
}

void take_wallet(LiveAccount& account, RedisResult result, std::string_view words) {
    const std::int64_t now_ms = unix_ms();
    const std::optional<LiveWallet> wallet =
        result == RedisResult::reply ? parse_live_wallet(words) : std::optional<LiveWallet>();
    if (!wallet) return refuse_waiting(account);  // open streams wait: it comes back
    const bool moved =
        account.wallet && (account.wallet->held != wallet->held || account.wallet->balance != wallet->balance);
    if (moved || wallet->held > NanoCoins(0)) account.lively_until_ms = now_ms + kLivelyMs;
    account.next_look_ms = now_ms + (now_ms < account.lively_until_ms ? kLiveLookMs : kLiveIdleLookMs);
    account.wallet = wallet;
    if (!wallet->active) return end_all(account);
    tell_soon(account);
    for_each_viewer(account, [](LiveViewer& viewer) {
        if (!viewer.open) open_or_refuse(viewer);
    });
}

void on_wallet(void* owner, RedisResult result, std::string_view words) {
    auto& account = *static_cast<LiveAccount*>(owner);
    account.call = nullptr;
    take_wallet(account, result, words);
    if (std::exchange(account.look_again, false)) look(account, unix_ms());
}

void look(LiveAccount& account, std::int64_t now_ms) {
    if (account.call != nullptr) {
        account.look_again = true;
        return;
    }
    account.next_look_ms = now_ms + kLiveLookMs;
    constexpr std::size_t kFields = std::size(kLiveWalletFields);
    const std::string key = account_key(account.id);
    std::array<std::string_view, 2 + kFields> command{"HMGET", key};
    for (std::size_t i = 0; i < kFields; ++i) command[2 + i] = kLiveWalletFields[i];
    account.call = redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()),
                                 accounts->redis_timeout_ms, on_wallet, &account);
    if (account.call == nullptr) refuse_waiting(account);
}

// ---- what admind says ----------------------------------------------------------------------------------------------

void take_events(LiveAccount& account, const LiveMessage& message) {
    for (const LiveEvent& event : message.events) {
        if (account.waiting_events == kMaxLiveEvents) break;
        account.waiting += live_event(event);
        ++account.waiting_events;
    }
}

void on_account_message(void* owner, std::string_view payload) {
    auto& account = *static_cast<LiveAccount*>(owner);
    const std::optional<LiveMessage> message = parse_live_message(payload);
    if (!message) return;
    if (message->ends_all) return end_all(account);
    if (!message->ends_session.empty()) {
        for_each_viewer(account, [&](LiveViewer& viewer) {
            if (session_of(viewer) == message->ends_session) end_viewer(viewer);
        });
    }
    take_events(account, *message);
    if (message->totals) {
        account.totals = message->totals;
        look(account, unix_ms());  // what is told is Redis's own balance, with what is held
    } else if (!message->events.empty()) {
        tell_soon(account);
    }
}

void on_message_for_all(void*, std::string_view payload) {
    const std::optional<LiveMessage> message = parse_live_message(payload);
    if (!message) return;
    for (auto& [id, account] : accounts->by_id) {
        take_events(*account, *message);
        tell_soon(*account);
    }
}

/// What was published meanwhile is lost, and with it what we know of the book.
void on_gap() {
    if (accounts == nullptr) return;
    const std::int64_t now_ms = unix_ms();
    for (auto& [id, account] : accounts->by_id) {
        account->totals.reset();
        account->next_look_ms = now_ms;
    }
}

std::string channel_of(AccountId id) {
    return kLivePrefix + std::to_string(id);
}

LiveAccount& watched_account(AccountId id) {
    std::unique_ptr<LiveAccount>& entry = accounts->by_id[id];
    if (entry == nullptr) {
        entry = std::make_unique<LiveAccount>();
        entry->id = id;
        ngx_queue_init(&entry->viewers);
        subscribe(channel_of(id), on_account_message, entry.get());
    }
    return *entry;
}

}  // namespace

Text state_after_gap(const LiveAccount& account) {
    const std::int64_t now_ms = unix_ms();
    return text(balance_event(balance_event_data(*account.wallet, std::nullopt, now_ms), now_ms));
}

void live_accounts_init(ngx_log_t* log, ngx_msec_t redis_timeout_ms) {
    accounts = new Accounts;
    accounts->log = log;
    accounts->redis_timeout_ms = redis_timeout_ms;
    accounts->tell_timer.handler = on_tell_time;
    accounts->tell_timer.data = accounts;
    accounts->tell_timer.log = log;
    accounts->tell_timer.cancelable = 1;
    subscribe(kLiveChannel, on_message_for_all, nullptr);
    on_channels_back(on_gap);
}

void live_accounts_exit() noexcept {
    if (accounts == nullptr) return;
    if (accounts->tell_timer.timer_set) {
        ngx_del_timer(&accounts->tell_timer);
    }
    delete accounts;
    accounts = nullptr;
}

void join_account(LiveViewer& viewer) {
    LiveAccount& account = watched_account(viewer.account_id);
    viewer.account = &account;
    ngx_queue_insert_tail(&account.viewers, &viewer.of_account);
    ++account.viewer_count;
    const std::int64_t now_ms = unix_ms();
    // A wallet that others look at already is at most one look old; one that nobody looked at is read first.
    if (account.wallet && account.viewer_count > 1) return open_or_refuse(viewer);
    look(account, now_ms);
}

void leave_account(LiveViewer& viewer) noexcept {
    if (viewer.account == nullptr) return;
    ngx_queue_remove(&viewer.of_account);
    if (--viewer.account->viewer_count == 0) viewer.account->unwatched_since_ms = unix_ms();
    viewer.account = nullptr;
}

void live_accounts_tick(std::int64_t now_ms) {
    std::size_t looks = 0;
    for (auto it = accounts->by_id.begin(); it != accounts->by_id.end();) {
        LiveAccount& account = *it->second;
        if (account.viewer_count > 0) {
            if (now_ms >= account.next_look_ms && looks < kMaxLiveLooks) {
                ++looks;
                look(account, now_ms);
            }
        } else if (now_ms - account.unwatched_since_ms >= kForgetMs) {
            detach(account.call);
            unsubscribe(channel_of(account.id));
            it = accounts->by_id.erase(it);
            continue;
        }
        ++it;
    }
}

bool live_accounts_watched() noexcept {
    return !accounts->by_id.empty();
}

void touch_live_account(AccountId id) noexcept {
    if (accounts == nullptr || accounts->by_id.empty()) return;
    const auto found = accounts->by_id.find(id);
    if (found == accounts->by_id.end()) return;
    const std::int64_t now_ms = unix_ms();
    found->second->lively_until_ms = now_ms + kLivelyMs;
    found->second->next_look_ms = std::min(found->second->next_look_ms, now_ms + kLiveLookMs / 2);
}

}  // namespace lumen
