// The calls of the ledger scripts and their replies, as types: the only place that knows their KEYS, ARGV and texts.
// Both the gate and admind speak to Redis through this (ledger.md §3, §4). No I/O here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/limits.h"
#include "lumen_core/money.h"
#include "lumen_core/usage.h"

namespace lumen {

enum class Script : std::uint8_t {
    lookup,
    auth,
    admit,
    settle,
    renew,
    reap,
    refill,
    money_op,
    set_account,
    set_key,
    begin_rebuild,
    load_account,
    load_new,
    mark_ready,
};
inline constexpr int kScripts = static_cast<int>(Script::mark_ready) + 1;

/// In a Cluster, scripts see to it themselves that a slot on the move is not touched.
enum class Deployment : std::uint8_t { single, cluster };

std::string_view script_name(Script script) noexcept;
/// The text given to SCRIPT LOAD / EVAL, and its SHA-1 in hex (computed once at start).
std::string_view script_text(Script script, Deployment deployment = Deployment::single) noexcept;
std::string_view script_sha1(Script script, Deployment deployment = Deployment::single) noexcept;

/// One EVALSHA command, ready for redis*CommandArgv; its arguments live inside it. Arguments that would not fit (no
/// caller of ours has such) make it `overflowed`, and it must not be sent.
class ScriptCall {
 public:
    // AdmitCall::kMostAdmits of the longest admits fit, and as many settles.
    static constexpr std::size_t kMaxArgs = 3 + 1 + 16 * (3 + 6);
    static constexpr std::size_t kArenaBytes = 10240;

    explicit ScriptCall(Script script, int keys) noexcept;
    ScriptCall(const ScriptCall&) = delete;
    ScriptCall& operator=(const ScriptCall&) = delete;

    ScriptCall& add(std::string_view argument) noexcept;
    ScriptCall& add_number(std::int64_t argument) noexcept;

    Script script() const noexcept { return script_; }
    /// Before it is sent, and before use_eval().
    void send_to(Deployment deployment) noexcept;
    bool overflowed() const noexcept { return overflowed_; }
    int argc() const noexcept { return argc_; }
    /// EVALSHA sha1 numkeys KEYS… ARGV…
    const char** argv() noexcept { return argv_.data(); }
    const std::size_t* argv_lengths() const noexcept { return lengths_.data(); }
    /// Turns the call into EVAL with the script's text, after NOSCRIPT.
    void use_eval() noexcept;

 private:
    Script script_;
    Deployment deployment_ = Deployment::single;
    bool overflowed_ = false;
    int argc_ = 0;
    std::size_t used_ = 0;
    std::array<const char*, kMaxArgs> argv_;
    std::array<std::size_t, kMaxArgs> lengths_;
    std::array<char, kArenaBytes> arena_;
};

/// The gate's record of a request, stored in the hold and in the event, opaque to Lua. Text, at most kMaxBlobBytes.
struct UsageRecord {
    ModelId model = 0;
    EndpointId endpoint = 0;  ///< 0: none was chosen
    PriceId price = 0;
    Usage usage;
    std::uint32_t duration_ms = 0;
    std::uint32_t ttft_ms = 0;
    UsageSource source = UsageSource::none;
    std::uint16_t status = 0;  ///< HTTP status the client got; 499 = left
};
/// 3 ids of 19 digits, 8 counts of 20, 2 durations of 10, a source, a status of 5, and the 14 commas between: 257.
inline constexpr std::size_t kMaxBlobBytes = 264;
struct Blob {
    std::array<char, kMaxBlobBytes> text;
    std::size_t length = 0;
    std::string_view view() const noexcept { return {text.data(), length}; }
};
Blob encode_usage_record(const UsageRecord& record) noexcept;
std::optional<UsageRecord> decode_usage_record(std::string_view blob) noexcept;

// ---- calls --------------------------------------------------------------------------------------------------------
// Each fills a fresh ScriptCall; the returned reference is its argument. `hash` is the raw key hash.

struct LookupCall : ScriptCall {
    explicit LookupCall(const KeyHash& hash) noexcept;
};

struct Identity {
    AccountId account = 0;
    KeyId key = 0;
    PolicyId account_policy = 0;  ///< as believed; 0 = not known
    PolicyId key_policy = 0;      ///< 0 = none
};

struct AuthCall : ScriptCall {
    explicit AuthCall(const Identity& identity) noexcept;
};

struct AdmitArguments {
    RequestId request;
    Identity identity;
    ModelId consent_model = 0;  ///< 0: no consent is needed
    std::int32_t consent_since = 0;
    NanoCoins hold;
    std::int64_t ttl_ms = 90'000;
    std::uint64_t estimated_tokens = 0;
    std::string_view blob;
};
/// One admit, or several at once; each has its line of the reply (next_reply_line), and the longest ttl is everyone's.
/// Any buckets go together, but for a Redis Cluster, where a call must stay in one.
struct AdmitCall : ScriptCall {
    static constexpr std::size_t kMostAdmits = 16;
    explicit AdmitCall(const AdmitArguments& arguments) noexcept : AdmitCall(&arguments, 1) {}
    AdmitCall(const AdmitArguments* admits, std::size_t count) noexcept;
};

struct SettleArguments {
    RequestId request;
    AccountId account = 0;
    KeyId key = 0;
    NanoCoins cost;
    std::uint64_t tokens = 0;
    bool is_void = false;  ///< reached no model: no event, nothing charged
    std::string_view blob;
};
/// One settle, or several at once; each has its line of the reply (next_reply_line). Any buckets go together, but for a
/// Redis Cluster, where a call must stay in one.
struct SettleCall : ScriptCall {
    static constexpr std::size_t kMostSettles = 16;
    explicit SettleCall(const SettleArguments& arguments) noexcept : SettleCall(&arguments, 1) {}
    SettleCall(const SettleArguments* settles, std::size_t count) noexcept;
};

struct RenewArguments {
    RequestId request;
    AccountId account = 0;
    KeyId key = 0;
    NanoCoins amount;  ///< the hold as it should be now
    NanoCoins shadow;  ///< cost so far
    std::int64_t ttl_ms = 90'000;
};
struct RenewCall : ScriptCall {
    explicit RenewCall(const RenewArguments& arguments) noexcept;
};

struct ReapCall : ScriptCall {
    ReapCall(const RequestId& request, AccountId account, KeyId key) noexcept;
};

/// One account, or several of one bucket; each has its line of the reply (next_reply_line). hour < 0: the server's
/// clock decides.
struct RefillCall : ScriptCall {
    static constexpr std::size_t kMostAccounts = 16;
    RefillCall(AccountId account, std::int64_t hour) noexcept : RefillCall(&account, 1, hour) {}
    RefillCall(const AccountId* accounts, std::size_t count, std::int64_t hour) noexcept;
};

enum class MoneyOpKind : std::uint8_t { add, set, late };
std::string_view money_op_kind_name(MoneyOpKind kind) noexcept;
inline constexpr std::size_t kMaxNoteBytes = 200;
struct MoneyOpArguments {
    AccountId account = 0;
    std::int64_t opn = 0;  ///< 1, 2, … per account
    MoneyOpKind kind = MoneyOpKind::add;
    NanoCoins amount;          ///< add: may be negative; set: the balance wanted; late: the negative of what is owed
    NanoCoins cost;            ///< late: for the counters
    KeyId key = 0;             ///< late
    std::string_view request;  ///< late: request id, else empty
    std::string_view note;     ///< blob of a late; else an operator's reference of at most kMaxNoteBytes
};
struct MoneyOpCall : ScriptCall {
    explicit MoneyOpCall(const MoneyOpArguments& arguments) noexcept;
};

struct AccountConfig {
    AccountId account = 0;
    std::int64_t version = 0;
    std::optional<NanoCoins> limit;  ///< absent: no budget
    NanoCoins rate;                  ///< per hour
    bool unlimited = false;
    bool strict = false;
    bool active = true;
    PolicyId policy = 0;
    Limits limits;
};
struct SetAccountCall : ScriptCall {
    explicit SetAccountCall(const AccountConfig& config) noexcept;
    /// Consents travel with the configuration: model id → notice version; at most kMaxConsentsPerCall in one call. They
    /// only ever grow, so they are merged even if the configuration is STALE: further calls repeat the same version.
    static constexpr int kMaxConsentsPerCall = 4;
    void add_consent(ModelId model, std::int32_t notice_version) noexcept;
};

enum class KeyState : std::uint8_t { active = 1, revoked = 2, paused = 3 };
struct KeyConfig {
    KeyId key = 0;
    AccountId account = 0;
    std::int64_t version = 0;
    KeyState state = KeyState::active;
    std::int64_t expires_at_ms = 0;  ///< 0 = never
    PolicyId policy = 0;
    Limits limits;
    std::optional<NanoCoins> cap;
    std::int64_t cap_window_ms = 0;  ///< 0 = for ever
    std::int64_t cap_window_end_ms = 0;
};
/// What a rebuild knows of a key besides its configuration.
struct KeyCounters {
    NanoCoins cap_used;      ///< cost of the key's rows in its window
    NanoCoins cap_held;      ///< of the holds that were kept and count under the cap
    std::int64_t holds = 0;  ///< kept holds of the key
};
struct SetKeyCall : ScriptCall {
    explicit SetKeyCall(const KeyConfig& config) noexcept;
    /// During the rebuild `nonce`, and only then: NONCE otherwise. Sets the counters even if the configuration is
    /// STALE.
    SetKeyCall(const KeyConfig& config, std::string_view nonce, const KeyCounters& counters) noexcept;
};
/// The lookup entry of a key hash lives in its own bucket: HSET {lookup bucket}:kh hash `account:key`; not a script.
std::string lookup_entry(AccountId account, KeyId key);

struct BeginRebuildCall : ScriptCall {
    BeginRebuildCall(Bucket bucket, std::string_view nonce) noexcept;
};
struct LoadAccountArguments {
    AccountId account = 0;
    NanoCoins balance;
    NanoCoins held;
    std::int64_t holds = 0;
    std::int64_t seq = 0;
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
};
struct LoadAccountCall : ScriptCall {
    LoadAccountCall(std::string_view nonce, const LoadAccountArguments& arguments) noexcept;
};
/// An account or a key as Redis keeps it: fields and their values, in turn.
struct StoredHash {
    std::string key;
    std::vector<std::string> texts;
};
StoredHash stored_account(const AccountConfig& config, const std::vector<std::pair<ModelId, std::int32_t>>& consents,
                          const LoadAccountArguments& money);
StoredHash stored_key(const KeyConfig& config, const KeyCounters& counters);
/// Several that Redis has nothing of, of one bucket, during the rebuild `nonce`; each has its line of the reply.
struct LoadNewCall : ScriptCall {
    LoadNewCall(Bucket bucket, std::string_view nonce, const std::vector<StoredHash>& hashes) noexcept;
    /// Arguments that a hash takes, and bytes; of a call's kMostTexts and kMostBytes.
    static std::size_t texts_of(const StoredHash& hash) noexcept { return hash.texts.size() + 2; }
    static std::size_t bytes_of(const StoredHash& hash) noexcept;
    static constexpr std::size_t kMostTexts = kMaxArgs - 6;
    static constexpr std::size_t kMostBytes = kArenaBytes - 128;
};
struct MarkReadyCall : ScriptCall {
    MarkReadyCall(Bucket bucket, std::string_view nonce, std::string_view replication_id) noexcept;
};

// ---- replies ------------------------------------------------------------------------------------------------------
// Scripts reply with one string: a word, then decimal numbers or `-`, separated by single spaces. Before it, an admit
// has the limits that hold, as Redis keeps them (take_rates.lua): what is left of the rates is worked out here.

enum class Reply : std::uint8_t {
    malformed = 0,  ///< not a reply of ours: treat as an error, keep what was to be sent
    ok,
    not_ready,
    no_key,
    revoked,
    no_account,
    expired,
    disabled,
    policy,
    consent,
    gone,
    range,
    no_budget,
    coins,
    never,
    held,
    key_cap,
    concurrency,
    too_large,
    rpm,
    tpm,  // admit
    dup,
    none,
    late,     // settle
    refused,  // renew
    not_yet,  // reap
    same,
    full,   // refill
    gap,    // money_op
    stale,  // set_*
    nonce,
    moved,  // mark_ready
};

/// What is left of a rate: of the narrowest, where several hold.
struct RateStanding {
    std::int64_t limit = 0;
    std::int64_t remaining = 0;
    std::int64_t reset_us = 0;  ///< until all of it is there again
};

/// A reply as numbers; fields that a reply does not carry are 0, or nullopt where 0 would be a lie.
struct LedgerReply {
    Reply reply = Reply::malformed;
    AccountId account = 0;                 // lookup
    KeyId key = 0;                         // lookup
    PolicyId account_policy = 0;           // POLICY
    PolicyId key_policy = 0;               // POLICY
    NanoCoins balance;                     // admit OK, COINS, settle OK, renew OK
    NanoCoins held;                        // admit OK, COINS, settle OK
    std::optional<NanoCoins> limit;        // COINS
    NanoCoins rate;                        // COINS
    bool unlimited = false;                // admit OK
    bool again = false;                    // admit OK: this request held already
    std::optional<RateStanding> requests;  // admit OK, HELD, CONC, RPM, TPM; absent: no such rate
    std::optional<RateStanding> tokens;    // admit OK, HELD, CONC, RPM, TPM
    std::int64_t wait_us = 0;              // RPM, TPM: then this very request passes
    NanoCoins cap;                         // KEYCAP
    NanoCoins cap_used;                    // KEYCAP
    std::int64_t cap_end_ms = 0;           // KEYCAP
    bool account_active = true;            // renew OK
    std::int64_t opn = 0;                  // GAP: the number expected next
    std::string_view token;                // settle: the `ready` token; lives as long as the reply text
};
LedgerReply parse_reply(Script script, std::string_view text) noexcept;
/// Takes the first line off `text`: a call of several settles has a line for each. Rates come packed before their line,
/// and are taken with it, whatever bytes they are.
std::string_view next_reply_line(std::string_view& text) noexcept;

// ---- events -------------------------------------------------------------------------------------------------------

enum class EventKind : std::uint8_t {
    usage = 1,
    refill = 2,
    grant = 3,
    adjust = 4,
    correction = 5,
    reap = 6,
    late = 7
};
std::string_view event_kind_name(EventKind kind) noexcept;

/// One entry of a bucket's stream: a single field `e` whose value is space-separated text in this order
/// (type a k d c b s h at r opn x), `-` for what an event has not.
struct LedgerEvent {
    EventKind kind = EventKind::usage;
    AccountId account = 0;
    KeyId key = 0;
    NanoCoins delta;
    NanoCoins cost;
    NanoCoins balance_after;
    std::int64_t seq = 0;  ///< 0 for late
    std::int64_t last_refill_hour = 0;
    std::int64_t at_ms = 0;
    std::string_view request;  ///< empty: none
    std::int64_t opn = 0;      ///< grant, adjust, correction
    std::string_view blob;     ///< the last field; may be empty
};
std::optional<LedgerEvent> parse_event(std::string_view text) noexcept;

/// A hold as HGETALL/HSCAN {b}:holds gives it.
struct Hold {
    NanoCoins amount;
    NanoCoins shadow;
    std::int64_t deadline_ms = 0;
    bool unlimited = false;
    bool counted = false;  ///< under a key cap
    AccountId account = 0;
    KeyId key = 0;
    std::uint64_t estimated_tokens = 0;
    std::string_view blob;
};
std::optional<Hold> parse_hold(std::string_view text) noexcept;

}  // namespace lumen
