// How long a list of the ledger is, all its pages together.
#pragma once

#include "admind/ledger/pg_store_ledger.h"

namespace lumen::admind {

std::int64_t count_ledger(pqxx::transaction_base& transaction, const LedgerQuery& query);

}  // namespace lumen::admind
