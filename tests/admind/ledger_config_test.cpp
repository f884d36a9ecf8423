// Configuration: the book first, then Redis; what is in force, and what follows when Redis was away (ledger.md 6.3).
#include <gtest/gtest.h>

#include "admind/ledger/config_sync.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerConfig : public PrivateLedger {
 public:
    bool change(AccountId account, const AccountSettings& settings) {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        AccountSettings with_policy = settings;
        with_policy.policy = kTestPolicy;
        const bool changed = update_account(transaction, account, with_policy);
        transaction.commit();
        return changed;
    }
};

AccountSettings limited(NanoCoins limit, NanoCoins rate) {
    AccountSettings settings;
    settings.limit = limit;
    settings.rate = rate;
    return settings;
}

TEST_F(LedgerConfig, a_changed_limit_is_in_force_at_once_and_an_unchanged_one_keeps_its_version) {
    make_ready();
    const Account account = new_account(limited(coins(10), NanoCoins(5)), coins(1));
    EXPECT_FALSE(change(account.id, limited(coins(10), NanoCoins(5))));
    EXPECT_TRUE(change(account.id, limited(coins(0), NanoCoins(5))));
    EXPECT_EQ(book.enforce_account(account.id), InForce::yes);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::coins) << "a limit of 0 blocks";
    EXPECT_EQ(field(account.id, "ver"), std::to_string(version_in_redis(2)));
}

TEST_F(LedgerConfig, a_revocation_while_redis_is_down_is_not_in_force_and_follows) {
    make_ready();
    const Account account = new_account(coins(5));
    server.kill();
    const auto revocation = book.revoke_key(account.id, account.key, "root");
    EXPECT_TRUE(revocation.found);
    EXPECT_EQ(revocation.in_force, InForce::not_yet);
    server.start();
    book.repeat_unfinished();
    EXPECT_EQ(book.unfinished(), 0u) << "rights do not wait for readiness";
    make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    EXPECT_EQ(number("select count(*) from api_keys where state = 2 and revoked_by = 'root'"), 1);
}

TEST_F(LedgerConfig, what_a_dead_process_had_recorded_is_told_by_the_comparison_of_versions) {
    make_ready();
    const Account account = new_account(coins(5));
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        mark_key_revoked(transaction, account.id, account.key, "root");
        set_account_active(transaction, account.id, false);
        transaction.commit();
    }
    EXPECT_EQ(repeat_bucket_config(postgres, redis, account_bucket(account.id)).told, 2u);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    EXPECT_EQ(field(account.id, "st"), "2");
    EXPECT_EQ(repeat_bucket_config(postgres, redis, account_bucket(account.id)).told, 0u);
}

TEST_F(LedgerConfig, revoking_is_idempotent_and_another_accounts_key_is_not_found) {
    make_ready();
    const Account account = new_account(coins(5));
    const Account other = new_account(coins(5));
    EXPECT_FALSE(book.revoke_key(other.id, account.key, "root").found);
    EXPECT_TRUE(book.revoke_key(account.id, account.key, "root").found);
    EXPECT_TRUE(book.revoke_key(account.id, account.key, "root").found);
    EXPECT_EQ(number("select ver from api_keys where id = " + std::to_string(account.key)), 2);
}

TEST_F(LedgerConfig, a_revoked_key_cannot_be_unpaused) {
    make_ready();
    const Account account = new_account(coins(5));
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    EXPECT_TRUE(set_key_paused(transaction, account.id, account.key, true));
    EXPECT_TRUE(set_key_paused(transaction, account.id, account.key, false));
    EXPECT_TRUE(mark_key_revoked(transaction, account.id, account.key, "root"));
    EXPECT_FALSE(set_key_paused(transaction, account.id, account.key, false));
    transaction.commit();
}

TEST_F(LedgerConfig, a_revocation_while_the_book_is_away_holds_at_once_and_is_recorded_later) {
    make_ready();
    const Account account = new_account(coins(5));
    PgPool away("postgresql://nobody@/none?host=" + spool.path(), 1, std::chrono::seconds(1));
    LedgerBook cut_off(away, redis_pool, spool.path());
    const auto revocation = cut_off.revoke_key(account.id, account.key, "root");
    EXPECT_EQ(revocation.in_force, InForce::not_yet);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    EXPECT_EQ(book.enforce_key(account.key), InForce::yes);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked) << "what the book still says revives no key";
    EXPECT_THROW(cut_off.repeat_unfinished(), DatabaseUnavailable);

    LedgerBook restarted(postgres, redis_pool, spool.path());
    restarted.repeat_unfinished();
    const std::string revoked = "select count(*) from api_keys where state = 2";
    EXPECT_EQ(number(revoked), 1);
    RevocationNotes notes(spool.path() + "/revocations");
    EXPECT_TRUE(notes.read().empty());
    EXPECT_THROW(LedgerBook(away, redis_pool).revoke_key(account.id, account.key, "root"), DatabaseUnavailable)
        << "nowhere to note it";
    drain();
}

TEST_F(LedgerConfig, hours_at_the_old_rate_are_credited_at_the_old_rate_also_across_a_restart) {
    make_ready();
    const Account account = new_account(limited(coins(1000), coins(2)), coins(0));
    const std::int64_t hour = number("select floor(extract(epoch from now()) / 3600)::bigint");
    set_field(account.id, "lrh", std::to_string(hour - 3));
    server.stop();
    server.start();
    EXPECT_TRUE(change(account.id, limited(coins(1000), coins(100))));
    EXPECT_EQ(book.enforce_account(account.id), InForce::not_yet) << "money waits for readiness";
    EXPECT_EQ(field(account.id, "rate"), std::to_string(2 * kCoin));
    EXPECT_EQ(field(account.id, "bal"), "0");
    make_ready();
    EXPECT_EQ(field(account.id, "rate"), std::to_string(100 * kCoin));
    EXPECT_EQ(field(account.id, "bal"), std::to_string(6 * kCoin)) << "three hours at 2 coins";
    book.repeat_unfinished();
    EXPECT_EQ(book.unfinished(), 0u);
    drain();
}

TEST_F(LedgerConfig, rights_are_in_force_before_readiness_though_money_waits) {
    make_ready();
    const Account account = new_account(limited(coins(1000), coins(2)), coins(5));
    server.stop();
    server.start();
    change(account.id, limited(coins(1000), coins(100)));
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        set_account_active(transaction, account.id, false);
        transaction.commit();
    }
    book.enforce_account(account.id);
    EXPECT_EQ(field(account.id, "st"), "2");
    EXPECT_EQ(field(account.id, "rate"), std::to_string(2 * kCoin));
    make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::disabled);
    EXPECT_EQ(field(account.id, "rate"), std::to_string(100 * kCoin));
    drain();
}

TEST_F(LedgerConfig, balances_are_live_while_redis_is_there_and_the_books_when_it_is_not) {
    make_ready();
    running = harness::Running::requests;
    const Account account = new_account(coins(5));
    ASSERT_EQ(admit(account, new_request(), coins(2)), Reply::ok);
    drain();
    const AccountBalance live = book.balance(account.id);
    EXPECT_TRUE(live.live);
    EXPECT_EQ(live.balance, coins(5));
    EXPECT_EQ(live.held, coins(2));
    server.stop();
    const AccountBalance from_book = book.balance(account.id);
    EXPECT_FALSE(from_book.live);
    EXPECT_EQ(from_book.balance, coins(5));
    server.start();
}

}  // namespace
}  // namespace lumen::admind
