// A private ledger: PostgreSQL with the book's schema, a Redis of its own, and admind's money half over both.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "admind/ledger/bucket_readiness.h"
#include "admind/ledger/ledger_book.h"
#include "admind/ledger/ledger_sync.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "tests/harness/invariants.h"
#include "tests/harness/redis_server.h"

namespace lumen::admind {

/// The policy that new_account gives, and admit() believes.
inline constexpr PolicyId kTestPolicy = 9;
inline constexpr std::int64_t kCoin = 1'000'000'000;
constexpr NanoCoins coins(std::int64_t whole) {
    return NanoCoins(whole * kCoin);
}

/// URL of a new migrated database; the server is shared by the tests of a process.
std::string new_database();

/// URL of a copy of a database, as a backup keeps it. Its connections are cut for that.
std::string backup_of(const std::string& database_url);

RequestId new_request();

class PrivateLedger : public ::testing::Test {
 public:
    /// Every test ends with the invariants, unless it broke them on purpose.
    void TearDown() override;

    /// In the book and in Redis, with one key; `granted` coins.
    struct Account {
        AccountId id = 0;
        KeyId key = 0;
        KeyHash hash{};
    };
    Account new_account(const AccountSettings& settings, NanoCoins granted);
    Account new_account(NanoCoins granted);
    AccountId new_account_without_key(const AccountSettings& settings);
    NewKey new_key(AccountId account) const;

    /// All buckets ready, or the test fails with what stands in the way. Returns what was done.
    std::vector<BucketReport> make_ready();
    std::size_t drain();

    Reply admit(const Account& account, const RequestId& request, NanoCoins hold, std::int64_t ttl_ms = 90'000);
    Reply settle(const Account& account, const RequestId& request, NanoCoins cost, const UsageRecord& record);
    Reply settle(const Account& account, const RequestId& request, NanoCoins cost);
    /// admit and settle.
    void charge(const Account& account, NanoCoins cost);

    /// One field of the account in Redis.
    std::string field(AccountId account, const std::string& name);
    void set_field(AccountId account, const std::string& name, const std::string& value);
    /// One value of the book.
    std::int64_t number(const std::string& query);
    void execute(const std::string& statement);

    /// What of Redis a power cut or an old append-only file would bring back.
    using Snapshot = std::vector<std::pair<std::string, std::string>>;
    Snapshot dump_redis();
    void put_back(const Snapshot& snapshot);

    const std::string database = new_database();
    harness::RedisServer server{{"--appendfsync", "no"}};
    PgPool postgres{database, 24, std::chrono::seconds(20)};
    RedisPool redis_pool{server.url(), 8, std::chrono::seconds(20)};
    RedisLink redis{server.url(), std::chrono::seconds(20)};
    LedgerBook book{postgres, redis_pool};
    harness::TemporaryDirectory spool{"lumen-spool"};
    BucketReadiness readiness{postgres, server.url(), std::chrono::seconds(20), spool.path()};
    LedgerSync sync{postgres, server.url(), std::chrono::seconds(20), book};
    harness::Running running = harness::Running::nothing;
    bool invariants_hold = true;
};

/// Polls until `condition` or fails the test after a minute.
template <class Condition>
void wait_until(const char* what, Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!condition()) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited in vain until " << what;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

}  // namespace lumen::admind
