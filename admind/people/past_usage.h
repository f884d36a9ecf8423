// Use of an account from before it was here: into every counter that pages and REST show, so that they still add up
// (I16), without a ledger event, as no coin moved here.
#pragma once

#include <cstdint>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

struct PastSums {
    std::int64_t requests = 0;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
    NanoCoins cost;
    std::string last_at{};  ///< timestamptz text in UTC; empty: never

    void add(const PastSums& more);
    bool empty() const noexcept;
};

/// A quarter of an hour of one model by one source.
struct PastRow {
    ModelId model = 0;
    bool chat = false;
    std::string slot;
    PastSums sums;
};

void add_key_totals(pqxx::transaction_base& transaction, AccountId account, KeyId key, const PastSums& sums);

/// Not idempotent: it adds. `of_keys`: what add_key_totals has been told of the account's keys already. Keys that had
/// to be made are given back: the account's chat key, and a deleted one for what no key accounts for.
std::vector<KeyId> add_past_usage(pqxx::transaction_base& transaction, AccountId account,
                                  const std::vector<PastRow>& rows, const PastSums& of_keys);

}  // namespace lumen::admind
