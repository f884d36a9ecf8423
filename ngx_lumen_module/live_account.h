// The accounts that somebody looks at, as this worker knows them: what Redis says of their wallets, what admind
// publishes of them, and who is told.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lumen_core/ids.h"
#include "lumen_core/live_message.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/redis_client.h"

namespace lumen {

struct LiveViewer;

/// Least time between two events of an account's streams: four a second.
inline constexpr std::int64_t kLiveEventMs = 250;
/// How often a wallet is looked at: while coins are held or something happened lately, and else.
inline constexpr std::int64_t kLiveLookMs = 1'000;
inline constexpr std::int64_t kLiveIdleLookMs = 10'000;
/// Looks at wallets begun in one tick, for all accounts together.
inline constexpr std::size_t kMaxLiveLooks = 2'048;

struct LiveAccount {
    AccountId id = 0;
    ngx_queue_t viewers{};
    std::size_t viewer_count = 0;
    std::int64_t unwatched_since_ms = 0;

    std::optional<LiveWallet> wallet;  ///< none: not read yet
    std::optional<LiveTotals> totals;  ///< none: not published since we listen
    std::string shown;                 ///< data of the last balance event
    std::string waiting;               ///< events of other kinds, complete
    std::size_t waiting_events = 0;

    RedisCall* call = nullptr;  ///< a look, under way
    bool look_again = false;
    std::int64_t next_look_ms = 0;
    std::int64_t lively_until_ms = 0;
    bool changed = false;  ///< something to tell, at `may_tell_ms`
    std::int64_t may_tell_ms = 0;
};

void live_accounts_init(ngx_log_t* log, ngx_msec_t redis_timeout_ms);
void live_accounts_exit() noexcept;

/// The viewer, whose account_id is known, listens. It is opened once the wallet has been read, at once if it is known;
/// or refused: 401 if the account is deactivated, 503 while Redis does not say.
void join_account(LiveViewer& viewer);
void leave_account(LiveViewer& viewer) noexcept;

/// Each second: looks at wallets that are due, forgets accounts that nobody looks at any more.
void live_accounts_tick(std::int64_t now_ms);
bool live_accounts_watched() noexcept;
/// Something happened in this account just now: its wallet is looked at each second for a while.
void touch_live_account(AccountId id) noexcept;

}  // namespace lumen
