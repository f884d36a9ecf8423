#include "tests/admind/private_ledger.h"

#include <signal.h>

#include <atomic>
#include <random>
#include <thread>

#include "admind/stores/migrations.h"
#include "tests/harness/postgres_server.h"

namespace lumen::admind {
namespace {

/// One server and one migrated database for the whole process: each test gets a copy, which takes 30 ms.
harness::PostgresServer& shared_postgres() {
    static harness::PostgresServer server;
    static const bool migrated = [] {
        ::signal(SIGPIPE, SIG_IGN);
        migrate(server.create_database("model"));
        return true;
    }();
    static_cast<void>(migrated);
    return server;
}

std::uint64_t random_bits() {
    thread_local std::mt19937_64 generator{std::random_device{}()};
    return generator();
}

}  // namespace

std::string new_database() {
    static std::atomic<int> number{0};
    return shared_postgres().create_database("t" + std::to_string(++number), "model");
}

std::string backup_of(const std::string& database_url) {
    static std::atomic<int> number{0};
    const std::size_t begin = database_url.find("@/") + 2;
    const std::string name = database_url.substr(begin, database_url.find('?') - begin);
    {
        pqxx::connection connection(shared_postgres().url("postgres"));
        pqxx::nontransaction admin(connection);
        admin.exec("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = " +
                   admin.quote(name));
    }
    return shared_postgres().create_database("backup" + std::to_string(++number), name);
}

RequestId new_request() {
    std::array<std::uint8_t, 10> random{};
    for (auto& byte : random) byte = static_cast<std::uint8_t>(random_bits());
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return make_request_id(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(), random);
}

void PrivateLedger::TearDown() {
    if (HasFatalFailure() || !invariants_hold) return;
    for (const std::string& finding : harness::check_invariants(postgres, redis, running)) ADD_FAILURE() << finding;
}

AccountId PrivateLedger::new_account_without_key(const AccountSettings& settings) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    AccountSettings with_policy = settings;
    with_policy.policy = kTestPolicy;
    const AccountId account = insert_account(transaction, AccountOwner::user, with_policy);
    transaction.commit();
    EXPECT_EQ(book.enforce_account(account), InForce::yes);
    return account;
}

NewKey PrivateLedger::new_key(AccountId account) const {
    NewKey key;
    key.account = account;
    key.name = "test";
    for (auto& byte : key.hash) byte = static_cast<std::uint8_t>(random_bits());
    return key;
}

PrivateLedger::Account PrivateLedger::new_account(const AccountSettings& settings, NanoCoins granted) {
    Account account;
    account.id = new_account_without_key(settings);
    const NewKey key = new_key(account.id);
    account.hash = key.hash;
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        account.key = insert_key(transaction, key);
        transaction.commit();
    }
    EXPECT_EQ(book.enforce_key(account.key), InForce::yes);
    if (granted > NanoCoins()) {
        const auto outcome = book.move_money({account.id, MoneyOpKind::add, granted,
                                              "starting " + std::to_string(account.id), "test", "starting coins"});
        EXPECT_EQ(outcome.result, MoneyResult::done);
    }
    return account;
}

PrivateLedger::Account PrivateLedger::new_account(NanoCoins granted) {
    AccountSettings settings;
    settings.limit = coins(1000);
    return new_account(settings, granted);
}

std::vector<BucketReport> PrivateLedger::make_ready() {
    const auto reports = readiness.check();
    for (const BucketReport& report : reports) {
        EXPECT_EQ(report.error, "") << "bucket " << static_cast<int>(report.bucket);
    }
    EXPECT_EQ(readiness.not_ready(), 0);
    return reports;
}

std::size_t PrivateLedger::drain() {
    std::size_t drained = 0;
    for (;;) {
        const DrainResult result = sync.drain(std::chrono::milliseconds(0));
        for (const std::string& alarm : result.alarms) ADD_FAILURE() << alarm;
        if (result.events == 0) return drained;
        drained += result.events;
    }
}

Reply PrivateLedger::admit(const Account& account, const RequestId& request, NanoCoins hold, std::int64_t ttl_ms) {
    AdmitArguments arguments;
    arguments.request = request;
    arguments.identity.account = account.id;
    arguments.identity.key = account.key;
    arguments.identity.account_policy = kTestPolicy;
    arguments.hold = hold;
    arguments.ttl_ms = ttl_ms;
    arguments.blob = "-";
    AdmitCall call(arguments);
    return parse_reply(Script::admit, redis.call(call)).reply;
}

Reply PrivateLedger::settle(const Account& account, const RequestId& request, NanoCoins cost,
                            const UsageRecord& record) {
    const Blob blob = encode_usage_record(record);
    SettleArguments arguments;
    arguments.request = request;
    arguments.account = account.id;
    arguments.key = account.key;
    arguments.cost = cost;
    arguments.tokens = record.usage.input_tokens + record.usage.output_tokens;
    arguments.blob = blob.view();
    SettleCall call(arguments);
    return parse_reply(Script::settle, redis.call(call)).reply;
}

Reply PrivateLedger::settle(const Account& account, const RequestId& request, NanoCoins cost) {
    UsageRecord record;
    record.model = 3;
    record.endpoint = 5;
    record.price = 7;
    record.usage.input_tokens = 11;
    record.usage.output_tokens = 13;
    record.source = UsageSource::final;
    record.status = 200;
    return settle(account, request, cost, record);
}

void PrivateLedger::charge(const Account& account, NanoCoins cost) {
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, cost), Reply::ok);
    ASSERT_EQ(settle(account, request, cost), Reply::ok);
}

std::string PrivateLedger::field(AccountId account, const std::string& name) {
    return std::string(reply_text(redis.command({"HGET", account_key(account), name}).get()));
}

void PrivateLedger::set_field(AccountId account, const std::string& name, const std::string& value) {
    redis.command({"HSET", account_key(account), name, value});
}

std::int64_t PrivateLedger::number(const std::string& query) {
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    return transaction.exec1(query)[0].as<std::int64_t>();
}

void PrivateLedger::execute(const std::string& statement) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    transaction.exec(statement);
    transaction.commit();
}

PrivateLedger::Snapshot PrivateLedger::dump_redis() {
    Snapshot snapshot;
    const RedisReply keys = redis.command({"KEYS", "*"});
    for (std::size_t i = 0; i < keys->elements; ++i) {
        const std::string key(reply_text(keys->element[i]));
        snapshot.emplace_back(key, reply_text(redis.command({"DUMP", key}).get()));
    }
    return snapshot;
}

void PrivateLedger::put_back(const Snapshot& snapshot) {
    // As a server that starts from an old file: other data, and another replication id.
    redis.command({"FLUSHALL"});
    for (const auto& [key, value] : snapshot) redis.command({"RESTORE", key, "0", value});
    server.stop();
    server.start();
}

}  // namespace lumen::admind
