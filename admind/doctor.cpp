#include "admind/doctor.h"

#include <curl/curl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "admind/bounds.h"
#include "admind/catalogue/endpoint_states.h"
#include "admind/ledger/reconcile_job.h"
#include "admind/ledger/redis_settings.h"
#include "admind/stores/migrations.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

namespace {

constexpr int kOldestPostgres = 150000;
constexpr int kOldestRedisMajor = 7;
/// Refills go by the hour, rates by the minute: a clock that is off by less harms neither.
constexpr double kTolerableSkewSeconds = 2;
/// From here on a burst of undrained events could fill it (ledger.md §8).
constexpr double kTolerableMemoryShare = 0.6;
constexpr long kGateSeconds = 5;
constexpr std::size_t kShownDrifts = 5;

using State = Diagnosis::State;

/// libpq's errors are lines; a finding is one.
std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
}

class Findings {
 public:
    explicit Findings(std::string part) : part_(std::move(part)) {}
    void ok(std::string found) { add(State::ok, std::move(found), {}); }
    void warn(std::string found, std::string advice) { add(State::warning, std::move(found), std::move(advice)); }
    void fail(std::string found, std::string advice) { add(State::failed, std::move(found), std::move(advice)); }
    std::vector<Diagnosis> take() { return std::move(list_); }

 private:
    void add(State state, std::string found, std::string advice) {
        list_.push_back({state, part_, one_line(std::move(found)), std::move(advice)});
    }
    std::string part_;
    std::vector<Diagnosis> list_;
};

double unix_seconds() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string rounded(double value) {
    std::ostringstream text;
    text.precision(1);
    text << std::fixed << value;
    return text.str();
}

/// `there`: its clock at some moment since `asked` by ours, which an answer that came late says nothing about.
void look_at_clock(Findings& findings, double asked, double there) {
    const double skew = there - std::clamp(there, asked, std::max(asked, unix_seconds()));
    if (std::abs(skew) > kTolerableSkewSeconds) {
        findings.fail("its clock and this host's are " + rounded(std::abs(skew)) + " s apart",
                      "synchronise both hosts' clocks (NTP): refills and expiry go by the server's");
    }
}

// ---- files ---------------------------------------------------------------------------------------------------------

std::string text_of_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The files that `${file:…}` names.
std::vector<std::string> secret_files(const std::string& yaml) {
    constexpr std::string_view kMark = "${file:";
    std::vector<std::string> files;
    for (std::size_t at = yaml.find(kMark); at != std::string::npos; at = yaml.find(kMark, at + 1)) {
        const std::size_t begin = at + kMark.size();
        const std::size_t end = yaml.find('}', begin);
        if (end != std::string::npos) files.push_back(yaml.substr(begin, end - begin));
    }
    return files;
}

void look_at_file(Findings& findings, const std::string& path, mode_t forbidden, const std::string& advice) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return findings.fail(path + " cannot be looked at", "is it there?");
    if ((status.st_mode & forbidden) == 0) return findings.ok(path + " is as private as it should be");
    findings.fail(path + " is open to other users of this host", advice);
}

std::vector<Diagnosis> examine_files(const std::string& path) {
    Findings findings("files");
    look_at_file(findings, path, S_IWGRP | S_IWOTH, "chmod go-w " + path);
    for (const std::string& file : secret_files(text_of_file(path))) {
        look_at_file(findings, file, S_IWGRP | S_IRWXO, "chmod g-w,o= " + file);
    }
    return findings.take();
}

// ---- Postgres ------------------------------------------------------------------------------------------------------

void look_at_postgres(Findings& findings, PgPool& postgres) {
    PgPool::Lease lease = postgres.acquire();
    pqxx::read_transaction transaction(*lease);
    const double asked = unix_seconds();
    const auto row = transaction.exec1(
        "select current_setting('server_version_num')::int, current_setting('server_version'), "
        "current_setting('fsync'), current_setting('synchronous_commit'), "
        "extract(epoch from clock_timestamp())::double precision, pg_is_in_recovery()");
    if (row[5].as<bool>()) {
        findings.fail("it is a standby", "point app.database.url to the primary");
    }
    if (row[0].as<int>() < kOldestPostgres) {
        findings.fail("version " + row[1].as<std::string>() + " is too old", "15 or newer is needed");
    } else {
        findings.ok("version " + row[1].as<std::string>());
    }
    if (row[2].as<std::string>() != "on") findings.fail("fsync is off", "set fsync = on: the book would be lost");
    if (row[3].as<std::string>() == "off") {
        findings.fail("synchronous_commit is off", "set it on: settled coins would be lost at power loss");
    }
    look_at_clock(findings, asked, row[4].as<double>());
}

void look_at_migrations(Findings& findings, const std::string& url) {
    const auto [missing, newer] = schema_state(url);
    if (!missing.empty()) {
        findings.fail(std::to_string(missing.size()) + " migrations are missing, first " + missing.front(),
                      "lumen-admind migrate");
    } else if (newer > 0) {
        findings.warn("the schema is that of a newer version, by " + std::to_string(newer) + " migrations",
                      "upgrade this host's lumen-admind, too");
    } else {
        findings.ok("the schema is this version's");
    }
}

std::vector<Diagnosis> examine_postgres(const Settings& settings, PgPool& postgres) {
    Findings findings("postgres");
    try {
        look_at_postgres(findings, postgres);
        look_at_migrations(findings, settings.app.database_url);
    } catch (const std::exception& problem) {
        findings.fail(problem.what(), "grants and sign-ins wait for it; requests do not");
    }
    return findings.take();
}

// ---- Redis ---------------------------------------------------------------------------------------------------------

/// `name:value` of an INFO answer.
std::string info_value(std::string_view info, std::string_view name) {
    const std::string mark = "\n" + std::string(name) + ":";
    const std::size_t at = info.find(mark);
    if (at == std::string_view::npos) return {};
    const std::size_t begin = at + mark.size();
    return std::string(info.substr(begin, info.find('\r', begin) - begin));
}

void look_at_memory(Findings& findings, std::string_view memory) {
    const double used = std::atof(info_value(memory, "used_memory").c_str());
    const double most = std::atof(info_value(memory, "maxmemory").c_str());
    if (most <= 0) {
        findings.warn("maxmemory is not set", "set it: a host that runs out of memory kills Redis instead");
    } else if (used > most * kTolerableMemoryShare) {
        findings.warn(rounded(100 * used / most) + " % of its memory is used", "raise maxmemory");
    } else {
        findings.ok(rounded(100 * used / most) + " % of its memory is used");
    }
}

void look_at_buckets(Findings& findings, RedisLink& redis) {
    const ReplicationIds ids = redis.replication_ids();
    if (!redis.clustered() && ids[0].empty()) return findings.fail("it is a replica", "point redis.url to the master");
    for (int i = 0; i < kBuckets; ++i) redis.append({"HGET", bucket_key(static_cast<Bucket>(i), "meta"), "ready"});
    int unready = 0;
    for (int i = 0; i < kBuckets; ++i) {
        const RedisReply token = redis.next_of_any();
        const std::string& id = ids[static_cast<std::size_t>(i)];
        if (id.empty() || reply_text(token.get()).substr(0, id.size()) != id) ++unready;
    }
    if (unready == 0) return findings.ok("all " + std::to_string(kBuckets) + " buckets are in service");
    findings.fail(std::to_string(unready) + " buckets are out of service: their accounts get 503",
                  "a running lumen-admind brings them back; its log names those that a person must decide about");
}

/// One server, or one node of a Cluster.
void examine_server(Findings& findings, RedisLink& redis) {
    const RedisReply server = redis.command({"INFO", "server"});
    const std::string version = info_value(reply_text(server.get()), "redis_version");
    if (std::atoi(version.c_str()) < kOldestRedisMajor) {
        findings.fail("version " + version + " is too old", "7.0 or newer is needed");
    } else {
        findings.ok("version " + version);
    }
    const double asked = unix_seconds();
    const RedisReply time = redis.command({"TIME"});
    if (time->elements == 2) {
        look_at_clock(findings, asked, std::atof(time->element[0]->str) + std::atof(time->element[1]->str) / 1e6);
    }
    const RedisReply memory = redis.command({"INFO", "memory"});
    look_at_memory(findings, reply_text(memory.get()));
    for (const std::string& problem : check_redis_settings(redis)) findings.fail(problem, "packaging/redis.conf");
}

std::vector<Diagnosis> examine_redis(const Settings& settings) {
    Findings findings("redis");
    try {
        RedisLink redis(settings.redis_url, kRedisTimeout);
        redis.each_master([&](RedisLink& server) { examine_server(findings, server); });
        look_at_buckets(findings, redis);
    } catch (const std::exception& problem) {
        findings.fail(problem.what(), "without it every request is refused (503 billing_unavailable)");
    }
    return findings.take();
}

// ---- the books -----------------------------------------------------------------------------------------------------

std::vector<Diagnosis> examine_books(const Settings& settings, PgPool& postgres) {
    Findings findings("books");
    try {
        RedisLink redis(settings.redis_url, kRedisTimeout);
        std::size_t drifts = 0;
        for (int bucket = 0; bucket < kBuckets; ++bucket) {
            for (const Drift& drift : reconcile_bucket(postgres, redis, static_cast<Bucket>(bucket))) {
                if (++drifts > kShownDrifts) continue;
                findings.fail("account " + std::to_string(drift.account) + ": " + drift.what + " by " +
                                  format_coins(drift.amount) + " coins",
                              "docs/operations.md, \"drift\"");
            }
        }
        if (drifts == 0) findings.ok("Redis and Postgres agree about every account");
        if (drifts > kShownDrifts) {
            findings.fail(std::to_string(drifts) + " accounts drift in all", "lumen-admind reconcile names them");
        }
    } catch (const std::exception& problem) {
        findings.fail("not compared: " + std::string(problem.what()), "mend what is above first");
    }
    return findings.take();
}

// ---- the gate and the model servers --------------------------------------------------------------------------------

struct GateAnswer {
    long status = 0;
    std::string text;
    std::string error;
};

std::size_t keep_text(char* data, std::size_t size, std::size_t count, void* answer) {
    constexpr std::size_t kMostBytes = 4096;
    std::string& text = static_cast<GateAnswer*>(answer)->text;
    if (text.size() < kMostBytes) text.append(data, size * count);
    return size * count;
}

/// A call without a key: the cheapest one that only a working gate refuses rightly (L9).
GateAnswer ask_gate(const std::string& public_url) {
    GateAnswer answer;
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), curl_easy_cleanup);
    const std::string url = public_url + "/v1/models";
    curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, kGateSeconds);
    curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, keep_text);
    curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer);
    const CURLcode result = curl_easy_perform(easy.get());
    if (result != CURLE_OK) answer.error = curl_easy_strerror(result);
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &answer.status);
    return answer;
}

std::vector<Diagnosis> examine_gate(const Settings& settings) {
    Findings findings("gate");
    const GateAnswer answer = ask_gate(settings.app.public_url);
    const std::string where = settings.app.public_url + "/v1";
    if (!answer.error.empty()) {
        findings.fail(where + " does not answer: " + answer.error, "is nginx running, and app.public_url right?");
    } else if (answer.status != 401 || answer.text.find("invalid_api_key") == std::string::npos) {
        findings.fail(where + " answered a call without a key with " + std::to_string(answer.status) +
                          " instead of 401 invalid_api_key",
                      "is `lumen on;` in force in that location?");
    } else {
        findings.ok(where + " refuses a call without a key");
    }
    return findings.take();
}

std::vector<Diagnosis> examine_endpoints(const Settings& settings, PgPool& postgres) {
    Findings findings("endpoints");
    try {
        RedisPool pool(settings.redis_url, 1, kRedisTimeout);
        EndpointStates states(pool);
        const auto reports = states.reports();
        PgPool::Lease lease = postgres.acquire();
        pqxx::read_transaction transaction(*lease);
        const auto rows = transaction.exec(
            "select e.id, e.name, m.name from endpoints e join models m on m.id = e.model_id "
            "where not (m.disabled or m.removed or e.removed) order by m.name, e.name");
        for (const auto& row : rows) {
            const std::string name = row[2].as<std::string>() + " at " + row[1].as<std::string>();
            const auto report = reports.find(row[0].as<EndpointId>());
            if (report == reports.end() || report->second.life != EndpointLife::down) continue;
            findings.warn(name + " is down: " + report->second.reason, "is that server running?");
        }
        if (rows.empty()) {
            findings.warn("no model has an endpoint", "add models to lumen.yaml");
        } else {
            findings.ok(std::to_string(rows.size()) + " endpoints are known");
        }
    } catch (const std::exception& problem) {
        findings.fail("not looked at: " + std::string(problem.what()), "mend what is above first");
    }
    return findings.take();
}

const char* word_of(State state) {
    switch (state) {
        case State::ok:
            return "ok   ";
        case State::warning:
            return "warn ";
        default:
            return "FAIL ";
    }
}

}  // namespace

std::vector<Diagnosis> examine(const Settings& settings, const std::string& path) {
    PgPool postgres(settings.app.database_url, 2, settings.app.database_pool_timeout);
    std::vector<Diagnosis> all;
    for (std::vector<Diagnosis> some :
         {examine_files(path), examine_postgres(settings, postgres), examine_redis(settings),
          examine_books(settings, postgres), examine_gate(settings), examine_endpoints(settings, postgres)}) {
        all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return all;
}

int run_doctor(const Settings& settings, const std::string& path, std::ostream& out) {
    int failed = 0;
    for (const Diagnosis& one : examine(settings, path)) {
        out << word_of(one.state) << one.part << ": " << one.found << "\n";
        if (!one.advice.empty()) out << "       " << one.advice << "\n";
        if (one.state == State::failed) ++failed;
    }
    out << (failed == 0 ? "Nothing is wrong.\n" : std::to_string(failed) + " to mend.\n");
    return failed == 0 ? 0 : 1;
}

}  // namespace lumen::admind
