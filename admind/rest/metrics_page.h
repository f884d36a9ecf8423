// admind's metrics as Prometheus text (spec/api.md §5).
#pragma once

#include <string>
#include <vector>

#include "admind/ledger/jobs.h"
#include "admind/people/notice_sender.h"

namespace lumen::admind {

/// `config_valid`: lumen.yaml as it was last read has no errors.
std::string metrics_text(const LedgerMetrics& ledger, const std::vector<JobStatus>& other_jobs, bool config_valid,
                         const NoticeMetrics& notices);

}  // namespace lumen::admind
