#include "tests/scripts/ledger_fixture.h"

#include <atomic>

namespace lumen::testing {

harness::RedisServer& shared_server() {
    static harness::RedisServer server({"--appendfsync", "no"});
    return server;
}

RequestId new_request() {
    static std::atomic<std::uint32_t> counter{0};
    const std::uint32_t number = ++counter;
    std::array<std::uint8_t, 10> random{};
    // The first bytes share theirs with the version and the variant of the id.
    for (std::size_t i = 0; i < 4; ++i) random[4 + i] = static_cast<std::uint8_t>(number >> (8 * i));
    return make_request_id(kStartMs, random);
}

LedgerTest::LedgerTest() {
    static int next_bucket = 0;
    bucket = static_cast<Bucket>(next_bucket++ % kBuckets);
    account = 256'000 + bucket;
    EXPECT_LE(next_bucket, kBuckets) << "more tests than buckets: they would share one";
    redis.set_clock(bucket, kStartMs * 1000);
    token = redis.make_ready(bucket);
    account_config.account = key_config.account = account;
    account_config.limit = NanoCoins(1000);
    account_config.policy = 1;
    key_config.key = key;
    configure();
}

void LedgerTest::configure() {
    account_config.version = key_config.version = ++version;
    EXPECT_EQ(redis.run(SetAccountCall(account_config)), "OK");
    EXPECT_EQ(redis.run(SetKeyCall(key_config)), "OK");
}

void LedgerTest::grant(std::int64_t nano) {
    MoneyOpArguments arguments;
    arguments.account = account;
    arguments.opn = ++opn;
    arguments.amount = NanoCoins(nano);
    EXPECT_EQ(redis.run(MoneyOpCall(arguments)), "OK");
}

void LedgerTest::advance_ms(std::int64_t by_ms) {
    now_ms += by_ms;
    redis.set_clock(bucket, now_ms * 1000);
}

AdmitArguments LedgerTest::asking(std::int64_t hold) const {
    AdmitArguments arguments;
    arguments.request = new_request();
    arguments.identity = {account, key, account_config.policy, key_config.policy};
    arguments.hold = NanoCoins(hold);
    arguments.blob = "1,2,3";
    return arguments;
}

SettleArguments LedgerTest::costing(const RequestId& request, std::int64_t cost) const {
    SettleArguments arguments;
    arguments.request = request;
    arguments.account = account;
    arguments.key = key;
    arguments.cost = NanoCoins(cost);
    arguments.blob = "4,5,6";
    return arguments;
}

RequestId LedgerTest::admitted(std::int64_t hold) {
    const AdmitArguments arguments = asking(hold);
    const std::string reply = admit(arguments);
    EXPECT_EQ(reply.substr(0, 3), "OK ") << reply;
    return arguments.request;
}

std::string LedgerTest::last_event() {
    const auto events = redis.events(bucket);
    return events.empty() ? "" : events.back();
}

std::map<std::string, std::map<std::string, std::string>> LedgerTest::state() {
    std::map<std::string, std::map<std::string, std::string>> state;
    for (const std::string& name :
         {account_key(account), api_key_key(account, key), bucket_key(bucket, "meta"), bucket_key(bucket, "holds")}) {
        state[name] = redis.hash(name);
    }
    for (const char* name : {"done0", "done1"}) {
        for (const std::string& id : redis.list({"SMEMBERS", bucket_key(bucket, name)})) state[name][id] = "";
    }
    for (const std::string& event : redis.events(bucket)) state["events"][event] = "";
    return state;
}

}  // namespace lumen::testing
