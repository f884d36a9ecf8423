// Brings what NCSA Lumen's database holds into the book: people, groups, projects, keys, balances, consents, usage.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "admind/ncsa/ncsa_source.h"
#include "admind/services.h"

namespace lumen::admind {

struct NcsaReport {
    struct Counts {
        std::int64_t found = 0;
        std::int64_t made = 0;     ///< in a dry run: would be
        std::int64_t there = 0;    ///< from an earlier run, or made here before
        std::int64_t skipped = 0;  ///< see remarks
    };
    std::map<std::string, Counts> kinds;  ///< users, projects, groups, keys, …
    std::vector<std::string> remarks;     ///< what an administrator should know, one line each
    bool pending = false;                 ///< recorded, but Redis has not all of it yet: the daemon goes on with it
};

enum class ImportMode : std::uint8_t { dry_run, real };

/// Idempotent: what came over in an earlier run is left alone. Nothing is written by a dry run. Interrupted, it may be
/// run again. Throws what the stores throw.
NcsaReport import_ncsa(const Services& services, const Settings& settings, const NcsaData& data, ImportMode mode);

}  // namespace lumen::admind
