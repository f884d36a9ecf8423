// The clock: hours are counted by number, in UTC, on Redis's clock. Steps forwards and backwards, summer time, a change
// of leader on the last tenth of an hour, a day in which nothing ran (I12, T12). The server's clock is moved by
// libfaketime.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "admind/ledger/hold_reaper.h"
#include "admind/ledger/refill_job.h"
#include "admind/stores/leader.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

/// A Redis whose clock of the day the test sets, by a library that is loaded into it.
class ClockedRedis {
 public:
    ClockedRedis() {
        set_shift(0);
        // Inherited by the server that is started now, and by no other.
        ::setenv("CLOCK_SHIFT_FILE", file_.c_str(), 1);
        ::setenv("LD_PRELOAD", LUMEN_CLOCK_SHIFT, 1);
        server_.emplace(std::vector<std::string>{"--appendfsync", "no"});
        ::unsetenv("LD_PRELOAD");
        ::unsetenv("CLOCK_SHIFT_FILE");
    }
    const harness::RedisServer& server() const { return *server_; }
    void set_shift(std::int64_t seconds) {
        const int file = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        const bool written = ::pwrite(file, &seconds, sizeof seconds, 0) == sizeof seconds;
        ::close(file);
        if (!written) throw std::runtime_error("cannot write " + file_);
    }

 private:
    harness::TemporaryDirectory directory_{"lumen-clock"};
    std::string file_ = directory_.path() + "/shift";
    std::optional<harness::RedisServer> server_;
};

class LedgerClock : public PrivateLedger {
 public:
    LedgerClock()
        : clocked_redis(clock.server().url(), std::chrono::seconds(5)),
          clocked_readiness(postgres, clock.server().url(), std::chrono::seconds(5), spool.path()),
          clocked_pool(clock.server().url(), 4, std::chrono::seconds(5)),
          clocked_book(postgres, clocked_pool),
          clocked_sync(postgres, clock.server().url(), std::chrono::seconds(5), clocked_book) {
        invariants_hold = false;  // of the Redis that this test does not use
        // The months in which the stories play.
        execute(
            "do $$ declare month timestamp; name text; begin "
            "for month in select generate_series('2026-03-01'::timestamp, '2026-12-01'::timestamp, '1 month') loop "
            "name := 'ledger_events_' || to_char(month, 'YYYY_MM'); "
            "if to_regclass(name) is null then "
            "execute format('create table %I partition of ledger_events for values from (%L) to (%L)', name, "
            "month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'); end if; end loop; end $$");
    }
    void TearDown() override {
        drain_all();
        for (const std::string& finding : harness::check_invariants(postgres, clocked_redis, running))
            ADD_FAILURE() << finding;
    }
    void drain_all() {
        while (clocked_sync.drain(std::chrono::milliseconds(0)).events > 0) {
        }
    }
    /// Moves the server's clock so that it shows `seconds` since 1970.
    void set_clock(std::int64_t seconds) {
        const std::int64_t real =
            std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
        clock.set_shift(seconds - real);
    }
    std::int64_t refill() { return RefillJob(postgres, clocked_redis).run(); }
    std::string balance(AccountId account) {
        return std::string(reply_text(clocked_redis.command({"HGET", account_key(account), "bal"}).get()));
    }
    /// A wallet with a coin an hour and nothing in it, made at the server's hour.
    AccountId new_wallet(std::int64_t hour) {
        AccountSettings settings;
        settings.limit = coins(100);
        settings.rate = coins(1);
        settings.policy = kTestPolicy;
        AccountId account = 0;
        {
            auto connection = postgres.acquire();
            pqxx::work transaction(*connection);
            account = insert_account(transaction, AccountOwner::user, settings);
            transaction.exec_params("update accounts set rate_since_hour = $2 where id = $1", account, hour);
            transaction.exec_params("update account_balances set last_refill_hour = $2 where account_id = $1", account,
                                    hour);
            transaction.commit();
        }
        EXPECT_EQ(clocked_book.enforce_account(account), InForce::yes);
        return account;
    }

    ClockedRedis clock;
    RedisLink clocked_redis;
    BucketReadiness clocked_readiness;
    RedisPool clocked_pool;
    LedgerBook clocked_book;
    LedgerSync clocked_sync;
};

struct ClockStory {
    const char* name;
    std::vector<std::int64_t> minutes;  ///< what the clock shows, after the start of an hour, one look after the other
    std::int64_t coins;                 ///< credited in the end, one an hour
};

class ClockStories : public LedgerClock, public ::testing::WithParamInterface<ClockStory> {};

TEST_P(ClockStories, each_hour_that_passed_is_credited_once) {
    // 2026-03-29 00:00 UTC: an hour before summer time begins in Europe.
    constexpr std::int64_t kStart = 1'774'742'400;
    set_clock(kStart);
    clocked_readiness.check();
    const AccountId account = new_wallet(kStart / 3600);
    for (const std::int64_t minute : GetParam().minutes) {
        set_clock(kStart + minute * 60);
        refill();
        refill();
    }
    EXPECT_EQ(balance(account), std::to_string(GetParam().coins * kCoin));
}

INSTANTIATE_TEST_SUITE_P(
    Steps, ClockStories,
    ::testing::Values(ClockStory{"within_the_hour_nothing_is_due", {1, 30, 59}, 0},
                      ClockStory{"one_hour_looked_at_often", {59, 60, 61, 90, 119}, 1},
                      ClockStory{"forwards_by_five_hours", {10, 5 * 60 + 10}, 5},
                      ClockStory{"backwards_by_two_hours_and_on_again", {180, 60, 120, 179, 180, 239}, 3},
                      ClockStory{"backwards_over_the_hour_and_forwards_over_it_again", {61, 59, 61, 59, 61}, 1},
                      ClockStory{"summer_time_begins_and_ends", {30, 90, 150, 217 * 1440 + 30, 217 * 1440 + 90}, 100},
                      ClockStory{"a_day_in_which_nothing_ran", {24 * 60}, 24}),
    [](const auto& story) { return std::string(story.param.name); });

TEST_F(LedgerClock, a_new_leader_in_the_last_tenth_of_an_hour_credits_the_hour_once) {
    constexpr std::int64_t kStart = 1'774'742'400;
    set_clock(kStart);
    clocked_readiness.check();
    const AccountId account = new_wallet(kStart / 3600);
    Leader old_leader(database);
    Leader new_leader(database);
    old_leader.tick();
    ASSERT_TRUE(old_leader.is_leader());
    RefillJob old_job(postgres, clocked_redis);
    RedisLink other_link(clock.server().url(), std::chrono::seconds(5));
    RefillJob new_job(postgres, other_link);
    set_clock(kStart + 3599);  // :59:59 and a fraction
    EXPECT_EQ(old_job.run(), 0);
    execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
    wait_until("the other leads", [&] {
        new_leader.tick();
        return new_leader.is_leader();
    });
    EXPECT_TRUE(old_leader.is_leader()) << "it does not know yet";
    set_clock(kStart + 3601);
    EXPECT_EQ(old_job.run() + new_job.run(), 1) << "both believe that they lead";
    EXPECT_EQ(balance(account), std::to_string(kCoin));
}

TEST_F(LedgerClock, a_clock_that_jumps_ahead_reaps_holds_and_their_late_settles_are_charged_once) {
    constexpr std::int64_t kStart = 1'774'742'400;
    constexpr std::int64_t kLater = kStart + 5 * 3600;
    set_clock(kStart);
    clocked_readiness.check();
    const AccountId id = new_wallet(kStart / 3600);
    set_clock(kLater);
    EXPECT_EQ(refill(), 1);
    Account account;
    account.id = id;
    const NewKey key = new_key(id);
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        account.key = insert_key(transaction, key);
        transaction.commit();
    }
    ASSERT_EQ(clocked_book.enforce_key(account.key), InForce::yes);
    const RequestId request = new_request();
    AdmitArguments admit;
    admit.request = request;
    admit.identity = {id, account.key, kTestPolicy, 0};
    admit.hold = coins(1);
    admit.blob = "-";
    AdmitCall admit_call(admit);
    const std::string admitted = clocked_redis.call(admit_call);
    ASSERT_EQ(parse_reply(Script::admit, admitted).reply, Reply::ok);
    set_clock(kLater + 120);
    HoldReaper reaper(clocked_redis, std::chrono::milliseconds(0));
    EXPECT_EQ(reaper.run(), 1);
    set_clock(kLater + 1);
    SettleArguments settle;
    settle.request = request;
    settle.account = id;
    settle.key = account.key;
    settle.cost = NanoCoins(500);
    settle.blob = "-";
    SettleCall settle_call(settle);
    const std::string settled = clocked_redis.call(settle_call);
    EXPECT_EQ(parse_reply(Script::settle, settled).reply, Reply::late);
    drain_all();
    drain_all();
    EXPECT_EQ(balance(id), std::to_string(5 * kCoin - 500));
}

}  // namespace
}  // namespace lumen::admind
