// What admind sets: accounts, keys, lookups. Versions win, repeats are harmless, a revocation is for ever.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

class Configuration : public LedgerTest {
 protected:
    std::string set(const AccountConfig& config) { return redis.run(SetAccountCall(config)); }
    std::string set(const KeyConfig& config) { return redis.run(SetKeyCall(config)); }
    KeyConfig new_key(KeyId id) const {
        KeyConfig config;
        config.key = id;
        config.account = account;
        config.version = 1;
        return config;
    }
    std::string field_of(KeyId id, const std::string& name) { return redis.field(api_key_key(account, id), name); }
};

TEST_F(Configuration, a_new_account_starts_at_0_with_this_hour_refilled) {
    account_config.account = account + kBuckets;
    account_config.version = 1;
    account_config.rate = NanoCoins(100);
    EXPECT_EQ(set(account_config), "OK");
    const auto fields = redis.hash(account_key(account + kBuckets));
    EXPECT_EQ(fields.at("bal"), "0");
    EXPECT_EQ(fields.at("lrh"), std::to_string(kStartMs / kHourMs));
    EXPECT_EQ(redis.run(RefillCall(account + kBuckets, -1)), "SAME");
}

TEST_F(Configuration, an_older_or_equal_version_is_stale_and_changes_nothing) {
    const auto before = state();
    account_config.limit = NanoCoins(5);
    key_config.cap = NanoCoins(5);
    EXPECT_EQ(set(account_config), "STALE");
    EXPECT_EQ(set(key_config), "STALE");
    account_config.version = key_config.version = 0;
    EXPECT_EQ(set(account_config), "STALE");
    EXPECT_EQ(set(key_config), "STALE");
    EXPECT_EQ(state(), before);
}

TEST_F(Configuration, limits_beyond_m_are_range_and_change_nothing) {
    const auto before = state();
    ++account_config.version;
    ++key_config.version;
    for (const std::int64_t nano : {kM + 1, std::int64_t{-1}}) {
        AccountConfig config = account_config;
        config.limit = NanoCoins(nano);
        EXPECT_EQ(set(config), "RANGE");
        config = account_config;
        config.rate = NanoCoins(nano);
        EXPECT_EQ(set(config), "RANGE");
        KeyConfig capped = key_config;
        capped.cap = NanoCoins(nano);
        EXPECT_EQ(set(capped), "RANGE");
    }
    EXPECT_EQ(state(), before);
}

TEST_F(Configuration, works_while_not_ready) {
    redis.run(BeginRebuildCall(bucket, "n2"));
    account_config.version = key_config.version = ++version;
    account_config.limit = NanoCoins(77);
    EXPECT_EQ(set(account_config), "OK");
    EXPECT_EQ(set(key_config), "OK");
    EXPECT_EQ(account_field("lim"), "77");
}

TEST_F(Configuration, more_consents_than_one_call_holds_go_in_calls_of_the_same_version) {
    account_config.version = ++version;
    for (ModelId first = 1; first <= 9; first += 4) {
        SetAccountCall call(account_config);
        for (ModelId model = first; model < first + SetAccountCall::kMaxConsentsPerCall; ++model) {
            call.add_consent(model, 3);
        }
        EXPECT_EQ(redis.run(call), first == 1 ? "OK" : "STALE");
    }
    for (ModelId model = 1; model <= 12; ++model) EXPECT_EQ(account_field("c:" + std::to_string(model)), "3");
}

TEST_F(Configuration, revoking_needs_no_version_and_no_later_version_undoes_it) {
    KeyConfig revoke = key_config;
    revoke.version = 0;
    revoke.state = KeyState::revoked;
    EXPECT_EQ(set(revoke), "OK");
    EXPECT_EQ(set(revoke), "OK") << "again";
    EXPECT_EQ(admit(1), "REVOKED");
    configure();
    EXPECT_EQ(admit(1), "REVOKED");
    EXPECT_EQ(key_field("ver"), std::to_string(version)) << "the rest of the configuration is taken";
}

TEST_F(Configuration, a_key_revoked_before_it_was_loaded_stays_revoked) {
    KeyConfig config = new_key(21);
    config.version = 0;
    config.state = KeyState::revoked;
    EXPECT_EQ(set(config), "OK");
    config = new_key(21);
    config.version = 5;
    EXPECT_EQ(set(config), "OK");
    AdmitArguments arguments = asking(1);
    arguments.identity.key = 21;
    EXPECT_EQ(admit(arguments), "REVOKED");
}

TEST_F(Configuration, a_revoked_keys_running_request_is_renewed_and_settled) {
    grant(100);
    const RequestId request = admitted(10);
    key_config.state = KeyState::revoked;
    configure();
    RenewArguments renewal;
    renewal.request = request;
    renewal.account = account;
    renewal.key = key;
    renewal.amount = NanoCoins(20);
    EXPECT_EQ(redis.run(RenewCall(renewal)), "OK 100 1");
    EXPECT_EQ(settle(costing(request, 15)), "OK 85 0 " + token);
}

TEST_F(Configuration, a_key_never_moves_to_another_account) {
    KeyConfig other = key_config;
    other.account = account + kBuckets;
    other.version = 99;
    EXPECT_EQ(set(other), "RANGE");
    EXPECT_EQ(key_field("acct"), std::to_string(account));
}

TEST_F(Configuration, changing_a_key_keeps_what_its_running_window_has_counted) {
    grant(1000);
    key_config.cap = NanoCoins(100);
    key_config.cap_window_ms = 1000;
    key_config.cap_window_end_ms = kStartMs + 500;
    configure();
    settle(costing(admitted(1), 40));
    key_config.cap = NanoCoins(200);
    configure();
    EXPECT_EQ(key_field("cu"), "40");
    advance_ms(600);
    configure();
    EXPECT_EQ(key_field("cu"), "0");
    EXPECT_EQ(key_field("ce"), std::to_string(kStartMs + 1500)) << "the end that was sent has passed";
    settle(costing(admitted(1), 30));
    configure();
    EXPECT_EQ(key_field("cu"), "30") << "the end that was sent is of an older window";
}

TEST_F(Configuration, a_cap_that_is_new_or_of_another_length_counts_from_nothing) {
    grant(1000);
    key_config.cap = NanoCoins(100);
    key_config.cap_window_ms = 1000;
    key_config.cap_window_end_ms = kStartMs + 500;
    configure();
    settle(costing(admitted(1), 40));
    key_config.cap_window_ms = 5000;
    key_config.cap_window_end_ms = kStartMs + 5000;
    configure();
    EXPECT_EQ(key_field("cu"), "0");
    settle(costing(admitted(1), 30));
    key_config.cap.reset();
    configure();
    key_config.cap = NanoCoins(100);
    configure();
    EXPECT_EQ(key_field("cu"), "0");
}

TEST_F(Configuration, a_rebuild_sets_a_keys_counters_and_only_while_it_runs) {
    key_config.cap = NanoCoins(100);
    configure();
    const KeyCounters counters{NanoCoins(60), NanoCoins(30), 2};
    EXPECT_EQ(redis.run(SetKeyCall(key_config, "n2", counters)), "NONCE");
    redis.run(BeginRebuildCall(bucket, "n2"));
    EXPECT_EQ(redis.run(SetKeyCall(key_config, "n1", counters)), "NONCE");
    EXPECT_EQ(redis.run(SetKeyCall(key_config, "n2", counters)), "OK");
    EXPECT_EQ(key_field("cu") + ' ' + key_field("kh") + ' ' + key_field("nh"), "60 30 2");
}

TEST_F(Configuration, lookup_finds_what_was_stored_and_says_nokey_otherwise) {
    KeyHash hash{};
    hash.fill(0xFE);
    hash[0] = bucket;
    EXPECT_EQ(redis.run(LookupCall(hash)), "NOKEY");
    redis.command({"HSET", bucket_key(bucket, "kh"), std::string(key_hash_bytes(hash)), lookup_entry(account, key)});
    const LedgerReply reply = redis.reply(LookupCall(hash));
    EXPECT_EQ(reply.reply, Reply::ok);
    EXPECT_EQ(reply.account, account);
    EXPECT_EQ(reply.key, key);
}

}  // namespace
}  // namespace lumen::testing
