// What leaves the book's tables: old months and old quarters of an hour. The sums stay those of everything that ever
// was (I2, I3, I13, I16, P25).
#include <gtest/gtest.h>

#include "admind/ledger/retention_job.h"
#include "admind/stores/migrations.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerRetention : public PrivateLedger {
 public:
    /// As if all that was booked so far had happened that long ago.
    void age(const std::string& interval) {
        execute("select ledger_create_partitions(3)");
        const std::string month = "date_trunc('month', (now() at time zone 'UTC') - interval '" + interval + "')";
        execute(
            "do $$ declare month timestamp := " + month +
            "; name text := 'ledger_events_' || to_char(month, 'YYYY_MM'); begin "
            "if to_regclass(name) is null then "
            "execute format('create table %I partition of ledger_events for values from (%L) to (%L)', name, "
            "month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'); end if; "
            "update ledger_events set at = month at time zone 'UTC' + (at - date_trunc('month', at)) * 0.9; end $$");
        execute("update money_ops set created_at = created_at - interval '" + interval + "'");
        execute("update usage_quarter set slot = slot - interval '" + interval + "'");
        execute("update usage_folded set until = until - interval '" + interval + "' - interval '2 days'");
    }
};

TEST_F(LedgerRetention, partitions_are_there_from_last_month_to_three_months_ahead) {
    create_partitions(postgres);
    EXPECT_EQ(number("select count(*) from pg_inherits where inhparent = 'ledger_events'::regclass"), 6)
        << "five months, and the default that stays empty";
    EXPECT_EQ(number("select ledger_create_partitions(3)"), 0);
}

TEST_F(LedgerRetention, old_months_leave_and_balances_stay_the_sum_of_all_rows) {
    make_ready();
    const Account account = new_account(coins(5));
    for (int i = 1; i <= 5; ++i) charge(account, NanoCoins(i));
    drain();
    age("26 months");
    charge(account, NanoCoins(100));
    drain();
    EXPECT_EQ(keep_retention(postgres, {}).months_archived, 1);
    EXPECT_EQ(number("select count(*) from ledger_events"), 1) << "what is young stays";
    EXPECT_EQ(number("select events from ledger_archives"), 6);
    EXPECT_EQ(number("select sum(delta)::bigint from ledger_archived_accounts"), 5 * kCoin - 15);
    EXPECT_EQ(keep_retention(postgres, {}).months_archived, 0);
    charge(account, NanoCoins(1000));
    drain();
}

TEST_F(LedgerRetention, a_month_stays_for_25_months) {
    make_ready();
    charge(new_account(coins(5)), NanoCoins(1));
    drain();
    age("25 months");
    EXPECT_EQ(keep_retention(postgres, {}).months_archived, 0);
    EXPECT_EQ(number("select count(*) from ledger_events"), 2);
}

TEST_F(LedgerRetention, an_archive_that_was_dropped_leaves_the_sums_true) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(1));
    drain();
    age("30 months");
    ASSERT_EQ(keep_retention(postgres, {}).months_archived, 1);
    const std::string table = [&] {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        return transaction.exec1("select name from ledger_archives")[0].as<std::string>();
    }();
    execute("drop table ledger_archive." + table);
    redis.command({"FLUSHALL"});
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 1));
}

TEST_F(LedgerRetention, quarters_older_than_13_months_become_days_and_the_totals_agree) {
    make_ready();
    const Account account = new_account(coins(5));
    for (int i = 1; i <= 4; ++i) charge(account, NanoCoins(i));
    drain();
    execute(
        "insert into usage_quarter select account_id, slot - interval '15 minutes', key_id, model_id, source, "
        "endpoint_id, "
        "1, 11, 13, 0, last_at from usage_quarter");
    execute("update usage_quarter set slot = date_trunc('day', slot) + interval '30 minutes' where cost = 0");
    execute("update usage_quarter set slot = date_trunc('day', slot) + interval '45 minutes' where cost > 0");
    execute(
        "update account_balances set requests = requests + 1, tokens_in = tokens_in + 11, tokens_out = tokens_out + "
        "13");
    execute("update key_totals set requests = requests + 1, tokens_in = tokens_in + 11, tokens_out = tokens_out + 13");
    const std::string sums = "select sum(requests * 1000000 + tokens_in * 1000 + cost)::bigint from usage_quarter";
    const std::int64_t before = number(sums);
    age("14 months");
    const RetentionResult result = keep_retention(postgres, {});
    EXPECT_GT(result.days_folded, 0);
    EXPECT_EQ(number("select count(*) from usage_quarter"), 1);
    EXPECT_EQ(number("select count(*) from usage_quarter where slot = date_trunc('day', slot)"), 1);
    EXPECT_EQ(number(sums), before);
    charge(account, NanoCoins(7));
    drain();
    EXPECT_EQ(number("select count(*) from usage_quarter"), 2) << "today is kept by the quarter";
    // One usage was written by hand: its row is missing, the counters and quarters agree.
    invariants_hold = false;
    EXPECT_EQ(number("select count(*) from account_balances b join (select account_id, sum(cost) as cost, "
                     "sum(requests) as requests from usage_quarter group by account_id) q using (account_id) "
                     "where b.spent = q.cost and b.requests = q.requests"),
              1);
    EXPECT_EQ(number("select sum(requests * 1000000 + tokens_in * 1000 + spent)::bigint from model_totals"),
              number(sums))
        << "a model's counters are the sum of its days and quarters";
}

TEST_F(LedgerRetention, P25_what_was_used_before_there_were_counters_of_models_is_in_them) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(3));
    drain();
    execute("drop table model_totals");
    execute("drop function model_totals_follow cascade");
    execute("delete from schema_migrations where name = '0100_model_totals'");
    migrate(database);
    EXPECT_EQ(
        number("select requests * 100 + spent from model_totals where account_id = " + std::to_string(account.id)),
        103);
    charge(account, NanoCoins(4));
    drain();
    EXPECT_EQ(
        number("select requests * 100 + spent from model_totals where account_id = " + std::to_string(account.id)),
        207);
}

TEST_F(LedgerRetention, a_year_that_nobody_folded_is_folded_month_by_month) {
    make_ready();
    charge(new_account(coins(5)), NanoCoins(1));
    drain();
    execute("update usage_folded set until = (now() - interval '13 months' - interval '40 days')::date");
    EXPECT_EQ(keep_retention(postgres, {}).days_folded, 31);
    const int rest = keep_retention(postgres, {}).days_folded;
    EXPECT_GE(rest, 7);
    EXPECT_LE(rest, 12);
    EXPECT_EQ(keep_retention(postgres, {}).days_folded, 0);
}

}  // namespace
}  // namespace lumen::admind
