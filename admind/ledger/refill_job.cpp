#include "admind/ledger/refill_job.h"

#include <algorithm>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr std::int64_t kSecondsPerHour = 3600;
/// Calls of RefillCall::kMostAccounts under way: what Redis does in one go, while requests wait, is two milliseconds'
/// work, and still it never waits for the next call. More are sent when half of them are answered.
constexpr std::size_t kCallsUnderWay = 16;

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
    std::size_t sent = 0;
    const auto send = [&] {
        const std::size_t count = std::min(accounts.size() - sent, RefillCall::kMostAccounts);
        RefillCall call(&accounts[sent], count, hour);
        redis_.append(call);
        sent += count;
    };
    while (sent < accounts.size() || redis_.outstanding() > 0) {
        if (redis_.outstanding() <= kCallsUnderWay / 2) {
            while (sent < accounts.size() && redis_.outstanding() < kCallsUnderWay) send();
        }
        const RedisReply lines = redis_.next_of_any();
        std::string_view left = reply_text(lines.get());
        do {
            const Reply reply = parse_reply(Script::refill, next_reply_line(left)).reply;
            if (reply == Reply::ok) ++credited;
            // An account that Redis does not know yet has this hour from its creation; the others are all there.
            ready = ready &&
                    (reply == Reply::ok || reply == Reply::same || reply == Reply::full || reply == Reply::no_account);
        } while (!left.empty());
    }
    return ready ? credited : -1;
}

}  // namespace lumen::admind
