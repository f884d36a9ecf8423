// admind's metrics as Prometheus text (spec/api.md §5).
#pragma once

#include <string>
#include <vector>

#include "admind/jobs.h"

namespace lumen::admind {

std::string metrics_text(const LedgerMetrics& ledger, const std::vector<JobStatus>& other_jobs);

}  // namespace lumen::admind
