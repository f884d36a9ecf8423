// Many connections at one wallet, with the scripts as they ship and the server's own clock.
#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

constexpr int kConnections = 64;
constexpr int kRounds = 60;
constexpr std::int64_t kHold = 1'000;

class Concurrency : public LedgerTest {
 protected:
    Concurrency() {
        for (int i = 0; i < kConnections; ++i)
            clients.push_back(std::make_unique<LedgerClient>(shared_server().socket()));
        account_config.limit = kMaxAmount;
        configure();
    }

    /// Sends one call on each connection before the first answer is read; how often each reply's first word came.
    template <typename MakeCall>
    std::map<std::string, int> all_at_once(MakeCall make_call) {
        for (int i = 0; i < kConnections; ++i) {
            auto call = make_call(i);
            clients[static_cast<std::size_t>(i)]->append(call);
        }
        std::vector<std::thread> readers;
        std::vector<std::string> replies(kConnections);
        for (std::size_t i = 0; i < kConnections; ++i) {
            readers.emplace_back([&, i] { replies[i] = clients[i]->next(); });
        }
        for (std::thread& reader : readers) reader.join();
        std::map<std::string, int> counts;
        for (const std::string& reply : replies) ++counts[reply.substr(0, reply.find(' '))];
        last_replies = replies;
        return counts;
    }

    std::vector<std::unique_ptr<LedgerClient>> clients;
    std::vector<std::string> last_replies;
};

// T1, I4, I6, I7
TEST_F(Concurrency, strict_coins_for_k_holds_admit_exactly_k_and_each_settles_exactly_once) {
    account_config.strict = true;
    configure();
    for (int round = 0; round < kRounds; ++round) {
        SCOPED_TRACE(round);
        const int k = round % kConnections;
        grant(k * kHold + 1);  // one nano-coin over, so that the wallet is never empty
        std::vector<AdmitArguments> asked;
        for (int i = 0; i < kConnections; ++i) asked.push_back(asking(kHold));
        const auto admits = all_at_once([&](int i) { return AdmitCall(asked[static_cast<std::size_t>(i)]); });
        ASSERT_EQ(admits.count("OK") ? admits.at("OK") : 0, k);

        std::vector<RequestId> held;
        for (std::size_t i = 0; i < kConnections; ++i) {
            if (last_replies[i].substr(0, 2) == "OK") held.push_back(asked[i].request);
        }
        int ok = 0;
        int dup = 0;
        for (std::size_t from = 0; from < held.size(); from += kConnections / 2) {
            const std::size_t batch = std::min<std::size_t>(kConnections / 2, held.size() - from);
            for (std::size_t i = 0; i < 2 * batch; ++i) {
                SettleCall call(costing(held[from + i / 2], kHold));
                clients[i]->append(call);
            }
            for (std::size_t i = 0; i < 2 * batch; ++i) {
                const std::string reply = clients[i]->next();
                ok += reply.substr(0, 3) == "OK ";
                dup += reply.substr(0, 4) == "DUP ";
            }
        }
        ASSERT_EQ(ok, k);
        ASSERT_EQ(dup, k);
        ASSERT_EQ(account_field("bal"), "1");
        ASSERT_EQ(account_field("held"), "0");
        ASSERT_EQ(account_field("nh"), "0");
        grant(-1);
    }
    EXPECT_EQ(redis.command({"HLEN", bucket_key(bucket, "holds")}), "0");
}

// I8
TEST_F(Concurrency, soft_overspends_by_no_more_than_one_hold_and_what_costs_exceed_their_holds) {
    grant(10 * kHold - 1);
    std::vector<AdmitArguments> asked;
    for (int i = 0; i < kConnections; ++i) asked.push_back(asking(kHold));
    const auto admits = all_at_once([&](int i) { return AdmitCall(asked[static_cast<std::size_t>(i)]); });
    EXPECT_EQ(admits.at("OK"), 10);
    EXPECT_EQ(admits.at("HELD"), kConnections - 10);
    for (std::size_t i = 0; i < kConnections; ++i) {
        if (last_replies[i].substr(0, 2) == "OK") settle(costing(asked[i].request, kHold + 3));
    }
    EXPECT_EQ(account_field("bal"), std::to_string(-1 - 10 * 3));
}

// I12
TEST_F(Concurrency, a_refill_that_many_ask_for_at_once_is_credited_once) {
    account_config.rate = NanoCoins(100);
    configure();
    redis.command({"HINCRBY", account_key(account), "lrh", "-2"});
    const std::int64_t hour = std::stoll(account_field("lrh")) + 2;
    const auto refills = all_at_once([&](int) { return RefillCall(account, hour); });
    EXPECT_EQ(refills.at("OK"), 1);
    EXPECT_EQ(refills.at("SAME"), kConnections - 1);
    EXPECT_EQ(account_field("bal"), "200");
}

}  // namespace
}  // namespace lumen::testing
