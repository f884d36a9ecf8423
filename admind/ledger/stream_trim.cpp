#include "admind/ledger/stream_trim.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admind/ledger/stream_entry.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

void trim_streams(PgPool& postgres, RedisLink& redis, std::chrono::milliseconds age) {
    struct Search {
        Bucket bucket;
        std::int64_t old;    ///< known to be older than `age`
        std::int64_t young;  ///< first one known, or not known, to be younger: drained ones end before it
    };
    const ReplicationIds replication_ids = redis.replication_ids();
    std::vector<Search> searches;
    {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        for (const auto& row :
             transaction.exec("select bucket, last_bseq, source from stream_positions where last_bseq > 0")) {
            const auto bucket = static_cast<Bucket>(row[0].as<int>());
            if (row[2].as<std::string>() != replication_ids[bucket]) continue;
            searches.push_back({bucket, 0, row[1].as<std::int64_t>() + 1});
        }
    }
    const RedisReply time = redis.command({"TIME"});
    const std::int64_t oldest_kept_ms = parse_nano(reply_text(time->element[0]))->nano() * 1000 - age.count();
    const auto read = [&](Bucket bucket, const std::string& from) {
        redis.append({"XRANGE", bucket_key(bucket, "events"), from, "+", "COUNT", "1"});
    };
    const auto next_entry = [&](Bucket bucket) -> std::optional<std::pair<std::int64_t, std::int64_t>> {
        const RedisReply reply = redis.next_of_any();
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) return std::nullopt;
        const StreamEntry entry = entry_of(bucket, *reply->element[0]);
        return std::pair{entry.bseq, entry.event.at_ms};
    };
    for (const Search& search : searches) read(search.bucket, "-");
    std::vector<Search> open;
    for (Search search : searches) {
        const auto first = next_entry(search.bucket);
        if (!first || first->second >= oldest_kept_ms || first->first >= search.young) continue;
        search.old = first->first;
        open.push_back(search);
    }
    std::vector<Search> found;
    while (!open.empty()) {
        std::vector<Search> still_open;
        for (const Search& search : open) {
            if (search.young - search.old <= 1) {
                found.push_back(search);
            } else {
                still_open.push_back(search);
            }
        }
        for (const Search& search : still_open) {
            read(search.bucket, stream_id(search.old + (search.young - search.old) / 2));
        }
        for (Search& search : still_open) {
            const std::int64_t middle = search.old + (search.young - search.old) / 2;
            const auto entry = next_entry(search.bucket);
            (entry && entry->second < oldest_kept_ms ? search.old : search.young) = middle;
        }
        open = std::move(still_open);
    }
    for (const Search& search : found) {
        redis.append({"XTRIM", bucket_key(search.bucket, "events"), "MINID", stream_id(search.old + 1)});
    }
    while (redis.outstanding() > 0) redis.next_of_any();
}

Backlog measure_backlog(PgPool& postgres, RedisLink& redis) {
    std::vector<std::int64_t> positions(kBuckets);
    {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        for (const auto& row : transaction.exec("select bucket, last_bseq from stream_positions")) {
            positions[row[0].as<std::size_t>()] = row[1].as<std::int64_t>();
        }
    }
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        redis.append({"HGET", bucket_key(bucket, "meta"), "bseq"});
        redis.append({"XRANGE", bucket_key(bucket, "events"), stream_id(positions[bucket] + 1), "+", "COUNT", "1"});
    }
    Backlog backlog;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        const RedisReply bseq = redis.next_of_any();
        const RedisReply oldest = redis.next_of_any();
        if (oldest->type != REDIS_REPLY_ARRAY || oldest->elements == 0) continue;
        const StreamEntry entry = entry_of(bucket, *oldest->element[0]);
        const auto last = parse_nano(reply_text(bseq.get()));
        if (last) backlog.events += last->nano() - positions[bucket];
        if (backlog.oldest_at_ms == 0 || entry.event.at_ms < backlog.oldest_at_ms) {
            backlog.oldest_at_ms = entry.event.at_ms;
        }
    }
    return backlog;
}

}  // namespace lumen::admind
