#include "admind/people/recent_requests.h"

namespace lumen::admind {

namespace {
constexpr std::chrono::seconds kFreshFor{15};
}

std::map<ModelId, RecentRequests::Counts> RecentRequests::counts(pqxx::transaction_base& transaction) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now < until_) return counts_;
    std::map<ModelId, Counts> fresh;
    for (const auto& row : transaction.exec(
             "select model_id, sum(requests)::bigint, coalesce(sum(requests) filter (where slot > now()"
             " - interval '1 hour'), 0)::bigint from usage_quarter where slot > now() - interval '24 hours'"
             " group by model_id")) {
        fresh[row[0].as<ModelId>()] = {row[2].as<std::int64_t>(), row[1].as<std::int64_t>()};
    }
    counts_ = std::move(fresh);
    until_ = now + kFreshFor;
    return counts_;
}

}  // namespace lumen::admind
