// How many events a second one drainer books: fills the streams with settled requests, then drains them, and prints
// JSON. drain_rate [events] [accounts]: over a private PostgreSQL and Redis, both on this machine.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "admind/ledger/bucket_readiness.h"
#include "admind/ledger/ledger_book.h"
#include "admind/ledger/ledger_sync.h"
#include "admind/stores/migrations.h"
#include "tests/harness/invariants.h"
#include "tests/harness/postgres_server.h"
#include "tests/harness/redis_server.h"

namespace lumen::admind {
namespace {

constexpr std::int64_t kCoin = 1'000'000'000;
constexpr std::int64_t kPipeline = 1000;

struct Wallet {
    AccountId account = 0;
    KeyId key = 0;
};

std::vector<Wallet> make_wallets(PgPool& postgres, int count) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    std::vector<Wallet> wallets;
    for (int i = 0; i < count; ++i) {
        AccountSettings settings;
        settings.unlimited = true;
        NewKey key;
        key.account = insert_account(transaction, AccountOwner::user, settings);
        for (std::size_t byte = 0; byte < 4; ++byte) key.hash[byte] = static_cast<std::uint8_t>(i >> (8 * byte));
        wallets.push_back({key.account, insert_key(transaction, key)});
    }
    transaction.commit();
    return wallets;
}

/// One millisecond each: version and variant bits would overwrite a part of a number put into the random bytes.
RequestId request_number(std::int64_t number) {
    return make_request_id(1'700'000'000'000 + number, {});
}

/// Settles without a hold would be late: these are usage events, by admit and settle, as a gate sends them.
void fill_streams(RedisLink& redis, const std::vector<Wallet>& wallets, std::int64_t events) {
    UsageRecord record;
    record.model = 1;
    record.endpoint = 2;
    record.price = 3;
    record.usage.input_tokens = 1234;
    record.usage.output_tokens = 567;
    record.duration_ms = 2345;
    record.ttft_ms = 123;
    record.source = UsageSource::final;
    record.status = 200;
    const Blob blob = encode_usage_record(record);
    for (std::int64_t first = 0; first < events; first += kPipeline) {
        for (std::int64_t i = first; i < std::min(events, first + kPipeline); ++i) {
            const Wallet& wallet = wallets[static_cast<std::size_t>(i) % wallets.size()];
            AdmitArguments admit;
            admit.request = request_number(i);
            admit.identity = {wallet.account, wallet.key, 0, 0};
            admit.hold = NanoCoins(kCoin / 100);
            admit.blob = "-";
            admit.identity.account_policy = 1;
            AdmitCall admit_call(admit);
            redis.append(admit_call);
            SettleArguments settle;
            settle.request = admit.request;
            settle.account = wallet.account;
            settle.key = wallet.key;
            settle.cost = NanoCoins(21'450 + i % 1000);
            settle.tokens = 1801;
            settle.blob = blob.view();
            SettleCall settle_call(settle);
            redis.append(settle_call);
        }
        while (redis.outstanding() > 0) redis.next();
    }
}

double seconds_of_cpu() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/// What the machine's other work does not change: time on the processor, of the connections that are open.
double postgres_cpu_seconds(PgPool& postgres) {
    auto connection = postgres.acquire();
    pqxx::nontransaction session(*connection);
    const auto ticks = session.exec(
        "select sum(split_part(stat, ' ', 14)::bigint + split_part(stat, ' ', 15)::bigint) from pg_stat_activity, "
        "lateral (select pg_read_file('/proc/' || pid || '/stat', 0, 4096, true) as stat) s where datname = "
        "current_database()");
    return ticks[0][0].as<double>() / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int measure(std::int64_t events, int accounts) {
    harness::PostgresServer postgres_server;
    const std::string database = postgres_server.create_database("bench");
    migrate(database);
    harness::RedisServer redis_server({"--appendfsync", "no"});
    PgPool postgres(database, 12, std::chrono::seconds(5));
    RedisPool links(redis_server.url(), 2, std::chrono::seconds(5));
    RedisLink redis(redis_server.url(), std::chrono::seconds(30));
    LedgerBook book(postgres, links);
    const std::vector<Wallet> wallets = make_wallets(postgres, accounts);
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        transaction.exec("update accounts set policy_id = 1");
        transaction.commit();
    }
    const auto rebuild_begin = std::chrono::steady_clock::now();
    BucketReadiness readiness(postgres, redis_server.url(), std::chrono::seconds(5), "/tmp");
    readiness.check();
    const std::chrono::duration<double> rebuild = std::chrono::steady_clock::now() - rebuild_begin;
    fill_streams(redis, wallets, events);

    LedgerSync sync(postgres, redis_server.url(), std::chrono::seconds(30), book);
    const double cpu_begin = seconds_of_cpu();
    const double postgres_cpu_begin = postgres_cpu_seconds(postgres);
    const auto begin = std::chrono::steady_clock::now();
    std::int64_t drained = 0;
    int transactions = 0;
    while (drained < events) {
        const DrainResult result = sync.drain(std::chrono::milliseconds(100));
        if (!result.alarms.empty() || result.events == 0) {
            std::fprintf(stderr, "drained %ld of %ld: %s\n", drained, events,
                         result.alarms.empty() ? "nothing came" : result.alarms.front().c_str());
            return 1;
        }
        drained += static_cast<std::int64_t>(result.events);
        ++transactions;
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const double cpu = seconds_of_cpu() - cpu_begin;
    const double postgres_cpu = postgres_cpu_seconds(postgres) - postgres_cpu_begin;
    const auto findings = harness::check_invariants(postgres, redis, harness::Running::nothing);
    for (const std::string& finding : findings) std::fprintf(stderr, "%s\n", finding.c_str());
    std::printf(
        "{\"bench\":\"drain_rate\",\"events\":%ld,\"accounts\":%d,\"transactions\":%d,\"seconds\":%.3f,"
        "\"events_per_second\":%.0f,\"drainer_cpu_us_per_event\":%.2f,\"postgres_cpu_us_per_event\":%.2f,\"rebuild_all_"
        "buckets_seconds\":%.3f,"
        "\"invariants_broken\":%zu}\n",
        drained, accounts, transactions, elapsed.count(), static_cast<double>(drained) / elapsed.count(),
        cpu * 1e6 / static_cast<double>(drained), postgres_cpu * 1e6 / static_cast<double>(drained), rebuild.count(),
        findings.size());
    return findings.empty() ? 0 : 1;
}

}  // namespace
}  // namespace lumen::admind

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const std::int64_t events = argc > 1 ? std::atol(argv[1]) : 200'000;
    const int accounts = argc > 2 ? std::atoi(argv[2]) : 2000;
    if (events <= 0 || accounts <= 0) {
        std::fprintf(stderr, "usage: drain_rate [events] [accounts]\n");
        return 64;
    }
    return lumen::admind::measure(events, accounts);
}
