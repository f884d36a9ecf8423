// Writes one drained batch into the book: rows, balances and rollups, in the caller's transaction.
#pragma once

#include <cstdint>
#include <pqxx/pqxx>
#include <utility>
#include <vector>

#include "admind/ledger/event_batch.h"
#include "admind/ledger/notices.h"
#include "lumen_core/live_message.h"

namespace lumen::admind {

/// A key's counters; hidden keys (web chat) are nobody's to see.
struct KeyTotals {
    KeyId key = 0;
    AccountId account = 0;
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
    NanoCoins spent;
    std::int64_t last_used_ms = 0;
};
/// What the counters have come to by a batch, for those who watch.
struct BookedTotals {
    std::vector<std::pair<AccountId, LiveTotals>> accounts;
    std::vector<KeyTotals> keys;
    std::vector<Crossing> crossings;
};

/// COPY of a batch's rows while the batch grows: Postgres writes the first ones as the next are read. Nothing else may
/// be asked of the transaction before complete().
class EventCopy {
 public:
    explicit EventCopy(pqxx::transaction_base& transaction);
    /// Sends the rows that `batch` has, and makes it forget them.
    void write(EventBatch& batch);
    /// Throws what Postgres found wrong with any of the rows.
    void complete();

 private:
    pqxx::stream_to stream_;
};

/// Rows that are still there, then the balances they lead to, then the counters, then notices of what ran empty. Throws
/// LedgerAlarm if an account does not stand where the batch begins, and pqxx::unique_violation if an event is there
/// already: both mean that stream and book disagree.
BookedTotals book_batch(pqxx::transaction_base& transaction, EventBatch& batch);

}  // namespace lumen::admind
