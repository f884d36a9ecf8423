// Statements that are prepared once a connection.
#include <gtest/gtest.h>

#include "admind/stores/pg_pool.h"
#include "admind/stores/pg_statement.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr Statement kTwice{"test_twice", "select 2 * $1::bigint"};
constexpr Statement kUpTo{"test_up_to", "select * from generate_series(1, $1::bigint)"};
constexpr Statement kBroken{"test_broken", "select 1 / $1::bigint"};

class LedgerStatement : public PrivateLedger {
 public:
    PgPool one{database, 1, std::chrono::seconds(5)};

    std::int64_t twice(std::int64_t value) {
        PgPool::Lease lease = one.acquire();
        pqxx::work transaction(*lease);
        return exec_prepared1(transaction, kTwice, value)[0].as<std::int64_t>();
    }
    std::int64_t backend() {
        PgPool::Lease lease = one.acquire();
        return lease->backendpid();
    }
    std::int64_t prepared_here() {
        PgPool::Lease lease = one.acquire();
        pqxx::work transaction(*lease);
        return transaction.exec1("select count(*) from pg_prepared_statements where name = 'test_twice'")[0]
            .as<std::int64_t>();
    }
};

TEST_F(LedgerStatement, is_prepared_once_and_outlives_transactions) {
    EXPECT_EQ(twice(21), 42);
    EXPECT_EQ(twice(22), 44);
    EXPECT_EQ(prepared_here(), 1);
    {
        PgPool::Lease lease = one.acquire();
        pqxx::work transaction(*lease);
        EXPECT_THROW(exec_prepared(transaction, kBroken, 0), pqxx::sql_error);
    }
    EXPECT_EQ(twice(23), 46);
    EXPECT_EQ(prepared_here(), 1);
}

TEST_F(LedgerStatement, of_one_row_refuses_none_and_two) {
    PgPool::Lease lease = one.acquire();
    pqxx::work transaction(*lease);
    EXPECT_EQ(exec_prepared1(transaction, kUpTo, 1)[0].as<int>(), 1);
    EXPECT_THROW(exec_prepared1(transaction, kUpTo, 0), pqxx::unexpected_rows);
    EXPECT_THROW(exec_prepared1(transaction, kUpTo, 2), pqxx::unexpected_rows);
}

TEST_F(LedgerStatement, is_known_again_after_the_connection_was_lost) {
    EXPECT_EQ(twice(21), 42);
    const std::int64_t lost = backend();
    const std::string gone = std::to_string(lost);
    execute("select pg_terminate_backend(" + gone + ")");
    wait_until("the server's process is gone",
               [&] { return number("select count(*) from pg_stat_activity where pid = " + gone) == 0; });
    wait_until("the pool has noticed", [&] { return backend() != lost; });
    EXPECT_EQ(twice(22), 44);
    EXPECT_EQ(prepared_here(), 1);
}

}  // namespace
}  // namespace lumen::admind
