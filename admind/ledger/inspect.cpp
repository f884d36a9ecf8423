#include "admind/ledger/inspect.h"

#include <array>
#include <iomanip>
#include <map>
#include <optional>
#include <stdexcept>

#include "admind/text/json.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

namespace {

using Fields = std::map<std::string, std::string>;

constexpr int kNameWidth = 22;

void line(std::ostream& out, std::string_view name, const std::string& value) {
    out << std::left << std::setw(kNameWidth) << name << value << "\n";
}

std::string coins(std::string_view nano) {
    const auto amount = parse_nano(nano);
    return amount ? format_coins(*amount) + " coins" : std::string(nano);
}

std::string time_text(std::int64_t unix_ms) {
    return unix_ms == 0 ? "never" : utc_text(unix_ms);
}

std::int64_t number(std::string_view text) {
    const auto parsed = parse_nano(text);
    return parsed ? parsed->nano() : 0;
}

/// How the value of a field is shown.
enum class Shown { text, coins, time_ms, hour, state, mode };

struct FieldWords {
    const char* field;
    const char* words;
    Shown shown;
};
// Fields that are not here (consents, and what a later version may add) are shown as they are.
constexpr FieldWords kAccountWords[] = {
    {"bal", "balance", Shown::coins},
    {"held", "held", Shown::coins},
    {"nh", "holds", Shown::text},
    {"seq", "last event", Shown::text},
    {"opn", "last money operation", Shown::text},
    {"lrh", "refilled up to", Shown::hour},
    {"lim", "limit", Shown::coins},
    {"rate", "refill an hour", Shown::coins},
    {"unl", "unlimited", Shown::text},
    {"mode", "mode", Shown::mode},
    {"st", "state", Shown::state},
    {"pol", "policy", Shown::text},
    {"ver", "configuration", Shown::text},
};
constexpr FieldWords kKeyWords[] = {
    {"acct", "account", Shown::text},
    {"st", "state", Shown::state},
    {"exp", "expires", Shown::time_ms},
    {"last", "last call", Shown::time_ms},
    {"nh", "holds", Shown::text},
    {"pol", "policy", Shown::text},
    {"ver", "configuration", Shown::text},
    {"cap", "cap", Shown::coins},
    {"cu", "used under the cap", Shown::coins},
    {"kh", "held under the cap", Shown::coins},
    {"ce", "window ends", Shown::time_ms},
    {"cl", "window in ms", Shown::text},
};

std::string shown(Shown how, const std::string& value) {
    switch (how) {
        case Shown::coins:
            return value.empty() ? "none" : coins(value);
        case Shown::time_ms:
            return time_text(number(value));
        case Shown::hour:
            return time_text(number(value) * 3'600'000);
        case Shown::state:
            return value == "1" ? "active" : value == "2" ? "revoked or disabled" : "paused";
        case Shown::mode:
            return value == "1" ? "strict" : "soft";
        case Shown::text:
            break;
    }
    return value;
}

void show_rates(std::ostream& out, const char* of, const Rates& rates,
                const std::array<std::int64_t, kRatesOfAKind>& used_up_us) {
    for (std::size_t i = 0; i < rates.size(); ++i) {
        if (rates[i].limit == 0) continue;
        line(out, std::string("rate of ") + of,
             std::to_string(rates[i].limit) + " in " + std::to_string(rates[i].period_s) + " s, used up until " +
                 time_text(used_up_us[i] / 1000));
    }
}

void show_limits(std::ostream& out, const std::string& field) {
    const auto packed = unpack_limits(field);
    if (!packed) return line(out, "limits", "not readable");
    show_rates(out, "requests", packed->limits.requests, packed->requests_used_up_us);
    show_rates(out, "tokens", packed->limits.tokens, packed->tokens_used_up_us);
    if (packed->limits.concurrency > 0) line(out, "concurrency", std::to_string(packed->limits.concurrency));
}

template <std::size_t N>
void show_hash(std::ostream& out, Fields fields, const FieldWords (&words)[N]) {
    for (const FieldWords& known : words) {
        const auto found = fields.find(known.field);
        if (found == fields.end()) continue;
        line(out, known.words, shown(known.shown, found->second));
        fields.erase(found);
    }
    if (const auto limits = fields.find("limits"); limits != fields.end()) {
        show_limits(out, limits->second);
        fields.erase(limits);
    }
    for (const auto& [field, value] : fields) line(out, field, value);
}

Fields read_hash(RedisLink& redis, const std::string& key) {
    const RedisReply reply = redis.command({"HGETALL", key});
    Fields fields;
    for (std::size_t i = 0; i + 1 < reply->elements; i += 2) {
        fields[std::string(reply_text(reply->element[i]))] = reply_text(reply->element[i + 1]);
    }
    return fields;
}

std::int64_t id_of(const std::string& text, std::int64_t most) {
    const auto id = parse_nano(text);
    if (!id || id->nano() < 0 || id->nano() > most) throw std::invalid_argument("not an id: " + text);
    return id->nano();
}

bool inspect_account(RedisLink& redis, AccountId id, std::ostream& out) {
    const Fields fields = read_hash(redis, account_key(id));
    if (fields.empty()) return false;
    line(out, "bucket", std::to_string(account_bucket(id)));
    show_hash(out, fields, kAccountWords);
    return true;
}

/// A key's id does not say where it is: that is its account's bucket.
bool inspect_key(RedisLink& redis, KeyId id, std::ostream& out) {
    std::array<std::string, kBuckets> names;
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        names[static_cast<std::size_t>(bucket)] = api_key_key(bucket, id);
        redis.append({"EXISTS", names[static_cast<std::size_t>(bucket)]});
    }
    std::optional<int> in;
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        if (redis.next()->integer == 1) in = bucket;
    }
    if (!in) return false;
    line(out, "bucket", std::to_string(*in));
    show_hash(out, read_hash(redis, names[static_cast<std::size_t>(*in)]), kKeyWords);
    return true;
}

bool inspect_hold(RedisLink& redis, const std::string& request, std::ostream& out) {
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        redis.append({"HGET", bucket_key(static_cast<Bucket>(bucket), "holds"), request});
    }
    bool found = false;
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        const RedisReply reply = redis.next();
        const auto hold = parse_hold(reply_text(reply.get()));
        if (!hold) continue;
        found = true;
        line(out, "bucket", std::to_string(bucket));
        line(out, "account", std::to_string(hold->account));
        line(out, "key", std::to_string(hold->key));
        line(out, "amount", format_coins(hold->amount) + " coins");
        line(out, "cost so far", format_coins(hold->shadow) + " coins");
        line(out, "ends at", time_text(hold->deadline_ms));
        line(out, "charged at the end", hold->unlimited ? "no, unlimited" : "yes");
        line(out, "under the key's cap", hold->counted ? "yes" : "no");
        line(out, "estimated tokens", std::to_string(hold->estimated_tokens));
    }
    return found;
}

bool inspect_bucket(RedisLink& redis, Bucket bucket, std::ostream& out) {
    const Fields meta = read_hash(redis, bucket_key(bucket, "meta"));
    if (meta.empty()) return false;
    const auto ready = meta.find("ready");
    const std::string id = redis.master_replication_id(bucket);
    const bool serves = ready != meta.end() && !id.empty() && ready->second.compare(0, id.size(), id) == 0;
    line(out, "serves", serves ? "yes" : "no, not reconciled for this server");
    for (const auto& [field, value] : meta) line(out, field, value);
    const auto count = [&](const char* command, const char* name) {
        line(out, name, std::to_string(redis.command({command, bucket_key(bucket, name)})->integer));
    };
    count("HLEN", "holds");
    count("XLEN", "events");
    count("SCARD", "done0");
    count("SCARD", "done1");
    count("HLEN", "kh");
    return true;
}

}  // namespace

bool inspect(RedisLink& redis, const std::string& what, const std::string& id, std::ostream& out) {
    if (what == "account") return inspect_account(redis, id_of(id, kMaxAmount.nano()), out);
    if (what == "key") return inspect_key(redis, id_of(id, kMaxAmount.nano()), out);
    if (what == "bucket") return inspect_bucket(redis, static_cast<Bucket>(id_of(id, kBuckets - 1)), out);
    return inspect_hold(redis, id, out);
}

}  // namespace lumen::admind
