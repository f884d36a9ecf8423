// What the ledger costs in Redis: CPU of its main thread per request, against the cheapest script there is, one that
// does one HINCRBY. A private Redis (packaging/redis.conf, appendfsync everysec), calls pipelined, admits and settles
// alone and several in a call. Each figure is the lower quartile of many short samples, taken in turns: what else runs
// on a machine only ever adds. With --instructions Redis runs under valgrind, and its instructions are counted: slower
// by far, and the same on a busy machine. Prints JSON.  usage: redis_cost [--instructions] [ACCOUNTS…]
#include <sys/types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/harness/redis_server.h"
#include "tests/harness/server_process.h"
#include "tests/scripts/ledger_client.h"

namespace lumen {
namespace {

using testing::LedgerClient;

constexpr int kPipeline = 96;
/// Admits or settles in a call; the pipeline is a multiple of each.
constexpr int kBatches[] = {1, 4, static_cast<int>(SettleCall::kMostSettles)};
static_assert(SettleCall::kMostSettles == AdmitCall::kMostAdmits);
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

/// Every line of the reply must be OK.
void expect_ok(Script script, std::string_view reply, int lines) {
    for (int i = 0; i < lines; ++i) {
        if (const std::string_view line = next_reply_line(reply); parse_reply(script, line).reply != Reply::ok) {
            throw std::runtime_error("expected OK, got " + std::string(line));
        }
    }
}

/// What is counted of Redis, and in which portions.
struct Count {
    std::string unit;
    int rounds = 1;
    int requests_per_round = 960;  // a multiple of kPipeline
    int requests_per_sample = 960;
    std::function<double(LedgerClient&, pid_t)> so_far;
};

Count count_cpu() {
    return {"us", 4, 4'800, kPipeline, [](LedgerClient& redis, pid_t) { return cpu_us_so_far(redis); }};
}

/// Makes `redis-server` mean one under callgrind for this process, and counts by the profiles that it dumps on demand.
class Callgrind {
 public:
    Callgrind() {
        const std::string path = std::getenv("PATH");
        const std::string wrapper = directory_.path() + "/redis-server";
        std::ofstream(wrapper) << "#!/bin/sh\nPATH='" << path
                               << "' exec valgrind -q --tool=callgrind --callgrind-out-file=" << directory_.path()
                               << "/out.%p redis-server \"$@\"\n";
        std::filesystem::permissions(wrapper, std::filesystem::perms::owner_all);
        setenv("PATH", (directory_.path() + ':' + path).c_str(), 1);
    }

    Count count() {
        return {"instructions", 1, 960, 960, [this](LedgerClient&, pid_t pid) { return so_far(pid); }};
    }

 private:
    double so_far(pid_t pid) {
        const std::string dump = "callgrind_control --dump " + std::to_string(pid) + " >/dev/null 2>&1";
        if (std::system(dump.c_str()) != 0) throw std::runtime_error("callgrind_control failed");
        Progress& progress = progress_[pid];
        const std::string file =
            directory_.path() + "/out." + std::to_string(pid) + '.' + std::to_string(++progress.dumps);
        progress.total += info_number(harness::text_of_file(file), "totals:");
        return progress.total;
    }

    struct Progress {
        int dumps = 0;
        double total = 0;
    };
    harness::TemporaryDirectory directory_{"lumen-callgrind"};
    std::map<pid_t, Progress> progress_;
};

using Samples = std::vector<double>;

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
    Costs(const Count& count, int accounts, Limited limited) : count_(count), accounts_(accounts), limited_(limited) {
        yardstick_sha1_ = redis_.command({"SCRIPT", "LOAD", std::string(kYardstick)});
        for (int bucket = 0; bucket < kBuckets; ++bucket) redis_.make_ready(static_cast<Bucket>(bucket));
        for (int from = 1; from <= accounts; from += kPipeline) {
            const int to = std::min(accounts + 1, from + kPipeline);
            for (int account = from; account < to; ++account) open(account);
            for (int i = 0; i < 3 * (to - from); ++i) expect_opened(redis_.next());
        }
    }

    void run() {
        for (int round = 0; round < count_.rounds; ++round) {
            for (const int batch : kBatches) {
                requests_.clear();
                for (int i = 0; i < count_.requests_per_round; ++i) requests_.push_back(next_request());
                measure("hincrby", {}, 1, [this](int i) { send_yardstick(i); });
                measure(by("admit", batch), Script::admit, batch, [this, batch](int i) { send_admits(i, batch); });
                measure("renew", Script::renew, 1, [this](int i) { send_renew(i); });
                measure(by("settle", batch), Script::settle, batch, [this, batch](int i) { send_settles(i, batch); });
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
            text += ", \"" + name + '_' + count_.unit + "\": " + rounded(lower_quartile(samples));
        }
        for (const int batch : kBatches) {
            text += ", \"admit_and_" + by("settle", batch) + "_per_hincrby\": " + rounded(ratio(batch));
        }
        return text + "}";
    }

 private:
    static std::string by(const char* script, int batch) {
        return std::string(script) + "_by_" + std::to_string(batch);
    }

    double ratio(int batch) const {
        return (lower_quartile(samples_.at(by("admit", batch))) + lower_quartile(samples_.at(by("settle", batch)))) /
               lower_quartile(samples_.at("hincrby"));
    }

    /// Adds what each request costs, a sample a portion. `send` queues one call for `batch` of them, from the one it is
    /// given on; the lines of its reply must be OK, of a script of ours.
    void measure(const std::string& name, std::optional<Script> script, int batch,
                 const std::function<void(int)>& send) {
        for (int from = 0; from < count_.requests_per_round; from += count_.requests_per_sample) {
            const double before = count_.so_far(redis_, server_.pid());
            for (int pipe = from; pipe < from + count_.requests_per_sample; pipe += kPipeline) {
                for (int i = pipe; i < pipe + kPipeline; i += batch) send(i);
                for (int i = 0; i < kPipeline; i += batch) {
                    const std::string reply = redis_.next();
                    if (script) expect_ok(*script, reply, batch);
                }
            }
            const double used = count_.so_far(redis_, server_.pid()) - before;
            samples_[name].push_back(used / count_.requests_per_sample);
        }
    }

    static void expect_opened(const std::string& reply) {
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

    void send_admits(int from, int count) {
        std::array<AdmitArguments, AdmitCall::kMostAdmits> admits;
        const Blob blob = encode_usage_record({});
        for (int i = 0; i < count; ++i) {
            AdmitArguments& arguments = admits[static_cast<std::size_t>(i)];
            arguments.request = request_of(from + i);
            arguments.identity = {account_of(from + i), account_of(from + i), 12, 0};
            arguments.hold = NanoCoins(21'450'000);
            arguments.estimated_tokens = 1200;
            arguments.blob = blob.view();
        }
        AdmitCall call(admits.data(), static_cast<std::size_t>(count));
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

    Count count_;
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
    std::optional<lumen::Callgrind> callgrind;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view(argv[i]) == "--instructions") {
            callgrind.emplace();
        } else {
            sizes.push_back(std::stoi(argv[i]));
        }
    }
    if (sizes.empty() && callgrind) sizes = {2'000};
    if (sizes.empty()) sizes = {2'000, 100'000};
    std::string lines;
    for (const int accounts : sizes) {
        for (const lumen::Limited limited : {lumen::Limited::nobody, lumen::Limited::accounts}) {
            lumen::Costs costs(callgrind ? callgrind->count() : lumen::count_cpu(), accounts, limited);
            costs.run();
            lines += (lines.empty() ? "  " : ",\n  ") + costs.json();
        }
    }
    std::printf("{\"redis_cost\": [\n%s\n]}\n", lines.c_str());
}
