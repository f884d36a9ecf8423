// Calls for many at once: what a rebuild loads anew, and what a full hour credits.
#include "lumen_core/limits.h"
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

class Bulk : public LedgerTest {
 protected:
    /// `index` buckets further: still of this bucket.
    AccountId other(int index) const { return account + 256 * index; }

    AccountConfig config_of(AccountId id) const {
        AccountConfig config = account_config;
        config.account = id;
        config.version = 6;
        config.rate = NanoCoins(100);
        return config;
    }
    KeyConfig key_of(AccountId owner, KeyId id) const {
        KeyConfig config;
        config.key = id;
        config.account = owner;
        config.version = 3;
        config.expires_at_ms = kStartMs + 1;
        return config;
    }
    static LoadAccountArguments money_of(AccountId id) {
        LoadAccountArguments money;
        money.account = id;
        money.balance = NanoCoins(-17);
        money.held = NanoCoins(5);
        money.holds = 2;
        money.seq = 9;
        money.opn = 3;
        money.last_refill_hour = kStartMs / kHourMs - 2;
        return money;
    }
    std::map<std::string, std::string> stored(const std::string& hash) { return redis.hash(hash); }
};

TEST_F(Bulk, load_new_stores_what_the_calls_for_one_store) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    struct Row {
        const char* name;
        bool limited;
        bool capped;
        bool consents;
    };
    int index = 1;
    for (const Row& row : {Row{"plain", false, false, false}, Row{"with limits", true, false, false},
                           Row{"with a cap", false, true, false}, Row{"with consents", true, true, true}}) {
        SCOPED_TRACE(row.name);
        const AccountId one = other(index++);
        const AccountId same = other(index++);
        const auto account_with = [&](AccountId id) {
            AccountConfig config = config_of(id);
            if (row.limited) config.limits = {{Rate{5, 60}, Rate{7, 3600}}, {Rate{900, 60}, Rate{}}, 3};
            if (row.capped) config.limit.reset();
            return config;
        };
        const auto key_with = [&](AccountId owner) {
            KeyConfig config = key_of(owner, owner);  // keys of a bucket need names of their own
            if (row.limited) config.limits = {{Rate{2, 1}, Rate{}}, {}, 1};
            if (row.capped) {
                config.cap = NanoCoins(1000);
                config.cap_window_ms = 5000;
                config.cap_window_end_ms = kStartMs + 4000;
            }
            return config;
        };
        const KeyCounters counters =
            row.capped ? KeyCounters{NanoCoins(60), NanoCoins(30), 2} : KeyCounters{NanoCoins(0), NanoCoins(0), 1};
        std::vector<std::pair<ModelId, std::int32_t>> consents;
        if (row.consents) consents = {{4, 1}, {6, 2}};

        EXPECT_EQ(redis.run(LoadNewCall(bucket, "n2",
                                        {stored_account(account_with(one), consents, money_of(one)),
                                         stored_key(key_with(one), counters)})),
                  "OK\nOK");
        EXPECT_EQ(redis.run(LoadAccountCall("n2", money_of(same))), "OK");
        SetAccountCall set_account(account_with(same));
        for (const auto& [model, notice] : consents) set_account.add_consent(model, notice);
        EXPECT_EQ(redis.run(set_account), "OK");
        EXPECT_EQ(redis.run(SetKeyCall(key_with(same), "n2", counters)), "OK");

        EXPECT_EQ(stored(account_key(one)), stored(account_key(same)));
        auto key_of_one = stored(api_key_key(one, one));
        EXPECT_EQ(key_of_one.at("acct"), std::to_string(one));
        key_of_one["acct"] = std::to_string(same);
        EXPECT_EQ(key_of_one, stored(api_key_key(same, same)));
    }
}

TEST_F(Bulk, load_new_leaves_what_is_there_alone_so_no_revocation_is_undone) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    key_config.state = KeyState::revoked;
    configure();
    const auto before = stored(api_key_key(account, key));
    KeyConfig older = key_config;
    older.state = KeyState::active;
    older.version += 5;
    EXPECT_EQ(redis.run(LoadNewCall(bucket, "n2",
                                    {stored_account(config_of(account), {}, money_of(account)), stored_key(older, {}),
                                     stored_key(key_of(other(1), 12), {})})),
              "STALE\nSTALE\nOK");
    EXPECT_EQ(stored(api_key_key(account, key)), before);
    EXPECT_EQ(account_field("bal"), "0");
}

TEST_F(Bulk, load_new_is_for_the_rebuild_that_runs) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    EXPECT_EQ(redis.run(LoadNewCall(bucket, "n1", {stored_key(key_of(other(1), 12), {})})), "NONCE");
    EXPECT_TRUE(stored(api_key_key(other(1), 12)).empty());
}

TEST_F(Bulk, refill_of_many_credits_each_once_and_answers_for_each) {
    account_config.rate = NanoCoins(100);
    configure();
    AccountConfig full = config_of(other(1));
    full.rate = NanoCoins(0);
    redis.run(SetAccountCall(full));
    redis.run(SetAccountCall(config_of(other(2))));
    advance_ms(2 * kHourMs);
    const AccountId accounts[] = {account, other(1), other(2), other(3)};
    EXPECT_EQ(redis.run(RefillCall(accounts, 4, -1)), "OK\nFULL\nOK\nNOACCT");
    EXPECT_EQ(account_field("bal"), "200");
    EXPECT_EQ(redis.field(account_key(other(2)), "bal"), "200");
    EXPECT_EQ(last_event().substr(0, 8 + std::to_string(other(2)).size()), "refill " + std::to_string(other(2)) + ' ');
    EXPECT_EQ(redis.run(RefillCall(accounts, 4, -1)), "SAME\nSAME\nSAME\nNOACCT");
    EXPECT_EQ(account_field("bal"), "200");
    redis.run(BeginRebuildCall(bucket, "n2"));
    EXPECT_EQ(redis.run(RefillCall(accounts, 2, -1)), "NOTREADY\nNOTREADY");
}

}  // namespace
}  // namespace lumen::testing
