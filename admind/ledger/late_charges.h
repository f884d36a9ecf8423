// Settles that found no hold: the book decides, once and for ever, whether and what they still owe (ledger.md 6.2).
#pragma once

#include <pqxx/pqxx>
#include <vector>

#include "admind/ledger/event_batch.h"

namespace lumen::admind {

/// Reap rows in the book of the requests that `corrections` name.
ReapedRequests read_reaped(pqxx::transaction_base& transaction, const std::vector<std::string>& corrections);

/// Records a money operation for each late that is not settled otherwise. After the COPY of the batch, in its
/// transaction. Returns the accounts that have operations to be sent after the COMMIT.
std::vector<AccountId> resolve_lates(pqxx::transaction_base& transaction, std::vector<LateEvent> lates);

}  // namespace lumen::admind
