// What the ledger costs in Redis: CPU of its main thread per request, against the cheapest script there is, one that
// does one HINCRBY. A private Redis (packaging/redis.conf, appendfsync everysec), calls pipelined, settles alone and
// several in a call. Each figure is the lower quartile of many short samples, taken in turns: what else runs on a
// machine only ever adds. Prints JSON.  usage: redis_cost [ACCOUNTS…]
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

constexpr int kRounds = 4;
constexpr int kRequestsPerRound = 4'800;
constexpr int kPipeline = 96;
/// Settles in a call; both numbers above are multiples of each.
constexpr int kBatches[] = {1, 4, static_cast<int>(SettleCall::kMostSettles)};
constexpr std::string_view kYardstick = "#!lua\nreturn redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])";

/// One number of an INFO section, e.g. used_cpu_user_main_thread.
double info_number(const std::string& info, const std::string& name) {
    const std::size_t at = info.find(name);
    if (at == std::string::npos) throw std::runtime_error("INFO has no " + name);
    return std::stod(info.substr(at + name.size()));
}

/// Main thread, user + system: reading, running, replying, writing the append-only file.
double cpu_us_so_far(LedgerClient& redis) {
    const std::string cpu = redis.command({"INFO", "cpu"});
    return 1e6 * (info_number(cpu, "used_cpu_user_main_thread:") + info_number(cpu, "used_cpu_sys_main_thread:"));
}

/// Every line of the reply must start so.
void expect_lines(std::string_view reply, std::string_view expected, int lines) {
    for (int i = 0; i < lines; ++i) {
        if (const std::string_view line = next_reply_line(reply); line.substr(0, expected.size()) != expected) {
            throw std::runtime_error("expected " + std::string(expected) + ", got " + std::string(line));
        }
    }
}

using Samples = std::vector<double>;

/// Adds what each of kRequestsPerRound costs, a sample a pipeline. `send` queues one call for `batch` of them, from the
/// one it is given on; the lines of its reply must start with `expected`.
void measure(LedgerClient& redis, Samples& samples, const std::string& expected, int batch,
             const std::function<void(int)>& send) {
    for (int from = 0; from < kRequestsPerRound; from += kPipeline) {
        const double before = cpu_us_so_far(redis);
        for (int i = from; i < from + kPipeline; i += batch) send(i);
        for (int i = 0; i < kPipeline; i += batch) expect_lines(redis.next(), expected, batch);
        samples.push_back((cpu_us_so_far(redis) - before) / kPipeline);
    }
}

double lower_quartile(Samples samples) {
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 4];
}

std::string rounded(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", number);
    return text;
}

enum class Limited : std::uint8_t { nobody, accounts };

class Costs {
 public:
    Costs(int accounts, Limited limited) : accounts_(accounts), limited_(limited) {
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
            for (const int batch : kBatches) {
                requests_.clear();
                for (int i = 0; i < kRequestsPerRound; ++i) requests_.push_back(next_request());
                measure(redis_, samples_["hincrby"], "", 1, [this](int i) { send_yardstick(i); });
                measure(redis_, samples_["admit"], "OK ", 1, [this](int i) { send_admit(i); });
                measure(redis_, samples_["renew"], "OK ", 1, [this](int i) { send_renew(i); });
                measure(redis_, samples_[settle_by(batch)], "OK ", batch,
                        [this, batch](int i) { send_settles(i, batch); });
            }
            // As the drainer does; else later rounds would measure ever longer streams.
            for (int bucket = 0; bucket < kBuckets; ++bucket) {
                redis_.command({"XTRIM", bucket_key(static_cast<Bucket>(bucket), "events"), "MAXLEN", "0"});
            }
        }
    }

    std::string json() const {
        std::string text = "{\"accounts\": " + std::to_string(accounts_) +
                           ", \"rate_limits\": " + (limited_ == Limited::nobody ? "false" : "true");
        for (const auto& [name, samples] : samples_) {
            text += ", \"" + name + "_us\": " + rounded(lower_quartile(samples));
        }
        for (const int batch : kBatches) {
            text += ", \"admit_and_" + settle_by(batch) + "_per_hincrby\": " + rounded(ratio(batch));
        }
        return text + "}";
    }

 private:
    static std::string settle_by(int batch) { return "settle_by_" + std::to_string(batch); }

    double ratio(int batch) const {
        return (lower_quartile(samples_.at("admit")) + lower_quartile(samples_.at(settle_by(batch)))) /
               lower_quartile(samples_.at("hincrby"));
    }

    static void expect_ok(const std::string& reply) {
        if (reply != "OK") throw std::runtime_error("setting up an account answered " + reply);
    }

    void open(AccountId account) {
        AccountConfig config;
        config.account = account;
        config.version = 1;
        config.limit = kMaxAmount;
        config.rate = NanoCoins(1);
        config.policy = 12;
        if (limited_ == Limited::accounts) {
            config.limits.requests = {Rate{1'000'000, 60}, Rate{1'000'000'000, 86'400}};
            config.limits.tokens[0] = {100'000'000, 60};
            config.limits.concurrency = 1'000'000;
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

    void send_settles(int from, int count) {
        std::array<SettleArguments, SettleCall::kMostSettles> settles;
        const Blob blob = usage_of_a_request();
        for (int i = 0; i < count; ++i) {
            SettleArguments& arguments = settles[static_cast<std::size_t>(i)];
            arguments.request = request_of(from + i);
            arguments.account = account_of(from + i);
            arguments.key = arguments.account;
            arguments.cost = NanoCoins(17'340'211);
            arguments.tokens = 1156;
            arguments.blob = blob.view();
        }
        SettleCall call(settles.data(), static_cast<std::size_t>(count));
        redis_.append(call);
    }

    static Blob usage_of_a_request() {
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
        return encode_usage_record(record);
    }

    int accounts_;
    Limited limited_;
    harness::RedisServer server_{{"--appendfsync", "everysec"}};
    LedgerClient redis_{server_.socket()};
    std::string yardstick_sha1_;
    std::vector<RequestId> requests_;
    std::uint32_t counter_ = 0;
    std::map<std::string, Samples> samples_;
};

}  // namespace
}  // namespace lumen

int main(int argc, char** argv) {
    std::vector<int> sizes;
    for (int i = 1; i < argc; ++i) sizes.push_back(std::stoi(argv[i]));
    if (sizes.empty()) sizes = {2'000, 100'000};
    std::string lines;
    for (const int accounts : sizes) {
        for (const lumen::Limited limited : {lumen::Limited::nobody, lumen::Limited::accounts}) {
            lumen::Costs costs(accounts, limited);
            costs.run();
            lines += (lines.empty() ? "  " : ",\n  ") + costs.json();
        }
    }
    std::printf("{\"redis_cost\": [\n%s\n]}\n", lines.c_str());
}
