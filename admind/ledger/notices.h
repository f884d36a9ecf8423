// Notices of wallets that run empty: a crossing is found in the transaction that drains it, so once, and put into the
// outbox for whoever wants to hear of it (spec/ui.md §3, row 27). Sending: notice_sender.h.
#pragma once

#include <cstdint>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "admind/ledger/event_batch.h"
#include "admind/text/json.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

/// A balance went from above a threshold to it or below. From above straight to nothing is one crossing: exhausted.
struct Crossing {
    std::string notice_id;
    AccountId account = 0;
    std::string kind;  ///< "low_balance" or "exhausted"
    NanoCoins balance;
    NanoCoins limit;
    std::int64_t at_ms = 0;
};

/// Compares the highest balance of each account in the batch with its last one. A dip that the same batch makes good
/// again is none, and a change of limit moves no balance. Rises re-arm by themselves: only crossings are remembered.
std::vector<Crossing> note_crossings(pqxx::transaction_base& transaction, const EventBatch& batch);

/// {notice, id, balance, limit, at}: the `notice` event of open pages.
Json crossing_json(const Crossing& crossing);

}  // namespace lumen::admind
