// admind's metrics as Prometheus text (spec/api.md §5).
#pragma once

#include <string>

#include "admind/jobs.h"

namespace lumen::admind {

std::string metrics_text(const LedgerMetrics& ledger);

}  // namespace lumen::admind
