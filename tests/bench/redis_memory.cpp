// What Redis needs for an account with two keys and their lookups, and for a hold: used_memory before and after many of
// them, on a private Redis (packaging/redis.conf). Prints JSON.
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>

#include "tests/harness/redis_server.h"
#include "tests/scripts/ledger_client.h"

namespace lumen {
namespace {

using testing::LedgerClient;

constexpr AccountId kAccounts = 50'000;
constexpr int kHoldsEach = 3;
constexpr int kPipeline = 200;
constexpr PolicyId kPolicy = 12;

double used_memory(LedgerClient& redis) {
    const std::string info = redis.command({"INFO", "memory"});
    constexpr std::string_view kName = "used_memory:";
    return std::stod(info.substr(info.find(kName) + kName.size()));
}

/// Queues calls and reads their replies a pipeline at a time; each reply must start with OK.
class Pipeline {
 public:
    explicit Pipeline(LedgerClient& redis) : redis_(redis) {}
    template <typename Call>
    void send(Call&& call) {
        redis_.append(call);
        if (++queued_ == kPipeline) finish();
    }
    void finish() {
        for (; queued_ > 0; --queued_) {
            if (const std::string reply = redis_.next(); reply.compare(0, 2, "OK") != 0) {
                throw std::runtime_error("redis answered " + reply);
            }
        }
    }

 private:
    LedgerClient& redis_;
    int queued_ = 0;
};

void open_account(Pipeline& pipeline, AccountId account) {
    AccountConfig config;
    config.account = account;
    config.version = 2;
    config.limit = NanoCoins(100'000'000'000);
    config.rate = NanoCoins(50'000'000);
    config.policy = kPolicy;
    pipeline.send(SetAccountCall(config));
    MoneyOpArguments grant;
    grant.account = account;
    grant.opn = 1;
    grant.amount = NanoCoins(98'765'432'109);
    pipeline.send(MoneyOpCall(grant));
    for (const KeyId id : {2 * account - 1, 2 * account}) {
        KeyConfig key;
        key.account = account;
        key.key = id;
        key.version = 1;
        pipeline.send(SetKeyCall(key));
    }
}

void load_lookups(LedgerClient& redis) {
    std::mt19937_64 random(1);
    for (KeyId id = 1; id <= 2 * kAccounts; ++id) {
        KeyHash hash{};
        for (auto& byte : hash) byte = static_cast<std::uint8_t>(random());
        redis.command({"HSET", bucket_key(lookup_bucket(hash), "kh"), std::string(key_hash_bytes(hash)),
                       lookup_entry((id + 1) / 2, id)});
    }
}

RequestId next_request() {
    static std::uint32_t counter = 0;
    ++counter;
    std::array<std::uint8_t, 10> random{};
    for (std::size_t i = 0; i < 4; ++i) random[4 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
    return make_request_id(1'700'000'000'000, random);
}

void hold(Pipeline& pipeline, AccountId account) {
    AdmitArguments arguments;
    arguments.request = next_request();
    arguments.identity = {account, 2 * account, kPolicy, 0};
    arguments.hold = NanoCoins(21'450'000);
    arguments.estimated_tokens = 1200;
    UsageRecord record;
    record.model = 3;
    record.price = 40;
    const Blob blob = encode_usage_record(record);
    arguments.blob = blob.view();
    pipeline.send(AdmitCall(arguments));
}

void run() {
    const harness::RedisServer server({"--appendfsync", "no"});
    LedgerClient redis(server.socket());
    Pipeline pipeline(redis);
    for (int bucket = 0; bucket < kBuckets; ++bucket) redis.make_ready(static_cast<Bucket>(bucket));
    const double empty = used_memory(redis);
    for (AccountId account = 1; account <= kAccounts; ++account) open_account(pipeline, account);
    pipeline.finish();
    load_lookups(redis);
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        redis.command({"DEL", bucket_key(static_cast<Bucket>(bucket), "events")});
    }
    // The first hold of an account makes longer numbers of its zeros: that is counted as the account's.
    const auto hold_once_each = [&pipeline] {
        for (AccountId account = 1; account <= kAccounts; ++account) hold(pipeline, account);
        pipeline.finish();
    };
    hold_once_each();
    const double with_one_hold = used_memory(redis);
    for (int i = 0; i < kHoldsEach; ++i) hold_once_each();
    const double per_hold = (used_memory(redis) - with_one_hold) / static_cast<double>(kAccounts * kHoldsEach);
    const double per_account = (with_one_hold - empty) / static_cast<double>(kAccounts) - per_hold;
    std::printf("{\"account_with_two_keys_bytes\": %.0f, \"hold_bytes\": %.0f}\n", per_account, per_hold);
}

}  // namespace
}  // namespace lumen

int main() {
    lumen::run();
}
