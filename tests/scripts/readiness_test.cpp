// Nothing moves money on an unreconciled Redis (I10): after a restart, a flush, on a replica, in mid-rebuild.
#include <chrono>
#include <functional>
#include <thread>

#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

KeyHash hash_in(Bucket bucket) {
    KeyHash hash{};
    hash[0] = bucket;
    return hash;
}

/// Every script that must look at `ready` first, called as it would be on a wallet that works.
std::vector<std::pair<Script, std::function<std::string(LedgerClient&)>>> guarded_calls(AccountId account, KeyId key) {
    SettleArguments settle;
    settle.request = new_request();
    settle.account = account;
    settle.key = key;
    AdmitArguments admit;
    admit.request = new_request();
    admit.identity = {account, key, 1, 0};
    RenewArguments renew;
    renew.request = new_request();
    renew.account = account;
    renew.key = key;
    MoneyOpArguments grant;
    grant.account = account;
    grant.opn = 1;
    grant.amount = NanoCoins(5);
    const Bucket bucket = account_bucket(account);
    return {
        {Script::lookup, [=](LedgerClient& redis) { return redis.run(LookupCall(hash_in(bucket))); }},
        {Script::auth,
         [=](LedgerClient& redis) {
             return redis.run(AuthCall({account, key, 1, 0}));
         }},
        {Script::admit, [=](LedgerClient& redis) { return redis.run(AdmitCall(admit)); }},
        {Script::settle, [=](LedgerClient& redis) { return redis.run(SettleCall(settle)); }},
        {Script::renew, [=](LedgerClient& redis) { return redis.run(RenewCall(renew)); }},
        {Script::reap, [=](LedgerClient& redis) { return redis.run(ReapCall(renew.request, account, key)); }},
        {Script::refill, [=](LedgerClient& redis) { return redis.run(RefillCall(account, -1)); }},
        {Script::money_op, [=](LedgerClient& redis) { return redis.run(MoneyOpCall(grant)); }},
    };
}

void configure(LedgerClient& redis, AccountId account, KeyId key) {
    AccountConfig config;
    config.account = account;
    config.version = 1;
    config.limit = NanoCoins(1000);
    config.policy = 1;
    EXPECT_EQ(redis.run(SetAccountCall(config)), "OK");
    KeyConfig key_config;
    key_config.account = account;
    key_config.key = key;
    key_config.version = 1;
    EXPECT_EQ(redis.run(SetKeyCall(key_config)), "OK");
}

void expect_all_not_ready(LedgerClient& redis, AccountId account, KeyId key) {
    const std::string before = redis.command({"DEBUG", "DIGEST"});
    for (const auto& [script, call] : guarded_calls(account, key)) {
        EXPECT_EQ(call(redis), "NOTREADY") << script_name(script);
    }
    EXPECT_EQ(redis.command({"DEBUG", "DIGEST"}), before) << "a script that is not ready wrote something";
}

constexpr AccountId kAccount = 256 + 9;
constexpr KeyId kKey = 3;

class Readiness : public ::testing::Test {
 protected:
    harness::RedisServer server{{"--enable-debug-command", "yes"}};
};

TEST_F(Readiness, no_script_works_before_the_first_reconciliation) {
    LedgerClient redis(server.socket());
    configure(redis, kAccount, kKey);
    expect_all_not_ready(redis, kAccount, kKey);
}

TEST_F(Readiness, no_script_works_after_a_restart_and_all_do_once_reconciled_again) {
    {
        LedgerClient redis(server.socket());
        redis.make_ready(account_bucket(kAccount));
        configure(redis, kAccount, kKey);
        for (const auto& [script, call] : guarded_calls(kAccount, kKey)) {
            EXPECT_NE(call(redis), "NOTREADY") << script_name(script);
        }
    }
    server.kill();
    server.start();
    LedgerClient redis(server.socket());
    EXPECT_EQ(redis.hash(account_key(kAccount)).at("bal"), "5") << "appendfsync always: nothing acknowledged is lost";
    expect_all_not_ready(redis, kAccount, kKey);
    redis.make_ready(account_bucket(kAccount), "n2");
    EXPECT_EQ(redis.run(AuthCall({kAccount, kKey, 1, 0})), "OK");
}

TEST_F(Readiness, an_emptied_redis_is_notready_and_never_nokey) {
    LedgerClient redis(server.socket());
    redis.make_ready(account_bucket(kAccount));
    EXPECT_EQ(redis.run(LookupCall(hash_in(account_bucket(kAccount)))), "NOKEY");
    redis.command({"FLUSHALL"});
    expect_all_not_ready(redis, kAccount, kKey);
}

TEST_F(Readiness, one_bucket_says_nothing_about_another) {
    LedgerClient redis(server.socket());
    redis.make_ready(account_bucket(kAccount + 1));
    expect_all_not_ready(redis, kAccount, kKey);
}

TEST_F(Readiness, of_the_buckets_of_one_call_each_is_asked_and_each_settle_gets_its_own_token) {
    LedgerClient redis(server.socket());
    constexpr AccountId kUnready = kAccount + 1;
    constexpr AccountId kOther = kAccount + 2;
    const std::string token = redis.make_ready(account_bucket(kAccount), "n1");
    const std::string other_token = redis.make_ready(account_bucket(kOther), "n2");
    for (const AccountId account : {kAccount, kUnready, kOther}) configure(redis, account, kKey);
    std::vector<AdmitArguments> admits;
    std::vector<SettleArguments> settles;
    for (const AccountId account : {kAccount, kAccount, kUnready, kAccount, kUnready, kUnready, kOther, kAccount}) {
        AdmitArguments admit;
        admit.request = new_request();
        admit.identity = {account, kKey, 1, 0};
        admits.push_back(admit);
        SettleArguments settle;
        settle.request = admit.request;
        settle.account = account;
        settle.key = kKey;
        settle.is_void = true;
        settles.push_back(settle);
    }
    EXPECT_EQ(redis.run(AdmitCall(admits.data(), admits.size())),
              "COINS 0 0 1000 0\nCOINS 0 0 1000 0\nNOTREADY\nCOINS 0 0 1000 0\nNOTREADY\nNOTREADY\n"
              "COINS 0 0 1000 0\nCOINS 0 0 1000 0");
    const std::string none = "NONE " + token;
    EXPECT_EQ(redis.run(SettleCall(settles.data(), settles.size())),
              none + '\n' + none + "\nNOTREADY\n" + none + "\nNOTREADY\nNOTREADY\nNONE " + other_token + '\n' + none);
}

TEST_F(Readiness, the_id_a_master_had_before_a_failover_does_not_count) {
    // A promoted replica keeps its master's id as master_replid2; a look-up of the bare id would find that.
    const std::uint16_t port = harness::free_port();
    harness::RedisServer master({"--port", std::to_string(port), "--repl-diskless-sync-delay", "0"});
    harness::RedisServer replica({"--replicaof", "127.0.0.1 " + std::to_string(port), "--enable-debug-command", "yes"});
    LedgerClient on_master(master.socket());
    LedgerClient on_replica(replica.socket());
    const auto wait_until = [&](const std::function<bool()>& condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!condition()) {
            ASSERT_LT(std::chrono::steady_clock::now(), deadline) << on_replica.command({"INFO", "replication"});
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    };
    // The first replica gives its master a new id.
    ASSERT_NO_FATAL_FAILURE(wait_until([&] {
        return on_replica.command({"INFO", "replication"}).find("master_link_status:up") != std::string::npos;
    }));
    on_master.make_ready(account_bucket(kAccount));
    configure(on_master, kAccount, kKey);
    ASSERT_NO_FATAL_FAILURE(wait_until([&] { return on_replica.field(api_key_key(kAccount, kKey), "ver") == "1"; }));

    for (const auto& [script, call] : guarded_calls(kAccount, kKey)) {
        EXPECT_EQ(call(on_replica).substr(0, 8), "READONLY") << script_name(script);
    }
    EXPECT_EQ(on_replica.run(BeginRebuildCall(account_bucket(kAccount), "n2")).substr(0, 8), "READONLY");

    const std::string former_id = on_master.replication_id();
    on_replica.command({"REPLICAOF", "NO", "ONE"});
    ASSERT_NE(on_replica.command({"INFO", "replication"}).find("master_replid2:" + former_id), std::string::npos);
    expect_all_not_ready(on_replica, kAccount, kKey);
}

class Rebuild : public LedgerTest {};

TEST_F(Rebuild, takes_the_bucket_out_of_service_at_once) {
    grant(100);
    redis.run(BeginRebuildCall(bucket, "n2"));
    EXPECT_EQ(admit(1), "NOTREADY");
}

TEST_F(Rebuild, marks_ready_only_with_the_nonce_that_runs) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    redis.run(BeginRebuildCall(bucket, "n3"));
    const std::string id = redis.replication_id();
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", id)), "NONCE");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n3", id)), "OK");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n3", id)), "OK") << "its first answer may have been lost";
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n1", id)), "NONCE");
    EXPECT_EQ(redis.field(bucket_key(bucket, "meta"), "ready"), id + ":n3");
}

TEST_F(Rebuild, marks_nothing_ready_for_another_master) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", std::string(40, '0'))), "MOVED");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", "")), "MOVED");
    EXPECT_EQ(admit(1), "NOTREADY");
}

TEST_F(Rebuild, a_flush_in_the_middle_of_it_is_noticed) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    redis.command({"DEL", bucket_key(bucket, "meta")});
    LoadAccountArguments loaded;
    loaded.account = account;
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "NONCE");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", redis.replication_id())), "NONCE");
}

TEST_F(Rebuild, a_straggler_loads_nothing_into_a_bucket_that_serves) {
    grant(100);
    redis.run(BeginRebuildCall(bucket, "n2"));
    redis.run(MarkReadyCall(bucket, "n2", redis.replication_id()));
    LoadAccountArguments loaded;
    loaded.account = account;
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "NONCE");
    EXPECT_EQ(account_field("bal"), "100");
}

TEST_F(Rebuild, loads_money_exactly_and_leaves_the_configuration) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    LoadAccountArguments loaded;
    loaded.account = account;
    loaded.balance = NanoCoins(-15'999'999'999'999'999);
    loaded.held = NanoCoins(7);
    loaded.holds = 1;
    loaded.seq = 8;
    loaded.opn = 9;
    loaded.last_refill_hour = 10;
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "OK");
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "OK") << "set, never added";
    const auto fields = redis.hash(account_key(account));
    EXPECT_EQ(fields.at("bal"), "-15999999999999999");
    EXPECT_EQ(fields.at("held"), "7");
    EXPECT_EQ(fields.at("lim"), "1000");
    loaded.held = NanoCoins(-1);
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "RANGE");
}

TEST_F(Rebuild, a_revoked_key_stays_revoked_through_it) {
    key_config.state = KeyState::revoked;
    configure();
    redis.run(BeginRebuildCall(bucket, "n2"));
    key_config.state = KeyState::active;
    ++key_config.version;
    EXPECT_EQ(redis.run(SetKeyCall(key_config, "n2", {})), "OK");
    redis.run(MarkReadyCall(bucket, "n2", redis.replication_id()));
    EXPECT_EQ(admit(1), "REVOKED");
}

TEST_F(Rebuild, events_go_on_from_the_number_the_book_has) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    redis.command({"HSET", bucket_key(bucket, "meta"), "bseq", "41"});
    redis.run(MarkReadyCall(bucket, "n2", redis.replication_id()));
    grant(1);
    EXPECT_EQ(redis.field(bucket_key(bucket, "meta"), "bseq"), "42");
    EXPECT_EQ(redis.command({"XLEN", bucket_key(bucket, "events")}), "1");
}

}  // namespace
}  // namespace lumen::testing
