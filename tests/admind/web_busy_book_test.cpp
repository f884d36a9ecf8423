// Something holds a table of the book for longer than a statement may wait (a migration, a person with psql): callers
// are told to come again, and coming again with the same Idempotency-Key does it once.
#include <gtest/gtest.h>

#include <future>
#include <pqxx/pqxx>

#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr const char* kWaiting =
    "select coalesce(max(pid), 0) from pg_locks where relation = 'money_ops'::regclass and not granted"
    " and database = (select oid from pg_database where datname = current_database())";

TEST(BusyBook, a_statement_that_had_to_give_way_is_a_503_and_may_be_repeated) {
    const PrivateAdmind& admind = PrivateAdmind::shared();
    const auto person = admind.new_person("5");
    Headers headers = admind.operator_headers();
    headers.emplace_back("Idempotency-Key", "busy-book-" + person.account);
    headers.emplace_back("Content-Type", "application/json");
    const auto grant = [&] {
        return admind.call("POST", "/api/v1/admin/accounts/" + person.account + "/grants", headers,
                           R"({"coins":"1.5","reason":"once"})");
    };

    pqxx::connection holder_connection(admind.database);
    pqxx::work holder(holder_connection);
    holder.exec("lock table money_ops in access exclusive mode");
    auto refused = std::async(std::launch::async, grant);
    // What the time-out does after its seconds, a cancellation does at once: it is the same error of the server.
    wait_until("the grant's statement was ended", [&] {
        const std::string pid = admind.row(kWaiting).front();
        if (pid != "0") admind.execute("select pg_cancel_backend(" + pid + ")");
        return refused.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
    const HttpReply busy = refused.get();
    EXPECT_EQ(busy.status, 503) << busy.text;
    EXPECT_EQ(busy.code(), "database_unavailable");
    EXPECT_EQ(busy.header("retry-after"), "2");

    holder.commit();
    EXPECT_EQ(grant().status, 200);
    EXPECT_EQ(grant().status, 200);
    const auto granted =
        "select count(*) from money_ops where account_id = " + person.account + " and amount = 1500000000";
    EXPECT_EQ(admind.row(granted).front(), "1");
}

}  // namespace
}  // namespace lumen::admind
