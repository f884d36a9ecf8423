#include "admind/ledger/retention_job.h"

#include <Poco/Logger.h>

#include <string>

namespace lumen::admind {

namespace {

// A place that was off for a year catches up within a day, and no run takes long.
constexpr int kDaysPerRun = 31;
constexpr int kMonthsPerRun = 2;

}  // namespace

void create_partitions(PgPool& postgres) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    transaction.exec("select ledger_create_partitions(3)");
    transaction.commit();
}

RetentionResult keep_retention(PgPool& postgres, const Retention& retention) {
    RetentionResult result;
    auto connection = postgres.acquire();
    for (bool more = true; more && result.days_folded < kDaysPerRun;) {
        pqxx::work transaction(*connection);
        transaction.exec("set local statement_timeout = '10min'");
        more = transaction.exec_params1("select usage_fold_day($1)", retention.months_in_quarters)[0].as<bool>();
        transaction.commit();
        if (more) ++result.days_folded;
    }
    for (bool more = true; more && result.months_archived < kMonthsPerRun;) {
        pqxx::work transaction(*connection);
        transaction.exec("set local statement_timeout = '1h'");
        const auto archived =
            transaction.exec_params1("select ledger_archive_month($1)", retention.months_in_ledger)[0];
        transaction.commit();
        more = !archived.is_null();
        if (!more) break;
        ++result.months_archived;
        Poco::Logger::get("retention")
            .notice("archived " + archived.as<std::string>() + " to the schema ledger_archive");
    }
    return result;
}

}  // namespace lumen::admind
