// What the ledger scripts cost in Redis: CPU of its main thread per call, against the cheapest script there is, one
// that does one HINCRBY. A private Redis (packaging/redis.conf, appendfsync everysec), calls pipelined, rounds
// alternating so that a noisy machine hits all of them alike; medians. Prints JSON.  usage: redis_cost [ACCOUNTS…]
#include <algorithm>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/harness/redis_server.h"
#include "tests/scripts/ledger_client.h"

namespace lumen {
namespace {

using testing::LedgerClient;

constexpr int kRounds = 9;
constexpr int kCallsPerRound = 5'000;
constexpr int kPipeline = 100;
constexpr std::string_view kYardstick = "#!lua\nreturn redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])";

/// One number of an INFO section, e.g. used_cpu_user_main_thread.
double info_number(const std::string& info, const std::string& name) {
    const std::size_t at = info.find(name);
    if (at == std::string::npos) throw std::runtime_error("INFO has no " + name);
    return std::stod(info.substr(at + name.size()));
}

struct Spent {
    double cpu_us = 0;     ///< main thread, user + system: reading, running, replying, writing the append-only file
    double script_us = 0;  ///< commandstats: running alone
};

Spent spent_so_far(LedgerClient& redis) {
    const std::string cpu = redis.command({"INFO", "cpu"});
    const std::string stats = redis.command({"INFO", "commandstats"});
    const std::size_t evalsha = stats.find("cmdstat_evalsha:");
    return {1e6 * (info_number(cpu, "used_cpu_user_main_thread:") + info_number(cpu, "used_cpu_sys_main_thread:")),
            evalsha == std::string::npos ? 0 : info_number(stats.substr(evalsha), "usec=")};
}

/// Runs `send` kCallsPerRound times; each must queue one call whose reply starts with `expected`.
Spent measure(LedgerClient& redis, const std::string& expected, const std::function<void(int)>& send) {
    const Spent before = spent_so_far(redis);
    for (int from = 0; from < kCallsPerRound; from += kPipeline) {
        for (int i = from; i < from + kPipeline; ++i) send(i);
        for (int i = 0; i < kPipeline; ++i) {
            if (const std::string reply = redis.next(); reply.compare(0, expected.size(), expected) != 0) {
                throw std::runtime_error("expected " + expected + ", got " + reply);
            }
        }
    }
    const Spent after = spent_so_far(redis);
    return {(after.cpu_us - before.cpu_us) / kCallsPerRound, (after.script_us - before.script_us) / kCallsPerRound};
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

enum class Rates : std::uint8_t { none, per_account };

class Costs {
 public:
    Costs(int accounts, Rates rates) : accounts_(accounts), rates_(rates) {
        yardstick_sha1_ = redis_.command({"SCRIPT", "LOAD", std::string(kYardstick)});
        for (int bucket = 0; bucket < kBuckets; ++bucket) redis_.make_ready(static_cast<Bucket>(bucket));
        for (int from = 1; from <= accounts; from += kPipeline) {
            const int to = std::min(accounts + 1, from + kPipeline);
            for (int account = from; account < to; ++account) open(account);
            for (int i = 0; i < 3 * (to - from); ++i) expect_ok(redis_.next());
        }
    }

    void run() {
        for (int round = 0; round < kRounds; ++round) {
            requests_.clear();
            for (int i = 0; i < kCallsPerRound; ++i) requests_.push_back(next_request());
            note("hincrby", measure(redis_, "", [this](int i) { send_yardstick(i); }));
            note("admit", measure(redis_, "OK ", [this](int i) { send_admit(i); }));
            note("renew", measure(redis_, "OK ", [this](int i) { send_renew(i); }));
            note("settle", measure(redis_, "OK ", [this](int i) { send_settle(i); }));
            // As the drainer does; else later rounds would measure ever longer streams.
            for (int bucket = 0; bucket < kBuckets; ++bucket) {
                redis_.command({"XTRIM", bucket_key(static_cast<Bucket>(bucket), "events"), "MAXLEN", "0"});
            }
        }
    }

    std::string json() const {
        std::string text = "{\"accounts\": " + std::to_string(accounts_) +
                           ", \"rate_limits\": " + (rates_ == Rates::none ? "false" : "true");
        for (const auto& [name, spent] : spent_) {
            text += ", \"" + name + "_us\": " + rounded(median(spent.cpu_us)) + ", \"" + name +
                    "_script_us\": " + rounded(median(spent.script_us));
        }
        std::vector<double> ratios;
        const auto& yardstick = spent_.at("hincrby").cpu_us;
        for (std::size_t i = 0; i < yardstick.size(); ++i) {
            ratios.push_back((spent_.at("admit").cpu_us[i] + spent_.at("settle").cpu_us[i]) / yardstick[i]);
        }
        return text + ", \"admit_and_settle_per_hincrby\": " + rounded(median(ratios)) + "}";
    }

 private:
    struct Rounds {
        std::vector<double> cpu_us, script_us;
    };

    static std::string rounded(double number) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2f", number);
        return text;
    }

    static void expect_ok(const std::string& reply) {
        if (reply != "OK") throw std::runtime_error("setting up an account answered " + reply);
    }

    void note(const std::string& name, const Spent& spent) {
        spent_[name].cpu_us.push_back(spent.cpu_us);
        spent_[name].script_us.push_back(spent.script_us);
    }

    void open(AccountId account) {
        AccountConfig config;
        config.account = account;
        config.version = 1;
        config.limit = kMaxAmount;
        config.rate = NanoCoins(1);
        config.policy = 12;
        if (rates_ == Rates::per_account) {
            config.requests_per_minute = 1'000'000;
            config.tokens_per_minute = 100'000'000;
            config.concurrency = 1'000'000;
        }
        SetAccountCall set_account(config);
        redis_.append(set_account);
        KeyConfig key;
        key.account = account;
        key.key = account;  // ids of keys are unique, so this is one, too
        key.version = 1;
        SetKeyCall set_key(key);
        redis_.append(set_key);
        MoneyOpArguments grant;
        grant.account = account;
        grant.opn = 1;
        grant.amount = NanoCoins(1'000'000'000'000'000);
        MoneyOpCall money_op(grant);
        redis_.append(money_op);
    }

    RequestId next_request() {
        std::array<std::uint8_t, 10> random{};
        ++counter_;
        for (std::size_t i = 0; i < 4; ++i) random[4 + i] = static_cast<std::uint8_t>(counter_ >> (8 * i));
        return make_request_id(1'700'000'000'000, random);
    }

    /// Neighbours in time are strangers in memory.
    AccountId account_of(int i) const { return 1 + static_cast<AccountId>(i) * 7919 % accounts_; }
    const RequestId& request_of(int i) const { return requests_[static_cast<std::size_t>(i)]; }

    void send_yardstick(int i) {
        // The numbers of keys and arguments differ on purpose: the yardstick is the cheapest call, not an equal one.
        ScriptCall call(Script::lookup, 1);
        call.add(account_key(account_of(i)) + ":yardstick").add("12345");
        call.argv()[1] = yardstick_sha1_.data();
        redis_.append(call);
    }

    void send_admit(int i) {
        AdmitArguments arguments;
        arguments.request = request_of(i);
        arguments.identity = {account_of(i), account_of(i), 12, 0};
        arguments.hold = NanoCoins(21'450'000);
        arguments.estimated_tokens = 1200;
        const Blob blob = encode_usage_record({});
        arguments.blob = blob.view();
        AdmitCall call(arguments);
        redis_.append(call);
    }

    void send_renew(int i) {
        RenewArguments arguments;
        arguments.request = request_of(i);
        arguments.account = account_of(i);
        arguments.key = arguments.account;
        arguments.amount = NanoCoins(31'450'000);
        arguments.shadow = NanoCoins(11'450'000);
        RenewCall call(arguments);
        redis_.append(call);
    }

    void send_settle(int i) {
        UsageRecord record;
        record.model = 3;
        record.endpoint = 17;
        record.price = 40;
        record.usage.input_tokens = 812;
        record.usage.output_tokens = 344;
        record.duration_ms = 4321;
        record.ttft_ms = 212;
        record.status = 200;
        record.source = UsageSource::final;
        SettleArguments arguments;
        arguments.request = request_of(i);
        arguments.account = account_of(i);
        arguments.key = arguments.account;
        arguments.cost = NanoCoins(17'340'211);
        arguments.tokens = 1156;
        const Blob blob = encode_usage_record(record);
        arguments.blob = blob.view();
        SettleCall call(arguments);
        redis_.append(call);
    }

    int accounts_;
    Rates rates_;
    harness::RedisServer server_{{"--appendfsync", "everysec"}};
    LedgerClient redis_{server_.socket()};
    std::string yardstick_sha1_;
    std::vector<RequestId> requests_;
    std::uint32_t counter_ = 0;
    std::map<std::string, Rounds> spent_;
};

}  // namespace
}  // namespace lumen

int main(int argc, char** argv) {
    std::vector<int> sizes;
    for (int i = 1; i < argc; ++i) sizes.push_back(std::stoi(argv[i]));
    if (sizes.empty()) sizes = {2'000, 100'000};
    std::string lines;
    for (const int accounts : sizes) {
        for (const lumen::Rates rates : {lumen::Rates::none, lumen::Rates::per_account}) {
            lumen::Costs costs(accounts, rates);
            costs.run();
            lines += (lines.empty() ? "  " : ",\n  ") + costs.json();
        }
    }
    std::printf("{\"redis_cost\": [\n%s\n]}\n", lines.c_str());
}
