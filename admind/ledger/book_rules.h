// The rules that the book must obey by itself: I2, I3 and I16 of ledger.md, as queries that list what breaks them.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <vector>

namespace lumen::admind {

/// Each finding names its invariant and the row; at most kMaxFindings a rule. Reads whole tables: nightly, and in
/// tests.
inline constexpr int kMaxFindings = 5;
std::vector<std::string> check_book(pqxx::transaction_base& transaction);

}  // namespace lumen::admind
