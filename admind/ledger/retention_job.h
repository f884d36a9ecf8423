// What the book makes room for and what it lets go: partitions ahead of time, old quarters folded, old months archived.
#pragma once

#include "admind/stores/pg_pool.h"

namespace lumen::admind {

/// The partitions of ledger_events from last month to three months from now.
void create_partitions(PgPool& postgres);

struct Retention {
    int months_in_quarters = 13;  ///< of usage_quarter; older ones are a row a day
    int months_in_ledger = 25;    ///< of ledger_events; older ones go to the schema ledger_archive
};
struct RetentionResult {
    int days_folded = 0;
    int months_archived = 0;
};
/// A bounded part of what is due; the next call goes on. Each day and each month is a transaction of its own.
RetentionResult keep_retention(PgPool& postgres, const Retention& retention);

}  // namespace lumen::admind
