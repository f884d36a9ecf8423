// Notices of wallets that run empty: one row for each crossing, in the transaction that books it.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

/// What a case does to a wallet of limit 10: amounts in coins, below zero a charge, above a grant.
struct Row {
    const char* name;
    std::int64_t granted;
    std::vector<std::int64_t> moves;
    std::vector<std::string> notices;
};
void PrintTo(const Row& row, std::ostream* out) {
    *out << row.name;
}

class LedgerNotices : public PrivateLedger {
 public:
    void TestBody() override {}

 protected:
    static AccountSettings limited() {
        AccountSettings settings;
        settings.limit = coins(10);
        return settings;
    }
    void grant(const Account& account, std::int64_t whole) {
        const auto outcome = book.move_money(
            {account.id, MoneyOpKind::add, coins(whole), "grant " + std::to_string(++grants_), "test", "for the test"});
        ASSERT_EQ(outcome.result, MoneyResult::done);
    }
    std::vector<std::string> notices_of(AccountId account) {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        std::vector<std::string> kinds;
        for (const auto& row : transaction.exec(
                 "select kind from notices where account_id = " + std::to_string(account) + " order by seq")) {
            kinds.push_back(row[0].as<std::string>());
        }
        return kinds;
    }

 private:
    int grants_ = 0;
};

class LedgerNoticesCases : public LedgerNotices, public ::testing::WithParamInterface<Row> {};

TEST_P(LedgerNoticesCases, are_made_at_crossings_and_only_then) {
    make_ready();
    const Account account = new_account(limited(), coins(GetParam().granted));
    drain();
    for (const std::int64_t move : GetParam().moves) {
        if (move < 0)
            charge(account, coins(-move));
        else
            grant(account, move);
        drain();
    }
    EXPECT_EQ(notices_of(account.id), GetParam().notices);
}

INSTANTIATE_TEST_SUITE_P(
    limit_10_low_at_2, LedgerNoticesCases,
    ::testing::Values(Row{"to_above_the_threshold", 10, {-7}, {}}, Row{"to_the_threshold", 10, {-8}, {"low_balance"}},
                      Row{"below_the_threshold", 10, {-9}, {"low_balance"}},
                      Row{"further_down_is_no_crossing", 10, {-8, -1}, {"low_balance"}},
                      Row{"from_low_to_zero", 10, {-9, -1}, {"low_balance", "exhausted"}},
                      Row{"straight_to_zero_is_one", 10, {-10}, {"exhausted"}},
                      Row{"below_zero", 10, {-12}, {"exhausted"}},
                      Row{"further_below_zero", 10, {-10, 1, -1}, {"exhausted", "exhausted"}},
                      Row{"rising_above_arms_low_again", 10, {-8, 1, -1}, {"low_balance", "low_balance"}},
                      Row{"rising_to_low_tells_nothing", 10, {-10, 2}, {"exhausted"}}, Row{"born_low", 1, {}, {}}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_F(LedgerNotices, a_drain_that_is_behind_sees_the_fall_after_a_rise) {
    make_ready();
    const Account account = new_account(limited(), coins(1));
    drain();
    grant(account, 9);
    charge(account, coins(9));
    drain();
    EXPECT_EQ(notices_of(account.id), std::vector<std::string>{"low_balance"});
}

TEST_F(LedgerNotices, wallets_without_a_limit_above_zero_have_none) {
    make_ready();
    AccountSettings unlimited = limited();
    unlimited.unlimited = true;
    AccountSettings none;
    const Account free = new_account(unlimited, coins(3));
    drain();
    charge(free, coins(3));
    drain();
    EXPECT_TRUE(notices_of(free.id).empty());
    const AccountId without = new_account_without_key(none);
    EXPECT_TRUE(notices_of(without).empty());
}

TEST_F(LedgerNotices, two_drainers_make_each_notice_once) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < 12; ++i) accounts.push_back(new_account(limited(), coins(10)));
    drain();
    std::atomic<bool> done{false};
    const auto drain_until_done = [&] {
        LedgerSync other(postgres, server.url(), std::chrono::seconds(20), book);
        for (bool last = false; !last;) {
            last = done;
            for (;;) {
                const DrainResult result = other.drain(std::chrono::milliseconds(1));
                EXPECT_TRUE(result.alarms.empty());
                if (result.events == 0 && !result.woken_for_nothing) break;
            }
        }
    };
    std::thread first(drain_until_done);
    std::thread second(drain_until_done);
    for (int round = 0; round < 8; ++round) {
        for (const Account& account : accounts) charge(account, coins(1));
    }
    done = true;
    first.join();
    second.join();
    for (const Account& account : accounts) {
        EXPECT_EQ(notices_of(account.id), std::vector<std::string>{"low_balance"});
    }
}

TEST_F(LedgerNotices, go_to_those_who_may_act_for_the_account_and_asked_for_it) {
    make_ready();
    execute("update site_state set offers_mail = true, offers_webhook = true");
    const Account project = new_account(limited(), coins(10));
    const Account own = new_account(limited(), coins(10));
    const Account other = new_account(limited(), coins(10));
    drain();
    const auto person = [&](AccountId account, const std::string& name, const std::string& wants) {
        execute("insert into users (account_id, email, name, active, notice_mail, notice_webhook) values (" +
                std::to_string(account) + ", '" + name + "@example.edu', '" + name + "', " + wants + ")");
    };
    person(own.id, "owner", "true, true, false");
    person(other.id, "manager", "true, false, true");
    person(new_account_without_key(limited()), "stranger", "true, true, true");
    person(new_account_without_key(limited()), "gone", "false, true, true");
    execute("insert into projects (account_id, name) values (" + std::to_string(project.id) + ", 'bot')");
    execute(
        "insert into project_managers (project_id, user_id) select p.id, u.id from projects p, users u"
        " where u.name in ('owner', 'manager', 'gone')");
    charge(project, coins(9));
    charge(own, coins(9));
    charge(other, coins(9));
    drain();
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    std::vector<std::string> deliveries;
    for (const auto& row :
         transaction.exec("select case n.account_id when " + std::to_string(project.id) +
                          " then 'project' else 'own' end || ' ' || u.name || ' ' || d.channel from notice_deliveries d"
                          " join notices n on n.id = d.notice_id join users u on u.id = d.user_id order by 1")) {
        deliveries.push_back(row[0].as<std::string>());
    }
    EXPECT_EQ(deliveries, (std::vector<std::string>{"own manager webhook", "own owner mail", "project manager webhook",
                                                    "project owner mail"}));
}

TEST_F(LedgerNotices, no_way_that_the_site_does_not_offer) {
    make_ready();
    const Account account = new_account(limited(), coins(10));
    execute("insert into users (account_id, email, name, notice_mail, notice_webhook) values (" +
            std::to_string(account.id) + ", 'a@example.edu', 'a', true, true)");
    charge(account, coins(9));
    drain();
    EXPECT_EQ(notices_of(account.id).size(), 1u);
    EXPECT_EQ(number("select count(*) from notice_deliveries"), 0);
}

TEST_F(LedgerNotices, the_threshold_is_the_sites) {
    make_ready();
    execute("update site_state set low_balance_percent = 50");
    const Account account = new_account(limited(), coins(10));
    charge(account, coins(5));
    drain();
    EXPECT_EQ(notices_of(account.id), std::vector<std::string>{"low_balance"});
}

}  // namespace
}  // namespace lumen::admind
