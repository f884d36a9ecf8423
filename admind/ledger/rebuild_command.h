// `lumen-admind rebuild`: puts every bucket of Redis into service, and carries out what a person decided where the two
// stores contradict each other.
#pragma once

#include <string>

#include "admind/settings/settings.h"

namespace lumen::admind {

struct RebuildOptions {
    std::string from;   ///< redis or book: which is right where they contradict; empty: nobody decided
    bool all = false;   ///< with `from`: every bucket, whether its stores contradict each other or not
    std::string spool;  ///< where events go that are in neither store afterwards
    std::string actor;  ///< who decided, for the ledger
};

/// 0: every bucket is in service. 1: some are not; which, and why, is printed.
int run_rebuild(const Settings& settings, const RebuildOptions& options);

}  // namespace lumen::admind
