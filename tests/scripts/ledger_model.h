// What ledger.md §4 says, written a second time and differently: 128-bit integers, no Redis. It answers every script
// call for one bucket with the very text the script must answer, and knows what must stand in Redis afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::testing {

class LedgerModel {
 public:
    using Consents = std::vector<std::pair<ModelId, std::int32_t>>;
    using Fields = std::map<std::string, std::string>;

    explicit LedgerModel(std::string replication_id) : replication_id_(std::move(replication_id)) {}

    std::int64_t now_us = 0;

    // The scripts. Each takes what its call takes and returns its reply.
    std::string lookup(const KeyHash& hash) const;
    std::string auth(const Identity& identity);
    std::string admit(const AdmitArguments& arguments);
    /// `looks_at_age`: it is the one of its call that may forget ids.
    std::string settle(const SettleArguments& arguments, bool looks_at_age = true);
    std::string renew(const RenewArguments& arguments);
    std::string reap(const RequestId& request, AccountId account, KeyId key);
    std::string refill(AccountId account, std::int64_t hour);
    std::string money_op(const MoneyOpArguments& arguments);
    std::string set_account(const AccountConfig& config, const Consents& consents = {});
    std::string set_key(const KeyConfig& config);
    std::string set_key(const KeyConfig& config, const std::string& nonce, const KeyCounters& counters);
    std::string begin_rebuild(const std::string& nonce);
    std::string load_account(const std::string& nonce, const LoadAccountArguments& arguments);
    std::string mark_ready(const std::string& nonce, const std::string& replication_id);

    // What else happens to a Redis.
    void add_lookup(const KeyHash& hash, AccountId account, KeyId key);
    void flush_all() { bucket_ = {}; }
    void change_master(std::string replication_id) { replication_id_ = std::move(replication_id); }
    /// What admind does with the stream: the end of a rebuild, and trimming.
    void reset_stream(std::int64_t bseq, const std::vector<std::string>& dropped_holds);
    void drop_events_up_to(std::int64_t bseq);

    // What Redis must hold now.
    Fields account_hash(AccountId account) const;
    Fields key_hash(KeyId key) const;
    Fields meta_hash() const;
    Fields holds_hash() const;
    const std::set<std::string>& done(int generation) const {
        return bucket_.done[static_cast<std::size_t>(generation)];
    }
    const std::vector<std::string>& events() const { return bucket_.events; }
    /// Number of the newest event; those in events() end with it.
    std::int64_t last_bseq() const { return bucket_.bseq; }

    /// I4 as the model sees it: held and holds in flight of an account, summed over its holds.
    std::pair<std::int64_t, std::int64_t> sum_of_holds(AccountId account) const;

 private:
    using Wide = __int128;

    using UsedUp = std::array<std::int64_t, kRatesOfAKind>;  ///< theoretical arrival times, µs
    struct Scope {
        Limits limits;
        UsedUp requests_us{}, tokens_us{};
        std::int64_t in_flight = 0;
        void configure(const Limits& anew);
    };
    struct Account {
        bool has_money = false, has_config = false;
        Wide balance = 0, held = 0;
        std::int64_t seq = 0, opn = 0, last_hour = 0, version = 0;
        AccountConfig config;
        Scope scope;
        std::map<ModelId, std::int32_t> consents;
    };
    struct Key {
        AccountId account = 0;
        std::int64_t version = 0, last_ms = 0;
        bool has_config = false;
        KeyConfig config;
        Scope scope;
        bool has_cap_counts = false, has_window = false;  ///< fields that only a cap brings
        Wide used = 0, held = 0;
        std::int64_t window_end_ms = 0;
    };
    struct HoldState {
        Wide amount = 0, shadow = 0;
        std::int64_t deadline_ms = 0;
        bool unlimited = false, counted = false;
        AccountId account = 0;
        KeyId key = 0;
        std::int64_t tokens = 0;
        std::string blob;
    };
    struct BucketState {
        std::optional<std::string> ready, nonce;
        std::int64_t bseq = 0, duplicates = 0;
        std::optional<std::int64_t> rotated_ms;
        std::map<std::string, std::string> lookups;
        std::map<AccountId, Account> accounts;
        std::map<KeyId, Key> keys;
        std::map<std::string, HoldState> holds;
        std::array<std::set<std::string>, 2> done;
        std::vector<std::string> events;
    };
    struct Spent {
        std::string_view kind;  ///< empty: void
        Wide cost = 0;
        std::optional<std::int64_t> tokens;
        std::string_view blob;
    };

    std::int64_t now_ms() const { return now_us / 1000; }
    std::int64_t hour() const { return now_ms() / 3'600'000; }
    bool is_ready() const;
    bool is_done(const std::string& request) const;
    void remember(const std::string& request, bool looks_at_age);
    void append_event(std::string_view kind, AccountId account, KeyId key, Wide delta, Wide cost, std::string balance,
                      std::int64_t seq, const std::string& last_hour, std::string_view request, std::int64_t opn,
                      std::string_view blob);
    std::optional<std::string> refuse_identity(const Identity& identity);
    std::optional<std::string> refuse_money(Account& account, AccountId id, Wide need);
    std::optional<std::string> refuse_cap(const Account& account, Key& key, Wide need);
    std::optional<std::string> take_rates(Account& account, Key& key, std::int64_t tokens);
    std::string standing_rates(const Account& account, const Key& key) const;
    std::string granted(const Account& account, const Key& key) const;
    static std::string packed_limits(const Scope& scope);
    bool refill_wallet(AccountId id, Account& account, std::int64_t hour);
    void roll_window(Key& key) const;
    void end_hold(const std::string& request, const HoldState& hold, const Spent& spent);
    std::string apply_key(const KeyConfig& config, const KeyCounters* counters);

    std::string replication_id_;
    BucketState bucket_;
};

}  // namespace lumen::testing
