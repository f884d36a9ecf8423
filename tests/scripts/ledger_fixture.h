// A wallet of one's own for each test, in a bucket of its own that is ready, on a private Redis with the shipped
// settings.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "lumen_core/money.h"
#include "tests/harness/redis_server.h"
#include "tests/scripts/ledger_client.h"

namespace lumen::testing {

/// The server most tests share; started by the first of them. fsync is off: no test of it cuts the power.
harness::RedisServer& shared_server();

inline constexpr std::int64_t kM = kMaxAmount.nano();  ///< the largest amount there may be (ledger.md §1)
inline constexpr std::int64_t kHourMs = 3'600'000;
inline constexpr std::int64_t kStartMs = 472'222 * kHourMs;  // a full hour in 2023

/// An id nobody used before in this process.
RequestId new_request();

/// The clock stands at kStartMs until advance_ms().
class LedgerTest : public ::testing::Test {
 protected:
    LedgerTest();

    /// Sends account_config and key_config under a new version.
    void configure();
    /// Books a grant; the next operation number is kept.
    void grant(std::int64_t nano);
    void advance_ms(std::int64_t by_ms);

    AdmitArguments asking(std::int64_t hold) const;
    SettleArguments costing(const RequestId& request, std::int64_t cost) const;
    std::string admit(const AdmitArguments& arguments) { return redis.run(AdmitCall(arguments)); }
    std::string admit(std::int64_t hold) { return admit(asking(hold)); }
    std::string settle(const SettleArguments& arguments) { return redis.run(SettleCall(arguments)); }
    /// Admits, and fails the test if that is refused.
    RequestId admitted(std::int64_t hold);

    std::string account_field(const std::string& name) { return redis.field(account_key(account), name); }
    std::string key_field(const std::string& name) { return redis.field(api_key_key(account, key), name); }
    std::string last_event();
    /// Everything of this bucket but the clock, for "changes nothing".
    std::map<std::string, std::map<std::string, std::string>> state();

    LedgerClient redis{shared_server().socket(), Clock::fixed};
    Bucket bucket;
    AccountId account;
    KeyId key = 7;
    std::string token;             ///< of the bucket
    AccountConfig account_config;  ///< soft, limit 1000, rate 0, policy 1
    KeyConfig key_config;          ///< active, no cap, no policy
    std::int64_t version = 0;
    std::int64_t opn = 0;
    std::int64_t now_ms = kStartMs;
};

}  // namespace lumen::testing
