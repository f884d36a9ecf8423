// Drainers that are killed at any moment lose nothing and book nothing twice (T4, T7). The seed is printed; set
// LUMEN_TEST_SEED to repeat a run.
#include <gtest/gtest.h>

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "tests/admind/private_ledger.h"
#include "tests/harness/server_process.h"

namespace lumen::admind {
namespace {

constexpr int kKills = 30;
constexpr int kAccounts = 40;

class LedgerKill : public PrivateLedger {
 public:
    LedgerKill() {
        const char* given = std::getenv("LUMEN_TEST_SEED");
        seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
        random.seed(seed);
        RecordProperty("seed", std::to_string(seed));
    }
    void TearDown() override {
        PrivateLedger::TearDown();
        if (HasFailure()) {
            ADD_FAILURE() << "seed " << seed << "\n" << harness::text_of_file(spool.path() + "/drainers");
        }
    }
    pid_t start_drainer() {
        return harness::start_process({LUMEN_LEDGER_DRAINER, database, server.url()}, spool.path() + "/drainers");
    }
    /// Charges until told to stop, one settle in ten twice and one in twenty too late. How many requests.
    std::int64_t charge_until(const std::vector<Account>& accounts, const std::atomic<bool>& stop,
                              std::uint64_t own_seed) {
        RedisLink link(server.url(), std::chrono::seconds(20));
        std::mt19937_64 dice(own_seed);
        std::int64_t requests = 0;
        while (!stop) {
            const Account& account = accounts[dice() % accounts.size()];
            const RequestId request = new_request();
            const NanoCoins cost(static_cast<std::int64_t>(dice() % 1000));
            const bool lost_hold = dice() % 20 == 0;
            if (!lost_hold) link.append(*admit_call(account, request));
            link.append(*settle_call(account, request, cost));
            if (dice() % 10 == 0) link.append(*settle_call(account, request, cost));
            while (link.outstanding() > 0) link.next();
            ++requests;
        }
        return requests;
    }
    std::uint64_t seed = 0;
    std::mt19937_64 random;

 private:
    std::unique_ptr<ScriptCall> admit_call(const Account& account, const RequestId& request) {
        AdmitArguments arguments;
        arguments.request = request;
        arguments.identity = {account.id, account.key, kTestPolicy, 0};
        arguments.hold = NanoCoins(1000);
        arguments.blob = "-";
        return std::make_unique<AdmitCall>(arguments);
    }
    std::unique_ptr<ScriptCall> settle_call(const Account& account, const RequestId& request, NanoCoins cost) {
        UsageRecord record;
        record.model = 1;
        record.usage.input_tokens = 2;
        record.usage.output_tokens = 3;
        const Blob blob = encode_usage_record(record);
        SettleArguments arguments;
        arguments.request = request;
        arguments.account = account.id;
        arguments.key = account.key;
        arguments.cost = cost;
        arguments.tokens = 5;
        arguments.blob = blob.view();
        return std::make_unique<SettleCall>(arguments);
    }
};

TEST_F(LedgerKill, two_drainers_killed_again_and_again_book_each_event_once) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < kAccounts; ++i) accounts.push_back(new_account(coins(100)));
    std::atomic<bool> stop{false};
    std::atomic<std::int64_t> requests{0};
    const std::uint64_t traffic_seed = random();
    std::thread traffic([&] { requests = charge_until(accounts, stop, traffic_seed); });

    std::array<pid_t, 2> drainers{start_drainer(), start_drainer()};
    for (int kill = 0; kill < kKills; ++kill) {
        // Somewhere between its first connection and the middle of a batch.
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
        pid_t& victim = drainers[random() % drainers.size()];
        EXPECT_FALSE(harness::has_ended(victim)) << "a drainer stopped with an alarm";
        harness::end_process(victim, SIGKILL);
        victim = start_drainer();
    }
    stop = true;
    traffic.join();
    wait_until("all is drained", [&] {
        drain();
        std::int64_t last = 0;
        for (int i = 0; i < kBuckets; ++i) {
            const RedisReply bseq = redis.command({"HGET", bucket_key(static_cast<Bucket>(i), "meta"), "bseq"});
            last += parse_nano(reply_text(bseq.get())).value_or(NanoCoins()).nano();
        }
        book.send_all_pending_money();
        return last == number("select sum(last_bseq)::bigint from stream_positions") &&
               number(
                   "select count(*) from account_ops o join account_balances b using (account_id) "
                   "where o.next_opn > b.opn + 1") == 0;
    });
    for (pid_t drainer : drainers) harness::end_process(drainer, SIGKILL);
    EXPECT_GT(requests, kKills);
    EXPECT_EQ(number("select sum(requests)::bigint from account_balances"), requests) << "each request is counted once";
    EXPECT_EQ(number("select count(distinct request_id) from ledger_events where kind in (1, 5)"), requests);
    RecordProperty("requests", std::to_string(requests));
}

TEST_F(LedgerKill, redis_killed_under_load_loses_no_acknowledged_settle) {
    // As shipped: every acknowledged settle is on disk.
    redis.command({"CONFIG", "SET", "appendfsync", "always"});
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < kAccounts; ++i) accounts.push_back(new_account(coins(100)));
    std::int64_t acknowledged = 0;
    for (int kill = 0; kill < 5; ++kill) {
        std::thread killer([&, wait_us = random() % 100'000] {
            std::this_thread::sleep_for(std::chrono::microseconds(wait_us));
            ::kill(server.pid(), SIGKILL);
        });
        // Until Redis dies. What was not acknowledged is sent again with the same id, as a gate does from its ring.
        std::optional<std::pair<Account, RequestId>> unacknowledged;
        try {
            for (;;) {
                unacknowledged = {accounts[random() % accounts.size()], new_request()};
                const auto& [account, request] = *unacknowledged;
                if (admit(account, request, NanoCoins(10)) != Reply::ok) ADD_FAILURE() << "not admitted";
                if (settle(account, request, NanoCoins(7)) != Reply::ok) ADD_FAILURE() << "not settled";
                unacknowledged.reset();
                if (++acknowledged % 16 == 0) drain();
            }
        } catch (const RedisUnavailable&) {
        }
        killer.join();
        server.kill();
        server.start();
        make_ready();
        if (!unacknowledged) continue;
        settle(unacknowledged->first, unacknowledged->second, NanoCoins(7));
        ++acknowledged;
    }
    wait_until("late charges are in the book", [&] {
        drain();
        book.send_all_pending_money();
        return number("select sum(requests)::bigint from account_balances") == acknowledged;
    });
    EXPECT_EQ(number("select sum(spent)::bigint from account_balances"), 7 * acknowledged);
}

}  // namespace
}  // namespace lumen::admind
