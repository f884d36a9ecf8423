// A Redis that is full, and a gate that may do no more than packaging/redis.conf allows it.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

constexpr AccountId kAccount = 256 + 5;
constexpr KeyId kKey = 2;

class Surroundings : public ::testing::Test {
 protected:
    Surroundings() {
        redis.make_ready(account_bucket(kAccount));
        AccountConfig account;
        account.account = kAccount;
        account.version = 1;
        account.limit = NanoCoins(1'000'000);
        account.policy = 1;
        EXPECT_EQ(redis.run(SetAccountCall(account)), "OK");
        EXPECT_EQ(redis.run(SetKeyCall(key_config())), "OK");
        MoneyOpArguments grant;
        grant.account = kAccount;
        grant.opn = 1;
        grant.amount = NanoCoins(1'000);
        EXPECT_EQ(redis.run(MoneyOpCall(grant)), "OK");
    }

    static KeyConfig key_config() {
        KeyConfig key;
        key.account = kAccount;
        key.key = kKey;
        key.version = 1;
        key.cap = NanoCoins(500);
        return key;
    }
    static AdmitArguments asking() {
        AdmitArguments arguments;
        arguments.request = new_request();
        arguments.identity = {kAccount, kKey, 1, 0};
        arguments.hold = NanoCoins(10);
        return arguments;
    }
    static SettleArguments costing(const RequestId& request) {
        SettleArguments arguments;
        arguments.request = request;
        arguments.account = kAccount;
        arguments.key = kKey;
        arguments.cost = NanoCoins(4);
        return arguments;
    }
    static RenewArguments renewing(const RequestId& request, std::int64_t ttl_ms) {
        RenewArguments arguments;
        arguments.request = request;
        arguments.account = kAccount;
        arguments.key = kKey;
        arguments.amount = NanoCoins(12);
        arguments.shadow = NanoCoins(3);
        arguments.ttl_ms = ttl_ms;
        return arguments;
    }

    harness::RedisServer server{{"--appendfsync", "no"}};
    LedgerClient redis{server.socket()};
};

// T11
TEST_F(Surroundings, a_full_redis_refuses_admits_up_front_and_settles_renews_and_reaps_what_runs) {
    const AdmitArguments first = asking();
    const AdmitArguments second = asking();
    EXPECT_EQ(redis.reply(AdmitCall(first)).reply, Reply::ok);
    EXPECT_EQ(redis.reply(AdmitCall(second)).reply, Reply::ok);
    EXPECT_EQ(redis.command({"CONFIG", "SET", "maxmemory", "1"}), "OK");

    const auto before = redis.hash(account_key(kAccount));
    EXPECT_EQ(redis.run(AdmitCall(asking())).substr(0, 4), "OOM ");
    EXPECT_EQ(redis.run(AuthCall({kAccount, kKey, 1, 0})).substr(0, 4), "OOM ");
    EXPECT_EQ(redis.run(RefillCall(kAccount, -1)).substr(0, 4), "OOM ");
    EXPECT_EQ(redis.hash(account_key(kAccount)), before);

    EXPECT_EQ(redis.reply(RenewCall(renewing(second.request, 0))).reply, Reply::ok);
    EXPECT_EQ(redis.reply(SettleCall(costing(first.request))).reply, Reply::ok);
    EXPECT_EQ(redis.reply(SettleCall(costing(first.request))).reply, Reply::dup);
    EXPECT_EQ(redis.reply(ReapCall(second.request, kAccount, kKey)).reply, Reply::ok);
    EXPECT_EQ(redis.field(account_key(kAccount), "bal"), "993");
    EXPECT_EQ(redis.field(account_key(kAccount), "held"), "0");

    redis.command({"CONFIG", "SET", "maxmemory", "0"});
    EXPECT_EQ(redis.reply(AdmitCall(asking())).reply, Reply::ok);
}

TEST_F(Surroundings, without_enough_replicas_nothing_is_admitted) {
    EXPECT_EQ(redis.command({"CONFIG", "SET", "min-replicas-to-write", "1"}), "OK");
    EXPECT_EQ(redis.run(AdmitCall(asking())).substr(0, 11), "NOREPLICAS ");
}

TEST_F(Surroundings, the_shipped_gate_user_runs_every_script_of_the_gate_and_nothing_that_could_hurt) {
    EXPECT_EQ(redis.command({"ACL", "SETUSER", "lumen-gate", "on", ">pass"}), "OK");
    KeyHash hash{};
    hash[0] = account_bucket(kAccount);
    redis.command({"HSET", bucket_key(hash[0], "kh"), std::string(key_hash_bytes(hash)), lookup_entry(kAccount, kKey)});

    LedgerClient gate(server.socket());
    ASSERT_EQ(gate.command({"AUTH", "lumen-gate", "pass"}), "OK");
    for (int i = 0; i < kScripts; ++i) {
        const auto script = static_cast<Script>(i);
        EXPECT_EQ(gate.command({"SCRIPT", "LOAD", std::string(script_text(script))}), script_sha1(script));
    }
    EXPECT_EQ(gate.reply(LookupCall(hash)).reply, Reply::ok);
    EXPECT_EQ(gate.reply(AuthCall({kAccount, kKey, 1, 0})).reply, Reply::ok);
    const AdmitArguments first = asking();
    EXPECT_EQ(gate.reply(AdmitCall(first)).reply, Reply::ok);
    EXPECT_EQ(gate.reply(RenewCall(renewing(first.request, 1000))).reply, Reply::ok);
    SettleCall settle(costing(first.request));
    settle.use_eval();
    EXPECT_EQ(gate.reply(settle).reply, Reply::ok);
    EXPECT_EQ(gate.reply(SettleCall(costing(first.request))).reply, Reply::dup);
    EXPECT_EQ(gate.reply(SettleCall(costing(new_request()))).reply, Reply::late);

    // Rarer ways through the scripts: rotation of the ids, a refill within an admit, a reaped hold.
    redis.command({"HSET", bucket_key(hash[0], "meta"), "rot", "1"});
    redis.command({"HSET", account_key(kAccount), "lrh", "1", "bal", "0", "rate", "100"});
    const AdmitArguments second = asking();
    EXPECT_EQ(gate.reply(AdmitCall(second)).reply, Reply::ok);
    EXPECT_EQ(gate.reply(RenewCall(renewing(second.request, 0))).reply, Reply::ok);
    EXPECT_EQ(gate.reply(SettleCall(costing(new_request()))).reply, Reply::late);
    EXPECT_EQ(gate.reply(ReapCall(second.request, kAccount, kKey)).reply, Reply::ok);
    EXPECT_EQ(gate.reply(RefillCall(kAccount, -1)).reply, Reply::same);

    // What the gate does besides: catalogue, reports, sessions, replay, subscriptions.
    for (const std::vector<std::string>& allowed :
         std::vector<std::vector<std::string>>{{"PING"},
                                               {"TIME"},
                                               {"INFO", "replication"},
                                               {"WAIT", "0", "1"},
                                               {"GET", "lumen:catalogue"},
                                               {"GET", "lumen:probes"},
                                               {"SET", "lumen:gate:g1", "{}", "PX", "5000"},
                                               {"HGETALL", "lumen:session:0"},
                                               {"HGET", bucket_key(hash[0], "meta"), "ready"},
                                               {"SUBSCRIBE", "lumen:catalogue"}}) {
        EXPECT_EQ(gate.command(allowed).find("NOPERM"), std::string::npos) << allowed[0];
    }
    for (const std::vector<std::string>& denied :
         std::vector<std::vector<std::string>>{{"FLUSHALL"},
                                               {"FLUSHDB"},
                                               {"SWAPDB", "0", "1"},
                                               {"DEBUG", "SLEEP", "0"},
                                               {"KEYS", "*"},
                                               {"CONFIG", "GET", "*"},
                                               {"ACL", "LIST"},
                                               {"SHUTDOWN"},
                                               {"SCRIPT", "FLUSH"},
                                               {"DEL", bucket_key(hash[0], "meta")},
                                               {"SET", "lumen:catalogue", "{}"},
                                               {"GET", "elsewhere"},
                                               {"SUBSCRIBE", "elsewhere"}}) {
        std::vector<std::string> dry_run{"ACL", "DRYRUN", "lumen-gate"};
        dry_run.insert(dry_run.end(), denied.begin(), denied.end());
        EXPECT_NE(redis.command(dry_run), "OK") << denied[0];
    }
}

TEST_F(Surroundings, the_shipped_settings_are_those_the_ledger_needs) {
    const std::map<std::string, std::string> settings{{"maxmemory-policy", "noeviction"},
                                                      {"appendonly", "yes"},
                                                      {"no-appendfsync-on-rewrite", "no"},
                                                      {"repl-backlog-ttl", "0"},
                                                      {"lazyfree-lazy-server-del", "yes"}};
    for (const auto& [name, value] : settings) EXPECT_EQ(redis.list({"CONFIG", "GET", name}).at(1), value) << name;
    harness::RedisServer as_shipped;
    LedgerClient client(as_shipped.socket());
    EXPECT_EQ(client.list({"CONFIG", "GET", "appendfsync"}).at(1), "always");
}

}  // namespace
}  // namespace lumen::testing
