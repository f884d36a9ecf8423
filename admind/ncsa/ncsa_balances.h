// What NCSA Lumen's accounts had left, into the ledger here.
#pragma once

#include <cstdint>
#include <map>

#include "admind/ncsa/ncsa_import.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// Each as one reset of the ledger: an event like any other, whose id makes it happen once. `accounts`: of entities
/// that came over.
void import_balances(const Services& services, const NcsaData& data, const std::map<std::int64_t, AccountId>& accounts,
                     ImportMode mode, NcsaReport& report);

}  // namespace lumen::admind
