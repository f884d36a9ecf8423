// How long an emptied Redis takes to be filled from the book, and a full hour to be credited, with how admission fares
// meanwhile. Prints JSON. rebuild_rate [accounts]: over a private PostgreSQL and Redis, both on this machine.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "admind/ledger/bucket_readiness.h"
#include "admind/ledger/refill_job.h"
#include "admind/stores/migrations.h"
#include "tests/harness/postgres_server.h"
#include "tests/harness/redis_server.h"

namespace lumen::admind {
namespace {

constexpr std::int64_t kCoin = 1'000'000'000;

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// What the machine's other work does not change: time on the processor.
double own_cpu_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
double redis_cpu_seconds(RedisLink& redis) {
    const RedisReply info = redis.command({"INFO", "cpu"});
    const std::string text(reply_text(info.get()));
    const auto field = [&](const std::string& name) { return std::atof(text.c_str() + text.find(name) + name.size()); };
    return field("used_cpu_sys:") + field("used_cpu_user:");
}

/// Accounts with two keys each, a limit, and a rate; their last refill was an hour ago.
void make_accounts(PgPool& postgres, int count) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    transaction.exec("set local statement_timeout = 0");
    const std::string last = std::to_string(count);
    transaction.exec(
        "insert into accounts (id, owner, lim, rate, policy_id, rate_since_hour) "
        "select i, 'user', 1000000000000, 1000000000, 1, floor(extract(epoch from now()) / 3600) - 1 "
        "from generate_series(1, " +
        last + ") i");
    transaction.exec("insert into account_ops (account_id) select id from accounts");
    transaction.exec(
        "insert into account_balances (account_id, bucket, last_refill_hour) "
        "select id, bucket, floor(extract(epoch from now()) / 3600) - 1 from accounts");
    transaction.exec(
        "insert into api_keys (account_id, name, key_hash) "
        "select id, 'bench', sha256((id || ' ' || n)::bytea) from accounts, generate_series(1, 2) n");
    transaction.commit();
    pqxx::nontransaction statistics(*connection);
    statistics.exec("analyze");
}

/// The hour that was credited passes once more.
void take_an_hour_back(RedisLink& redis, int accounts) {
    const RedisReply time = redis.command({"TIME"});
    const std::string an_hour_ago = std::to_string(parse_nano(reply_text(time->element[0]))->nano() / 3600 - 1);
    for (int account = 1; account <= accounts; ++account)
        redis.append({"HSET", account_key(account), "lrh", an_hour_ago});
    while (redis.outstanding() > 0) redis.next();
}

/// Seconds from now until every bucket is in service.
double seconds_until_all_serve(const std::string& url) {
    RedisLink redis(url, std::chrono::seconds(30));
    const auto begin = std::chrono::steady_clock::now();
    for (int serving = 0; serving < kBuckets;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        serving = 0;
        for (int i = 0; i < kBuckets; ++i) {
            redis.append({"HEXISTS", bucket_key(static_cast<Bucket>(i), "meta"), "ready"});
        }
        while (redis.outstanding() > 0) serving += static_cast<int>(redis.next()->integer);
    }
    return seconds_since(begin);
}

struct Latencies {
    double p50_ms = 0;
    double p99_ms = 0;
    double worst_ms = 0;
    std::size_t count = 0;
};

/// Admits and voids on one connection, one after the other, until told to stop: each admit's time.
Latencies admit_until(const std::string& url, const std::atomic<bool>& stop, AccountId account, KeyId key) {
    RedisLink redis(url, std::chrono::seconds(30));
    std::vector<double> taken_ms;
    for (std::int64_t number = 0; !stop; ++number) {
        AdmitArguments admit;
        admit.request = make_request_id(1'700'000'000'000 + number, {});
        admit.identity = {account, key, 1, 0};
        admit.hold = NanoCoins(1000);
        admit.blob = "-";
        AdmitCall admit_call(admit);
        const auto begin = std::chrono::steady_clock::now();
        redis.call(admit_call);
        taken_ms.push_back(seconds_since(begin) * 1000);
        SettleArguments settle;
        settle.request = admit.request;
        settle.account = account;
        settle.key = key;
        settle.is_void = true;
        SettleCall settle_call(settle);
        redis.call(settle_call);
    }
    if (taken_ms.empty()) return {};
    std::sort(taken_ms.begin(), taken_ms.end());
    return {taken_ms[taken_ms.size() / 2], taken_ms[taken_ms.size() * 99 / 100], taken_ms.back(), taken_ms.size()};
}

int measure(int accounts) {
    harness::PostgresServer postgres_server;
    const std::string database = postgres_server.create_database("bench");
    migrate(database);
    harness::RedisServer redis_server({"--appendfsync", "everysec"});
    PgPool postgres(database, 16, std::chrono::seconds(5));
    RedisLink redis(redis_server.url(), std::chrono::seconds(30));
    make_accounts(postgres, accounts);

    BucketReadiness readiness(postgres, redis_server.url(), std::chrono::seconds(30), "/tmp");
    readiness.check();  // each wallet gets its hour here
    redis.command({"FLUSHALL"});
    const double redis_cpu_begin = redis_cpu_seconds(redis);
    const double own_cpu_begin = own_cpu_seconds();
    double serving = 0;
    std::thread watcher([&] { serving = seconds_until_all_serve(redis_server.url()); });
    auto begin = std::chrono::steady_clock::now();
    readiness.check();
    const double rebuild = seconds_since(begin);
    watcher.join();
    const double rebuild_redis_cpu = redis_cpu_seconds(redis) - redis_cpu_begin;
    const double rebuild_own_cpu = own_cpu_seconds() - own_cpu_begin;
    const int not_ready = readiness.not_ready();

    // Once with Redis to itself, once with requests coming.
    take_an_hour_back(redis, accounts);
    const double refill_cpu_begin = redis_cpu_seconds(redis);
    begin = std::chrono::steady_clock::now();
    const std::int64_t credited_alone = RefillJob(postgres, redis).run();
    const double refill_alone = seconds_since(begin);
    const double refill_redis_cpu = redis_cpu_seconds(redis) - refill_cpu_begin;
    take_an_hour_back(redis, accounts);
    std::atomic<bool> stop{false};
    Latencies latencies;
    const AccountId admitted = 1;
    KeyId key = 0;
    {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        key = transaction.exec1("select min(id) from api_keys where account_id = 1")[0].as<KeyId>();
    }
    std::thread clients([&] { latencies = admit_until(redis_server.url(), stop, admitted, key); });
    RefillJob job(postgres, redis);
    begin = std::chrono::steady_clock::now();
    const std::int64_t credited = job.run();
    const double refill = seconds_since(begin);
    stop = true;
    clients.join();

    std::printf(
        "{\"bench\":\"rebuild_rate\",\"accounts\":%d,\"serving_seconds\":%.2f,\"rebuild_seconds\":%.2f,"
        "\"rebuild_redis_cpu_seconds\":%.2f,\"rebuild_admind_cpu_seconds\":%.2f,\"buckets_not_ready\":%d,"
        "\"refill_alone_seconds\":%.2f,\"refill_alone_redis_cpu_seconds\":%.2f,"
        "\"refilled\":%ld,\"refill_seconds\":%.2f,\"admits_meanwhile\":%zu,\"admit_p50_ms\":%.3f,"
        "\"admit_p99_ms\":%.3f,\"admit_worst_ms\":%.3f}\n",
        accounts, serving, rebuild, rebuild_redis_cpu, rebuild_own_cpu, not_ready, refill_alone, refill_redis_cpu,
        credited, refill, latencies.count, latencies.p50_ms, latencies.p99_ms, latencies.worst_ms);
    return not_ready == 0 && credited == accounts && credited_alone == accounts ? 0 : 1;
}

}  // namespace
}  // namespace lumen::admind

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const int accounts = argc > 1 ? std::atoi(argv[1]) : 100'000;
    if (accounts <= 0) {
        std::fprintf(stderr, "usage: rebuild_rate [accounts]\n");
        return 64;
    }
    return lumen::admind::measure(accounts);
}
