#include "admind/ledger/hold_reaper.h"

#include <algorithm>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr const char* kHoldsPerScan = "1000";
constexpr std::size_t kReapsPerPipeline = 1000;

struct DeadHold {
    RequestId request;
    AccountId account = 0;
    KeyId key = 0;
};

void collect_dead(const redisReply& pairs, std::int64_t now_ms, std::vector<DeadHold>& dead) {
    for (std::size_t i = 0; i + 1 < pairs.elements; i += 2) {
        const std::string_view request = reply_text(pairs.element[i]);
        const auto hold = parse_hold(reply_text(pairs.element[i + 1]));
        DeadHold found;
        if (!hold || hold->deadline_ms > now_ms || request.size() != found.request.text.size()) continue;
        std::copy(request.begin(), request.end(), found.request.text.begin());
        found.account = hold->account;
        found.key = hold->key;
        dead.push_back(found);
    }
}

}  // namespace

std::int64_t HoldReaper::run() {
    const RedisReply time = redis_.command({"TIME"});
    const std::int64_t now_ms = parse_nano(reply_text(time->element[0]))->nano() * 1000;
    // Most buckets hold nothing: one pipeline finds the others.
    for (int i = 0; i < kBuckets; ++i) {
        redis_.append({"HGET", bucket_key(static_cast<Bucket>(i), "meta"), "ready"});
        redis_.append({"HLEN", bucket_key(static_cast<Bucket>(i), "holds")});
    }
    std::vector<Bucket> holding;
    for (int i = 0; i < kBuckets; ++i) {
        const RedisReply token = redis_.next_of_any();
        const RedisReply count = redis_.next_of_any();
        const auto bucket = static_cast<Bucket>(i);
        if (old_enough(bucket, reply_text(token.get())) && count->integer > 0) holding.push_back(bucket);
    }
    std::int64_t reaped = 0;
    for (Bucket bucket : holding) reaped += reap_bucket(bucket, now_ms);
    return reaped;
}

bool HoldReaper::old_enough(Bucket bucket, std::string_view token) {
    Seen& seen = seen_[bucket];
    if (seen.token != token) {
        seen.token = std::string(token);
        seen.since = std::chrono::steady_clock::now();
    }
    return !token.empty() && std::chrono::steady_clock::now() - seen.since >= after_ready_;
}

std::int64_t HoldReaper::reap_bucket(Bucket bucket, std::int64_t now_ms) {
    std::vector<DeadHold> dead;
    std::string cursor = "0";
    const std::string key = bucket_key(bucket, "holds");
    do {
        const RedisReply scan = redis_.command({"HSCAN", key, cursor, "COUNT", kHoldsPerScan});
        collect_dead(*scan->element[1], now_ms, dead);
        cursor = std::string(reply_text(scan->element[0]));
    } while (cursor != "0");
    std::int64_t reaped = 0;
    for (std::size_t first = 0; first < dead.size(); first += kReapsPerPipeline) {
        const std::size_t end = std::min(dead.size(), first + kReapsPerPipeline);
        for (std::size_t i = first; i < end; ++i) {
            ReapCall call(dead[i].request, dead[i].account, dead[i].key);
            redis_.append(call);
        }
        while (redis_.outstanding() > 0) {
            if (parse_reply(Script::reap, reply_text(redis_.next().get())).reply == Reply::ok) ++reaped;
        }
    }
    return reaped;
}

}  // namespace lumen::admind
