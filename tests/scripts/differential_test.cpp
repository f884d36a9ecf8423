// The scripts against the reference model: the same random calls to both, the same replies and the same state after
// each.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <random>

#include "tests/scripts/ledger_fixture.h"
#include "tests/scripts/ledger_model.h"

namespace lumen::testing {
namespace {

constexpr Bucket kBucket = 77;
constexpr std::array<AccountId, 3> kAccounts{77, 77 + 256, 77 + 512};
constexpr std::array<KeyId, 4> kKeys{1, 2, 3, 4};  // keys 1 and 4 belong to the first account
constexpr std::array<ModelId, 2> kModels{1, 2};
constexpr std::size_t kRequestsRemembered = 24;

std::uint64_t seed_of_this_run() {
    const char* fixed = std::getenv("LUMEN_SEED");
    return fixed ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
}

/// Of wallets: amounts small or around M; or such that mostly limits alone stand in the way of a request.
enum class Wallets : std::uint8_t { small, near_m, full };

/// Draws calls: mostly sensible ones, some absurd.
class RandomCalls {
 public:
    RandomCalls(std::uint64_t seed, Wallets wallets) : random_(seed), wallets_(wallets) {}

    bool full() const { return wallets_ == Wallets::full; }

    int below(int bound) { return static_cast<int>(random_() % static_cast<std::uint64_t>(bound)); }
    bool one_in(int chances) { return below(chances) == 0; }

    NanoCoins amount() {
        if (one_in(12)) return NanoCoins(0);
        if (one_in(60)) return NanoCoins(kM + 1 + below(3));
        if (one_in(80)) return NanoCoins(-1 - below(9));
        if (wallets_ == Wallets::near_m && !one_in(4)) return NanoCoins(kM / (1 + below(4)) - below(3));
        return NanoCoins(below(400));
    }
    NanoCoins signed_amount() {
        if (full()) return NanoCoins(kM / (1000 + below(1000)));
        const std::int64_t nano = amount().nano();
        return NanoCoins(one_in(3) ? -nano : nano);
    }

    AccountId account() { return kAccounts[static_cast<std::size_t>(below(3))]; }
    KeyId key() { return kKeys[static_cast<std::size_t>(below(4))]; }
    static AccountId owner(KeyId key) { return kAccounts[static_cast<std::size_t>((key - 1) % 3)]; }
    std::pair<AccountId, KeyId> holder() {
        const KeyId id = key();
        return {one_in(40) ? account() : owner(id), id};
    }
    PolicyId policy() { return one_in(60) ? 2 : 1; }
    PolicyId key_policy(KeyId key) { return one_in(60) ? 5 : (key == 2 ? 3 : 0); }

    struct Known {
        RequestId request;
        AccountId account;
        KeyId key;
    };
    /// Usually one that was asked for lately, with its true owner.
    Known known() {
        if (recent_.empty() || one_in(15)) {
            const auto [account, key] = holder();
            return {new_request(), account, key};
        }
        Known known = recent_[static_cast<std::size_t>(below(static_cast<int>(recent_.size())))];
        if (one_in(40)) known.account = account();
        return known;
    }
    void remember(const Known& known) {
        if (recent_.size() < kRequestsRemembered) {
            recent_.push_back(known);
        } else {
            recent_[static_cast<std::size_t>(below(kRequestsRemembered))] = known;
        }
    }

    Rate rate(int up_to) {
        constexpr std::array<std::int64_t, 4> kPeriods{10, 60, 3'600, 86'400};
        return {1 + below(up_to), kPeriods[static_cast<std::size_t>(below(4))]};
    }
    Limits limits() {
        Limits limits;
        for (std::size_t i = 0; i < kRatesOfAKind; ++i) {
            if (one_in(3)) limits.requests[i] = rate(one_in(2) ? 60 : 4);
            if (one_in(3)) limits.tokens[i] = rate(20'000);
        }
        if (one_in(3)) limits.concurrency = 1 + below(12);
        if (one_in(200)) limits.requests[0] = {1, 0};
        if (one_in(200)) limits.tokens[1] = {kMostPerRate + 1, 60};
        return limits;
    }

 private:
    std::mt19937_64 random_;
    Wallets wallets_;
    std::vector<Known> recent_;
};

class Differential : public ::testing::Test {
 protected:
    Differential()
        : server({"--appendfsync", "no"}), redis(server.socket(), Clock::fixed), model(redis.replication_id()) {
        now_us = kStartMs * 1000 + 123'456;
        set_clock();
    }

    void set_clock() {
        model.now_us = now_us;
        redis.set_clock(kBucket, now_us);
    }
    std::int64_t now_hour() const { return now_us / 1000 / kHourMs; }

    template <typename Call>
    void same(Call&& call, const std::string& expected) {
        ASSERT_EQ(redis.run(call), expected) << script_name(call.script());
        std::string_view lines = expected;
        while (!lines.empty()) {
            const std::string_view line = next_reply_line(lines);
            ++replies[std::string(script_name(call.script())) + ' ' + std::string(line.substr(0, line.find(' ')))];
        }
    }

    void set_account(RandomCalls& draw, AccountId id) {
        AccountConfig config;
        config.account = id;
        config.version = 1 + draw.below(++versions);
        if (!draw.one_in(10)) config.limit = draw.full() ? kMaxAmount : draw.amount();
        config.rate = draw.one_in(3) ? NanoCoins(0) : draw.full() ? NanoCoins(1'000'000) : draw.amount();
        config.unlimited = draw.one_in(6);
        config.strict = draw.one_in(2);
        config.active = draw.full() || !draw.one_in(20);
        config.policy = draw.policy();
        config.limits = draw.limits();
        SetAccountCall call(config);
        LedgerModel::Consents consents;
        while (consents.size() < 2 && draw.one_in(2)) {
            consents.emplace_back(kModels[static_cast<std::size_t>(draw.below(2))], 1 + draw.below(3));
            call.add_consent(consents.back().first, consents.back().second);
        }
        same(call, model.set_account(config, consents));
    }

    KeyConfig key_config(RandomCalls& draw, KeyId id) {
        KeyConfig config;
        config.key = id;
        config.account = draw.one_in(30) ? draw.account() : RandomCalls::owner(id);
        config.version = 1 + draw.below(++versions);
        if (draw.one_in(20)) config.state = KeyState::paused;
        if (draw.one_in(400) && !draw.full()) config.state = KeyState::revoked;
        if (draw.one_in(draw.full() ? 200 : 10)) config.expires_at_ms = now_us / 1000 + draw.below(3'000'000);
        config.policy = id == 2 ? 3 : 0;
        config.limits = draw.limits();
        if (draw.one_in(2)) config.cap = draw.full() ? kMaxAmount : draw.amount();
        if (draw.one_in(2)) {
            config.cap_window_ms = 1 + draw.below(7'200'000);
            config.cap_window_end_ms = now_us / 1000 + draw.below(7'200'000) - 3'600'000;
        }
        return config;
    }

    AdmitArguments admit_arguments(RandomCalls& draw) {
        AdmitArguments arguments;
        const auto [account, key] = draw.holder();
        const RandomCalls::Known known =
            draw.one_in(12) ? draw.known() : RandomCalls::Known{new_request(), account, key};
        arguments.request = known.request;
        arguments.identity = {known.account, known.key, draw.one_in(60) ? 0 : draw.policy(),
                              draw.key_policy(known.key)};
        if (draw.one_in(4)) {
            arguments.consent_model = kModels[static_cast<std::size_t>(draw.below(2))];
            arguments.consent_since = 1 + draw.below(3);
        }
        arguments.hold = draw.amount();
        arguments.estimated_tokens = static_cast<std::uint64_t>(draw.below(2'000));
        if (!draw.one_in(8)) arguments.blob = "1,2,3";
        draw.remember(known);
        return arguments;
    }

    /// Alone, or several in one call, among them the same one twice.
    void admit(RandomCalls& draw) {
        std::vector<AdmitArguments> admits;
        std::string expected;
        const std::size_t count = draw.one_in(2) ? 1 : 1 + static_cast<std::size_t>(draw.below(4));
        const std::int64_t ttl_ms = draw.below(200'000);
        while (admits.size() < count) {
            admits.push_back(admit_arguments(draw));
            admits.back().ttl_ms = ttl_ms;
            expected += (expected.empty() ? "" : "\n") + model.admit(admits.back());
        }
        same(AdmitCall(admits.data(), admits.size()), expected);
    }

    /// Alone, or several in one call, among them the same one twice.
    void settle(RandomCalls& draw) {
        std::vector<SettleArguments> settles;
        std::string expected;
        const std::size_t count = draw.one_in(2) ? 1 : 1 + static_cast<std::size_t>(draw.below(5));
        while (settles.size() < count) {
            SettleArguments arguments;
            const RandomCalls::Known known = draw.known();
            arguments.request = known.request;
            arguments.account = known.account;
            arguments.key = known.key;
            arguments.cost = draw.amount();
            arguments.tokens = static_cast<std::uint64_t>(draw.below(4'000));
            arguments.is_void = draw.one_in(6);
            arguments.blob = "9,8,7";
            settles.push_back(arguments);
            const bool looks_at_age = settles.size() - 1 == static_cast<std::size_t>(now_us) % count;
            expected += (expected.empty() ? "" : "\n") + model.settle(arguments, looks_at_age);
        }
        same(SettleCall(settles.data(), settles.size()), expected);
    }

    void renew(RandomCalls& draw) {
        RenewArguments arguments;
        const RandomCalls::Known known = draw.known();
        arguments.request = known.request;
        arguments.account = known.account;
        arguments.key = known.key;
        arguments.amount = draw.amount();
        arguments.shadow = draw.amount();
        arguments.ttl_ms = draw.below(200'000);
        same(RenewCall(arguments), model.renew(arguments));
    }

    void reap(RandomCalls& draw) {
        const RandomCalls::Known known = draw.known();
        same(ReapCall(known.request, known.account, known.key), model.reap(known.request, known.account, known.key));
    }

    void refill(RandomCalls& draw) {
        const AccountId id = draw.account();
        const std::int64_t hour = draw.one_in(2) ? -1 : now_hour() - draw.below(5);
        same(RefillCall(id, hour), model.refill(id, hour));
    }

    void money_op(RandomCalls& draw) {
        MoneyOpArguments arguments;
        arguments.account = draw.account();
        const std::string stored = redis.field(account_key(arguments.account), "opn");
        arguments.opn = (stored == "(nil)" ? 0 : std::stoll(stored)) + (draw.one_in(8) ? draw.below(4) : 1);
        arguments.kind = static_cast<MoneyOpKind>(draw.below(3));
        arguments.amount = draw.signed_amount();
        if (arguments.kind == MoneyOpKind::late) {
            arguments.cost = draw.amount();
            arguments.key = draw.key();
            if (RandomCalls::owner(arguments.key) != arguments.account) arguments.key = 0;
        }
        const RequestId request = new_request();
        if (arguments.kind == MoneyOpKind::late) arguments.request = request.view();
        arguments.note = draw.one_in(2) ? "a reset, by hand" : "";
        same(MoneyOpCall(arguments), model.money_op(arguments));
    }

    void auth(RandomCalls& draw) {
        const auto [account, key] = draw.holder();
        const Identity identity{account, key, draw.policy(), draw.key_policy(key)};
        same(AuthCall(identity), model.auth(identity));
    }

    void lookup(RandomCalls& draw) {
        KeyHash hash{};
        hash[0] = kBucket;
        hash[1] = static_cast<std::uint8_t>(draw.below(6));
        if (draw.one_in(10)) {
            const KeyId key = draw.key();
            redis.command({"HSET", bucket_key(kBucket, "kh"), std::string(key_hash_bytes(hash)),
                           lookup_entry(RandomCalls::owner(key), key)});
            model.add_lookup(hash, RandomCalls::owner(key), key);
        }
        same(LookupCall(hash), model.lookup(hash));
    }

    void rebuild(RandomCalls& draw) {
        const std::string nonce = "n" + std::to_string(draw.below(1'000'000));
        same(BeginRebuildCall(kBucket, nonce), model.begin_rebuild(nonce));
        for (const AccountId id : kAccounts) {
            LoadAccountArguments arguments;
            arguments.account = id;
            arguments.balance = draw.signed_amount();
            const auto [held, holds] = model.sum_of_holds(id);
            arguments.held = NanoCoins(held);
            arguments.holds = holds;
            arguments.seq = draw.below(1'000);
            arguments.opn = draw.below(1'000);
            arguments.last_refill_hour = now_hour() - draw.below(5);
            const std::string claimed = draw.one_in(20) ? "other" : nonce;
            same(LoadAccountCall(claimed, arguments), model.load_account(claimed, arguments));
        }
        const KeyConfig config = key_config(draw, draw.key());
        const KeyCounters counters{NanoCoins(draw.below(300)), NanoCoins(0), 0};
        const std::string claimed = draw.one_in(4) ? "other" : nonce;
        // The counters of a key with running requests would be wrong afterwards, as no rebuild makes them.
        if (model.sum_of_holds(config.account).second == 0) {
            same(SetKeyCall(config, claimed, counters), model.set_key(config, claimed, counters));
        }
        if (draw.one_in(2)) money_op(draw);  // NOTREADY
        if (draw.one_in(2)) set_account(draw, draw.account());
        if (draw.one_in(4))
            same(MarkReadyCall(kBucket, "other", redis.replication_id()),
                 model.mark_ready("other", redis.replication_id()));
        if (draw.one_in(4)) {
            const std::string elsewhere(40, 'f');
            same(MarkReadyCall(kBucket, nonce, elsewhere), model.mark_ready(nonce, elsewhere));
        }
        const std::string id = redis.replication_id();
        same(MarkReadyCall(kBucket, nonce, id), model.mark_ready(nonce, id));
    }

    void flush_and_rebuild(RandomCalls& draw) {
        redis.command({"FLUSHALL"});
        set_clock();
        model.flush_all();
        admit(draw);
        settle(draw);
        lookup(draw);
        rebuild(draw);
    }

    void step(RandomCalls& draw) {
        now_us += draw.below(draw.one_in(20) ? 1'500'000'000 : 400'000);
        set_clock();
        switch (draw.below(100)) {
            case 0:
                rebuild(draw);
                break;
            case 1:
                set_account(draw, draw.account());
                break;
            case 2: {
                const KeyConfig config = key_config(draw, draw.key());
                same(SetKeyCall(config), model.set_key(config));
                break;
            }
            case 3:
            case 4:
            case 5:
                lookup(draw);
                break;
            case 6:
            case 7:
            case 8:
                auth(draw);
                break;
            case 9:
            case 10:
            case 11:
            case 12:
                refill(draw);
                break;
            case 13:
            case 14:
            case 15:
            case 16:
            case 17:
            case 18:
            case 19:
                money_op(draw);
                break;
            case 20:
                if (draw.one_in(8)) flush_and_rebuild(draw);
                break;
            default:
                switch (draw.below(10)) {
                    case 0:
                        reap(draw);
                        break;
                    case 1:
                    case 2:
                        renew(draw);
                        break;
                    case 3:
                    case 4:
                    case 5:
                        settle(draw);
                        break;
                    default:
                        admit(draw);
                }
        }
    }

    void expect_same_state() {
        for (const AccountId id : kAccounts) ASSERT_EQ(redis.hash(account_key(id)), model.account_hash(id));
        for (const KeyId id : kKeys) {
            LedgerModel::Fields stored = redis.hash(api_key_key(kAccounts[0], id));
            ASSERT_EQ(stored, model.key_hash(id)) << "key " << id;
        }
        ASSERT_EQ(redis.hash(bucket_key(kBucket, "meta")), model.meta_hash());
        ASSERT_EQ(redis.hash(bucket_key(kBucket, "holds")), model.holds_hash());
    }

    void expect_same_history() {
        ASSERT_EQ(redis.events(kBucket), model.events());
        for (const int generation : {0, 1}) {
            const auto ids = redis.list({"SMEMBERS", bucket_key(kBucket, generation == 0 ? "done0" : "done1")});
            ASSERT_EQ(std::set<std::string>(ids.begin(), ids.end()), model.done(generation));
        }
    }

    void run(int steps, Wallets wallets) {
        const std::uint64_t seed = seed_of_this_run();
        SCOPED_TRACE("LUMEN_SEED=" + std::to_string(seed));
        RandomCalls draw(seed, wallets);
        rebuild(draw);
        for (const AccountId id : kAccounts) set_account(draw, id);
        for (const KeyId id : kKeys) {
            KeyConfig config = key_config(draw, id);
            same(SetKeyCall(config), model.set_key(config));
        }
        for (int i = 0; i < steps && !HasFatalFailure(); ++i) {
            SCOPED_TRACE("step " + std::to_string(i));
            step(draw);
            if (!HasFatalFailure()) expect_same_state();
            if (!HasFatalFailure() && i % 500 == 0) expect_same_history();
        }
        expect_same_history();
    }

    harness::RedisServer server;
    LedgerClient redis;
    LedgerModel model;
    std::int64_t now_us = 0;
    int versions = 0;
    std::map<std::string, int> replies;
};

TEST_F(Differential, twenty_thousand_random_calls_answer_and_leave_what_the_model_does) {
    run(20'000, Wallets::small);
    if (HasFatalFailure()) return;
    // A generator that stops reaching a reply would make this test blind to it.
    for (const char* reply :
         {"lookup OK",        "lookup NOKEY",     "lookup NOTREADY",   "auth OK",       "auth POLICY",
          "admit OK",         "admit NOKEY",      "admit POLICY",      "admit CONSENT", "admit GONE",
          "admit RANGE",      "admit COINS",      "admit HELD",        "admit KEYCAP",  "admit CONC",
          "admit RPM",        "admit TPM",        "admit TOOLARGE",    "settle OK",     "settle DUP",
          "settle NONE",      "settle LATE",      "settle RANGE",      "renew OK",      "renew GONE",
          "renew REFUSED",    "reap OK",          "reap GONE",         "reap NOTYET",   "refill OK",
          "refill SAME",      "refill FULL",      "money_op OK",       "money_op DUP",  "money_op GAP",
          "money_op RANGE",   "set_account OK",   "set_account STALE", "set_key OK",    "mark_ready OK",
          "mark_ready NONCE", "mark_ready MOVED", "load_account NONCE"}) {
        EXPECT_GT(replies[reply], 0) << reply;
    }
}

TEST_F(Differential, six_thousand_random_calls_near_m_stay_exact_to_the_nano_coin) {
    run(6'000, Wallets::near_m);
}

TEST_F(Differential, five_thousand_random_calls_of_full_wallets_are_let_through_or_limited_as_by_the_model) {
    run(5'000, Wallets::full);
    if (HasFatalFailure()) return;
    EXPECT_GT(replies["admit OK"], 100);
    EXPECT_GT(replies["settle OK"], 20);
    EXPECT_GT(replies["admit RPM"] + replies["admit TPM"], 0);
}

}  // namespace
}  // namespace lumen::testing
