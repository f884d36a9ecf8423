// A migration comes while the tables are in use: whoever uses them waits for a moment and never fails, and the
// migration is applied as soon as they let it in.
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "admind/stores/migrations.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

std::vector<Migration> with(std::string_view sql) {
    std::vector<Migration> all = migrations();
    all.push_back({"9999_test", sql});
    return all;
}

class LedgerMigration : public ::testing::Test {
 public:
    std::int64_t number(const std::string& query) {
        pqxx::work look(watcher);
        return look.exec1(query)[0].as<std::int64_t>();
    }
    bool locks(const std::string& table, const std::string& mode, bool granted) {
        return number("select count(*) from pg_locks where relation = '" + table + "'::regclass and mode = '" + mode +
                      "' and granted = " + (granted ? "true" : "false") +
                      " and database = (select oid from pg_database where datname = current_database())") > 0;
    }

    const std::string database = new_database();
    pqxx::connection watcher{database};
    pqxx::connection client{database};
};

TEST_F(LedgerMigration, whoever_takes_the_tables_in_another_order_is_not_sacrificed) {
    constexpr std::string_view kSql =
        "alter table accounts add column next_note text; alter table users add column next_note text;";
    pqxx::work work(client);
    work.exec("select count(*) from users");
    auto migrated = std::async(std::launch::async, [&] { return migrate(database, with(kSql)); });
    wait_until("the migration has one table and wants the other", [&] {
        return locks("accounts", "AccessExclusiveLock", true) && locks("users", "AccessExclusiveLock", false);
    });
    // The circle closes here. The client gets through, because the migration lets go first.
    EXPECT_NO_THROW(work.exec("select count(*) from accounts"));
    EXPECT_NO_THROW(work.commit());
    EXPECT_EQ(migrated.get(), std::vector<std::string>{"9999_test"});
    EXPECT_EQ(number("select count(*) from information_schema.columns where column_name = 'next_note'"), 2);
}

TEST_F(LedgerMigration, tables_that_stay_busy_end_it_with_what_to_do_and_nothing_changed) {
    pqxx::work dump(client);
    dump.exec("select count(*) from accounts");
    try {
        migrate(database, with("create table fresh (id int); alter table accounts add column fresh text;"),
                milliseconds(1));
        ADD_FAILURE() << "migrated a table that a transaction was reading";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string_view(error.what()).find("stayed busy"), std::string_view::npos) << error.what();
    }
    EXPECT_EQ(number("select count(*) from pg_class where relname = 'fresh'"), 0);
}

TEST_F(LedgerMigration, a_table_that_is_only_indexed_or_referenced_stays_readable) {
    constexpr std::string_view kSql =
        "-- drop table users: a comment means nothing\n"
        "create index users_next on users (name);"
        "create table next_notes (account_id bigint references accounts (id));"
        "select pg_advisory_xact_lock(42);";
    pqxx::work holds_it_up(client);
    holds_it_up.exec("select pg_advisory_xact_lock(42)");
    auto migrated = std::async(std::launch::async, [&] { return migrate(database, with(kSql)); });
    wait_until("the migration has the table", [&] { return locks("users", "ShareRowExclusiveLock", true); });
    EXPECT_EQ(number("select (select count(*) from users) + (select count(*) from accounts)"), 0);
    holds_it_up.commit();
    EXPECT_EQ(migrated.get(), std::vector<std::string>{"9999_test"});
}

TEST_F(LedgerMigration, another_error_is_told_at_once) {
    EXPECT_THROW(migrate(database, with("alter table accounts add column id int;"), minutes(1)), pqxx::sql_error);
}

}  // namespace
}  // namespace lumen::admind
