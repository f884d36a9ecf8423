#include "admind/refill_job.h"

#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr std::int64_t kSecondsPerHour = 3600;
constexpr std::size_t kCallsPerPipeline = 1000;

std::vector<AccountId> refilled_accounts(PgPool& postgres, Bucket bucket) {
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    std::vector<AccountId> accounts;
    for (const auto& row :
         transaction.exec_params("select id from accounts where bucket = $1 and not unlimited and lim > 0 and rate > 0",
                                 static_cast<int>(bucket))) {
        accounts.push_back(row[0].as<AccountId>());
    }
    return accounts;
}

}  // namespace

std::int64_t RefillJob::run() {
    // The server's clock: it is the one that the script, and admission, go by.
    const RedisReply time = redis_.command({"TIME"});
    const std::int64_t hour = parse_nano(reply_text(time->element[0]))->nano() / kSecondsPerHour;
    std::int64_t refilled = 0;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        if (done_hour_[bucket] >= hour) continue;
        const std::int64_t credited = refill_bucket(bucket, hour);
        if (credited < 0) continue;
        refilled += credited;
        done_hour_[bucket] = hour;
    }
    return refilled;
}

std::int64_t RefillJob::refill_bucket(Bucket bucket, std::int64_t hour) {
    const std::vector<AccountId> accounts = refilled_accounts(postgres_, bucket);
    std::int64_t credited = 0;
    bool ready = true;
    for (std::size_t first = 0; first < accounts.size() && ready; first += kCallsPerPipeline) {
        const std::size_t end = std::min(accounts.size(), first + kCallsPerPipeline);
        for (std::size_t i = first; i < end; ++i) {
            RefillCall call(accounts[i], hour);
            redis_.append(call);
        }
        for (std::size_t i = first; i < end; ++i) {
            const Reply reply = parse_reply(Script::refill, reply_text(redis_.next().get())).reply;
            if (reply == Reply::ok) ++credited;
            // An account that Redis does not know yet has this hour from its creation; the others are all there.
            ready = ready &&
                    (reply == Reply::ok || reply == Reply::same || reply == Reply::full || reply == Reply::no_account);
        }
    }
    return ready ? credited : -1;
}

}  // namespace lumen::admind
