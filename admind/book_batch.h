// Writes one drained batch into the book: rows, balances and rollups, in the caller's transaction.
#pragma once

#include <pqxx/pqxx>

#include "admind/event_batch.h"

namespace lumen::admind {

/// Rows, then the balances they lead to, then the counters. Throws LedgerAlarm if an account does not stand where the
/// batch begins, and pqxx::unique_violation if an event is there already: both mean that stream and book disagree.
void book_batch(pqxx::transaction_base& transaction, const EventBatch& batch);

}  // namespace lumen::admind
