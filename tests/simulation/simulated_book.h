// The book of the simulation: PostgreSQL's tables as values, so that a transaction is a copy that is kept or not.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::simulation {

struct BookRow {
    std::int64_t bseq = 0;
    EventKind kind = EventKind::usage;
    AccountId account = 0;
    std::int64_t delta = 0;
    std::int64_t cost = 0;
    std::int64_t balance_after = 0;
    std::int64_t seq = 0;
    std::int64_t hour = 0;
    std::string request;
    std::int64_t opn = 0;
};

struct BookOperation {
    AccountId account = 0;
    std::int64_t opn = 0;
    MoneyOpKind kind = MoneyOpKind::add;
    std::int64_t amount = 0;
    std::int64_t cost = 0;
    KeyId key = 0;
    std::string request;
    std::string idem_key;
};

struct BookWallet {
    AccountConfig config;
    std::int64_t balance = 0;
    std::int64_t seq = 0;
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
    std::int64_t rate_since_hour = 0;
    std::int64_t spent = 0;
    std::int64_t requests = 0;
    std::int64_t next_opn = 1;
};

struct SimulatedBook {
    std::map<AccountId, BookWallet> wallets;
    std::map<KeyId, KeyConfig> keys;
    std::vector<BookRow> rows;
    std::vector<BookOperation> operations;
    std::int64_t last_bseq = 0;
    std::string source;
    std::int64_t epoch = 0;
};

}  // namespace lumen::simulation
