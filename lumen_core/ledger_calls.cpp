// Builds the calls of the ledger scripts. KEYS and ARGV stand in the order of each script's first lines.
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "lumen_core/embedded_scripts.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen {
namespace {

constexpr std::array<std::string_view, kScripts> kNames{
    "lookup",   "auth",        "admit",   "settle",        "renew",        "reap",     "refill",
    "money_op", "set_account", "set_key", "begin_rebuild", "load_account", "load_new", "mark_ready",
};

struct LoadedScript {
    std::string text;
    std::array<char, 2 * SHA_DIGEST_LENGTH> sha1{};
};
using LoadedScripts = std::array<LoadedScript, kScripts>;

/// Without the marks of lines that are for a Cluster.
std::string for_cluster(std::string_view text) {
    constexpr std::string_view kMark = "\n-- @cluster ";
    std::string unmarked;
    for (std::size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark)) {
        unmarked.append(text.substr(0, at + 1));
        text.remove_prefix(at + kMark.size());
    }
    return unmarked.append(text);
}

LoadedScripts load_scripts(Deployment deployment) {
    LoadedScripts scripts;
    for (std::size_t i = 0; i < scripts.size(); ++i) {
        for (std::size_t j = 0; j < kEmbeddedScriptCount; ++j) {
            if (kEmbeddedScripts[j].name == kNames[i]) scripts[i].text = kEmbeddedScripts[j].text;
        }
        if (deployment == Deployment::cluster) scripts[i].text = for_cluster(scripts[i].text);
        std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
        SHA1(reinterpret_cast<const unsigned char*>(scripts[i].text.data()), scripts[i].text.size(), digest.data());
        constexpr char kHex[] = "0123456789abcdef";
        for (std::size_t k = 0; k < digest.size(); ++k) {
            scripts[i].sha1[2 * k] = kHex[digest[k] >> 4U];
            scripts[i].sha1[2 * k + 1] = kHex[digest[k] & 0x0FU];
        }
    }
    return scripts;
}

const LoadedScript& loaded(Script script, Deployment deployment) noexcept {
    static const LoadedScripts single = load_scripts(Deployment::single);
    static const LoadedScripts cluster = load_scripts(Deployment::cluster);
    return (deployment == Deployment::cluster ? cluster : single)[static_cast<std::size_t>(script)];
}

/// EVALSHA sha1 numkeys: what stands before the first key.
constexpr int kLeadingArgs = 3;

/// An argument put together without the heap: each request makes two calls of many.
class Text {
 public:
    Text& operator<<(std::string_view part) noexcept {
        const std::size_t room = chars_.size() - length_;
        if (part.size() > room) fits_ = false;
        length_ += part.copy(chars_.data() + length_, room);
        return *this;
    }
    Text& operator<<(std::int64_t number) noexcept {
        char* const end = chars_.data() + chars_.size();
        const auto [stop, error] = std::to_chars(chars_.data() + length_, end, number);
        if (error != std::errc{}) fits_ = false;
        if (fits_) length_ = static_cast<std::size_t>(stop - chars_.data());
        return *this;
    }
    /// `-` for none.
    Text& id_or_dash(std::int64_t id) noexcept { return id == 0 ? *this << std::string_view("-") : *this << id; }

    void add_to(ScriptCall& call) const noexcept {
        // What does not fit here would not be a call of ours: it is refused as one that is too long for the arena.
        call.add({chars_.data(), fits_ ? length_ : ScriptCall::kArenaBytes + 1});
    }

 private:
    std::array<char, kMaxBlobBytes + 3 * 21> chars_;  // the blob and three numbers
    std::size_t length_ = 0;
    bool fits_ = true;
};

/// As stored, account's and key's: `12 -`. `?` for an account's that is not known, as that is never right.
void add_policies(ScriptCall& call, const Identity& identity) noexcept {
    Text text;
    if (identity.account_policy == 0) {
        text << "?";
    } else {
        text << identity.account_policy;
    }
    (text << " ").id_or_dash(identity.key_policy).add_to(call);
}

void add_id_or_dash(ScriptCall& call, std::int64_t id) noexcept {
    if (id == 0) {
        call.add("-");
    } else {
        call.add_number(id);
    }
}

/// Tokens beyond what an amount may be make this one none: RANGE, without a look at the tokens of every request.
void add_amount(ScriptCall& call, NanoCoins amount, std::uint64_t tokens) noexcept {
    if (tokens > static_cast<std::uint64_t>(kMaxAmount.nano())) {
        call.add("");
    } else {
        call.add_number(amount.nano());
    }
}

void add_flag(ScriptCall& call, bool flag) noexcept {
    call.add(flag ? "1" : "0");
}

void add_text_or_dash(ScriptCall& call, std::string_view text) noexcept {
    call.add(text.empty() ? "-" : text);
}

/// Account and key as one argument, as holds and events have them: `17 4`, or `17 -`.
void add_owner(ScriptCall& call, AccountId account, KeyId key) noexcept {
    Text text;
    (text << account << " ").id_or_dash(key).add_to(call);
}

/// Account, key, estimated tokens and blob, as a hold ends.
void add_rest_of_hold(ScriptCall& call, const AdmitArguments& arguments) noexcept {
    Text text;
    text << arguments.identity.account << " " << arguments.identity.key << " ";
    text << static_cast<std::int64_t>(arguments.estimated_tokens) << " " << arguments.blob;
    text.add_to(call);
}

void add_limits(ScriptCall& call, const Limits& limits) noexcept {
    call.add_number(limits.concurrency);
    for (const Rates& rates : {limits.requests, limits.tokens}) {
        for (const Rate& rate : rates) call.add_number(rate.limit).add_number(rate.period_s);
    }
}

/// The keys that every script about one request takes first; it knows the bucket's by them.
void add_wallet_keys(ScriptCall& call, AccountId account, KeyId key) noexcept {
    const std::string tag = bucket_key(account_bucket(account), "");  // short enough to need no memory
    std::array<char, 48> name;
    char* const behind_tag = name.data() + tag.copy(name.data(), tag.size());
    const auto add = [&](char* end) { call.add({name.data(), static_cast<std::size_t>(end - name.data())}); };
    const auto add_of = [&](char kind, std::int64_t id) {
        behind_tag[0] = kind;
        behind_tag[1] = ':';
        add(std::to_chars(behind_tag + 2, name.data() + name.size(), id).ptr);
    };
    add_of('a', account);
    add_of('k', key);
}

void add_bucket_keys(ScriptCall& call, AccountId account, std::initializer_list<const char*> names) {
    for (const char* name : names) call.add(bucket_key(account_bucket(account), name));
}

/// `c:MODEL` of {b}:a:ACC.
std::string consent_field(ModelId model) {
    return "c:" + std::to_string(model);
}

}  // namespace

std::string_view script_name(Script script) noexcept {
    return kNames[static_cast<std::size_t>(script)];
}
std::string_view script_text(Script script, Deployment deployment) noexcept {
    return loaded(script, deployment).text;
}
std::string_view script_sha1(Script script, Deployment deployment) noexcept {
    const auto& sha1 = loaded(script, deployment).sha1;
    return {sha1.data(), sha1.size()};
}

ScriptCall::ScriptCall(Script script, int keys) noexcept : script_(script) {
    const std::string_view sha1 = script_sha1(script);
    argv_[0] = "EVALSHA";
    lengths_[0] = std::strlen("EVALSHA");
    argv_[1] = sha1.data();
    lengths_[1] = sha1.size();
    argc_ = 2;
    add_number(keys);
}

ScriptCall& ScriptCall::add(std::string_view argument) noexcept {
    const auto at = static_cast<std::size_t>(argc_);
    if (overflowed_ || at == kMaxArgs || argument.size() > kArenaBytes - used_) {
        overflowed_ = true;
        return *this;
    }
    char* copy = arena_.data() + used_;
    if (!argument.empty()) std::memcpy(copy, argument.data(), argument.size());
    argv_[at] = copy;
    lengths_[at] = argument.size();
    used_ += argument.size();
    ++argc_;
    return *this;
}

ScriptCall& ScriptCall::add_number(std::int64_t argument) noexcept {
    std::array<char, 20> digits;  // of -2^63
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), argument).ptr;
    return add({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

void ScriptCall::send_to(Deployment deployment) noexcept {
    deployment_ = deployment;
    argv_[1] = script_sha1(script_, deployment).data();
}

void ScriptCall::use_eval() noexcept {
    const std::string_view text = script_text(script_, deployment_);
    argv_[0] = "EVAL";
    lengths_[0] = std::strlen("EVAL");
    argv_[1] = text.data();
    lengths_[1] = text.size();
}

LookupCall::LookupCall(const KeyHash& hash) noexcept : ScriptCall(Script::lookup, 2) {
    add(bucket_key(lookup_bucket(hash), "meta")).add(bucket_key(lookup_bucket(hash), "kh"));
    add(key_hash_bytes(hash));
}

AuthCall::AuthCall(const Identity& identity) noexcept : ScriptCall(Script::auth, 2) {
    add_wallet_keys(*this, identity.account, identity.key);
    add_number(identity.account);
    add_policies(*this, identity);
}

AdmitCall::AdmitCall(const AdmitArguments* admits, std::size_t count) noexcept
    : ScriptCall(Script::admit, 2 * static_cast<int>(count)) {
    const AdmitArguments* const end = admits + count;
    for (const AdmitArguments* each = admits; each != end; ++each) {
        add_wallet_keys(*this, each->identity.account, each->identity.key);
    }
    const auto shorter = [](const AdmitArguments& a, const AdmitArguments& b) { return a.ttl_ms < b.ttl_ms; };
    add_number(std::max_element(admits, end, shorter)->ttl_ms);
    const bool any_consent = std::any_of(admits, end, [](const AdmitArguments& one) { return one.consent_model != 0; });
    for (const AdmitArguments* each = admits; each != end; ++each) {
        add(each->request.view());
        add_policies(*this, each->identity);
        add_amount(*this, each->hold, each->estimated_tokens);
        add_rest_of_hold(*this, *each);
        if (!any_consent) continue;
        add(each->consent_model == 0 ? std::string() : consent_field(each->consent_model));
        add_number(each->consent_since);
    }
}

SettleCall::SettleCall(const SettleArguments* settles, std::size_t count) noexcept
    : ScriptCall(Script::settle, 2 * static_cast<int>(count)) {
    for (std::size_t i = 0; i < count; ++i) {
        add_wallet_keys(*this, settles[i].account, settles[i].key);
    }
    for (std::size_t i = 0; i < count; ++i) {
        add(settles[i].request.view());
        add_owner(*this, settles[i].account, settles[i].key);
        if (settles[i].is_void) {
            add("-");
        } else {
            add_amount(*this, settles[i].cost, settles[i].tokens);
        }
        add_number(static_cast<std::int64_t>(settles[i].tokens));
        add(settles[i].blob);
    }
}

RenewCall::RenewCall(const RenewArguments& arguments) noexcept : ScriptCall(Script::renew, 2) {
    add_wallet_keys(*this, arguments.account, arguments.key);
    add(arguments.request.view());
    add_owner(*this, arguments.account, arguments.key);
    add_number(arguments.amount.nano()).add_number(arguments.shadow.nano()).add_number(arguments.ttl_ms);
}

ReapCall::ReapCall(const RequestId& request, AccountId account, KeyId key) noexcept : ScriptCall(Script::reap, 2) {
    add_wallet_keys(*this, account, key);
    add(request.view());
    add_owner(*this, account, key);
}

RefillCall::RefillCall(const AccountId* accounts, std::size_t count, std::int64_t hour) noexcept
    : ScriptCall(Script::refill, 2 + static_cast<int>(count)) {
    add_bucket_keys(*this, accounts[0], {"meta", "events"});
    for (std::size_t i = 0; i < count; ++i) add(account_key(accounts[i]));
    if (hour < 0) {
        add("");
    } else {
        add_number(hour);
    }
}

std::string_view money_op_kind_name(MoneyOpKind kind) noexcept {
    switch (kind) {
        case MoneyOpKind::add:
            return "add";
        case MoneyOpKind::set:
            return "set";
        case MoneyOpKind::late:
            return "late";
    }
    return "";
}

MoneyOpCall::MoneyOpCall(const MoneyOpArguments& arguments) noexcept : ScriptCall(Script::money_op, 4) {
    add_bucket_keys(*this, arguments.account, {"meta"});
    add(account_key(arguments.account));
    add_bucket_keys(*this, arguments.account, {"events"});
    add(api_key_key(arguments.account, arguments.key));
    add_owner(*this, arguments.account, arguments.key);
    add_number(arguments.opn).add(money_op_kind_name(arguments.kind));
    add_number(arguments.amount.nano()).add_number(arguments.cost.nano());
    add_text_or_dash(*this, arguments.request);
    add_text_or_dash(*this, arguments.note);
}

SetAccountCall::SetAccountCall(const AccountConfig& config) noexcept : ScriptCall(Script::set_account, 3) {
    add_bucket_keys(*this, config.account, {"meta"});
    add(account_key(config.account));
    add_bucket_keys(*this, config.account, {"events"});
    add_number(config.account).add_number(config.version);
    if (config.limit) {
        add_number(config.limit->nano());
    } else {
        add("");
    }
    add_number(config.rate.nano());
    add_flag(*this, config.unlimited);
    add_flag(*this, config.strict);
    add(config.active ? "1" : "2");
    add_id_or_dash(*this, config.policy);
    add_limits(*this, config.limits);
}

void SetAccountCall::add_consent(ModelId model, std::int32_t notice_version) noexcept {
    add(consent_field(model)).add_number(notice_version);
}

SetKeyCall::SetKeyCall(const KeyConfig& config) noexcept : ScriptCall(Script::set_key, 2) {
    add_bucket_keys(*this, config.account, {"meta"});
    add(api_key_key(config.account, config.key));
    add_number(config.account).add_number(config.version).add_number(static_cast<int>(config.state));
    add_number(config.expires_at_ms);
    add_id_or_dash(*this, config.policy);
    if (config.cap) {
        add_number(config.cap->nano());
    } else {
        add("");
    }
    add_number(config.cap_window_ms).add_number(config.cap_window_end_ms);
    add_limits(*this, config.limits);
}

SetKeyCall::SetKeyCall(const KeyConfig& config, std::string_view nonce, const KeyCounters& counters) noexcept
    : SetKeyCall(config) {
    add(nonce).add_number(counters.cap_used.nano()).add_number(counters.cap_held.nano()).add_number(counters.holds);
}

std::string lookup_entry(AccountId account, KeyId key) {
    return std::to_string(account) + ':' + std::to_string(key);
}

BeginRebuildCall::BeginRebuildCall(Bucket bucket, std::string_view nonce) noexcept
    : ScriptCall(Script::begin_rebuild, 1) {
    add(bucket_key(bucket, "meta")).add(nonce);
}

LoadAccountCall::LoadAccountCall(std::string_view nonce, const LoadAccountArguments& arguments) noexcept
    : ScriptCall(Script::load_account, 2) {
    add_bucket_keys(*this, arguments.account, {"meta"});
    add(account_key(arguments.account));
    add(nonce).add_number(arguments.balance.nano()).add_number(arguments.held.nano()).add_number(arguments.holds);
    add_number(arguments.seq).add_number(arguments.opn).add_number(arguments.last_refill_hour);
}

StoredHash stored_account(const AccountConfig& config, const std::vector<std::pair<ModelId, std::int32_t>>& consents,
                          const LoadAccountArguments& money) {
    const auto number = [](std::int64_t value) { return std::to_string(value); };
    StoredHash hash;
    hash.key = account_key(config.account);
    // What is read most often comes first: Redis looks a field up from the front.
    hash.texts = {"bal",  number(money.balance.nano()),
                  "held", number(money.held.nano()),
                  "nh",   number(money.holds),
                  "seq",  number(money.seq),
                  "lrh",  number(money.last_refill_hour),
                  "st",   config.active ? "1" : "2",
                  "pol",  config.policy == 0 ? "-" : number(config.policy),
                  "lim",  config.limit ? number(config.limit->nano()) : "",
                  "unl",  config.unlimited ? "1" : "0"};
    if (std::string limits = pack_unused_limits(config.limits); !limits.empty()) {
        hash.texts.insert(hash.texts.end(), {"limits", std::move(limits)});
    }
    hash.texts.insert(hash.texts.end(), {"mode", config.strict ? "1" : "0", "rate", number(config.rate.nano()), "ver",
                                         number(config.version), "opn", number(money.opn)});
    for (const auto& [model, version] : consents) {
        hash.texts.insert(hash.texts.end(), {consent_field(model), number(version)});
    }
    return hash;
}

StoredHash stored_key(const KeyConfig& config, const KeyCounters& counters) {
    const auto number = [](std::int64_t value) { return std::to_string(value); };
    StoredHash hash;
    hash.key = api_key_key(config.account, config.key);
    hash.texts = {"acct", number(config.account),
                  "nh",   number(counters.holds),
                  "st",   number(static_cast<int>(config.state)),
                  "exp",  number(config.expires_at_ms),
                  "pol",  config.policy == 0 ? "-" : number(config.policy),
                  "last", "0",
                  "ver",  number(config.version)};
    const auto add = [&](const char* field, std::string value) {
        hash.texts.insert(hash.texts.end(), {field, std::move(value)});
    };
    if (std::string limits = pack_unused_limits(config.limits); !limits.empty()) add("limits", std::move(limits));
    if (config.cap) {
        add("cap", number(config.cap->nano()));
        add("cl", number(config.cap_window_ms));
        add("ce", number(config.cap_window_end_ms));
    }
    // Holds that were counted under a cap since taken away still end under it.
    if (config.cap || counters.cap_used.nano() != 0 || counters.cap_held.nano() != 0) {
        add("cu", number(counters.cap_used.nano()));
        add("kh", number(counters.cap_held.nano()));
    }
    return hash;
}

LoadNewCall::LoadNewCall(Bucket bucket, std::string_view nonce, const std::vector<StoredHash>& hashes) noexcept
    : ScriptCall(Script::load_new, 1 + static_cast<int>(hashes.size())) {
    add(bucket_key(bucket, "meta"));
    for (const StoredHash& hash : hashes) add(hash.key);
    add(nonce);
    for (const StoredHash& hash : hashes) {
        add_number(static_cast<std::int64_t>(hash.texts.size()));
        for (const std::string& text : hash.texts) add(text);
    }
}

std::size_t LoadNewCall::bytes_of(const StoredHash& hash) noexcept {
    constexpr std::size_t kCountBytes = 4;
    std::size_t bytes = hash.key.size() + kCountBytes;
    for (const std::string& text : hash.texts) bytes += text.size();
    return bytes;
}

MarkReadyCall::MarkReadyCall(Bucket bucket, std::string_view nonce, std::string_view replication_id) noexcept
    : ScriptCall(Script::mark_ready, 1) {
    add(bucket_key(bucket, "meta")).add(nonce).add(replication_id);
}

}  // namespace lumen
