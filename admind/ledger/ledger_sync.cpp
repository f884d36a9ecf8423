#include "admind/ledger/ledger_sync.h"

#include <algorithm>
#include <charconv>
#include <thread>
#include <utility>

#include "admind/ledger/book_batch.h"
#include "admind/ledger/late_charges.h"
#include "admind/ledger/stream_entry.h"
#include "admind/stores/pg_arrays.h"

namespace lumen::admind {

namespace {

constexpr auto kAskPause = std::chrono::milliseconds(100);

/// A bucket that raised an alarm is tried again after this: an operator may have mended it.
constexpr auto kStandStill = std::chrono::seconds(10);

struct BookedEvent {
    Bucket bucket = 0;
    std::int64_t bseq = 0;
    LedgerEvent event;  ///< its texts live in the reply
};

/// The events of all buckets, in order; ids must follow each other from the position on (I3).
std::vector<BookedEvent> consecutive_events(Bucket bucket, std::int64_t last_bseq, const redisReply& entries) {
    std::vector<BookedEvent> events;
    events.reserve(entries.elements);
    for (std::size_t i = 0; i < entries.elements; ++i) {
        const StreamEntry entry = entry_of(bucket, *entries.element[i]);
        if (entry.bseq != last_bseq + 1) {
            throw LedgerAlarm("hole in the stream: bucket=" + std::to_string(bucket) +
                              " after bseq=" + std::to_string(last_bseq) + " comes " + std::to_string(entry.bseq));
        }
        last_bseq = entry.bseq;
        events.push_back({bucket, entry.bseq, entry.event});
    }
    return events;
}

}  // namespace

LedgerSync::LedgerSync(PgPool& postgres, std::string redis_url, std::chrono::milliseconds redis_timeout,
                       LedgerBook& book)
    : postgres_(postgres), redis_(std::move(redis_url), redis_timeout), book_(book) {}

void LedgerSync::read_positions() {
    auto connection = postgres_.acquire();
    pqxx::read_transaction transaction(*connection);
    for (const auto& row : transaction.exec("select bucket, last_bseq from stream_positions")) {
        position_[row[0].as<std::size_t>()] = row[1].as<std::int64_t>();
    }
    positions_known_ = true;
}

std::vector<Bucket> LedgerSync::awaited() const {
    const auto now = std::chrono::steady_clock::now();
    std::vector<Bucket> buckets;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        const auto stands_still = stands_still_.find(bucket);
        if (stands_still == stands_still_.end() || stands_still->second.until <= now) buckets.push_back(bucket);
    }
    return buckets;
}

/// A Cluster reads no streams of several slots at once: it is asked for the newest numbers instead, ten times a second.
std::vector<Bucket> LedgerSync::wait_by_asking(std::chrono::milliseconds wait) {
    const auto until = std::chrono::steady_clock::now() + wait;
    const std::vector<Bucket> buckets = awaited();
    for (;;) {
        for (Bucket bucket : buckets) redis_.append({"HGET", bucket_key(bucket, "meta"), "bseq"});
        std::vector<Bucket> ahead;
        for (Bucket bucket : buckets) {
            const RedisReply reply = redis_.next_of_any();
            const auto bseq = parse_nano(reply_text(reply.get()));
            if (bseq && bseq->nano() > position_[bucket]) ahead.push_back(bucket);
        }
        const auto left = until - std::chrono::steady_clock::now();
        if (!ahead.empty() || left <= left.zero()) return ahead;
        std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(left, kAskPause));
    }
}

std::vector<Bucket> LedgerSync::wait_for_events(std::chrono::milliseconds wait) {
    if (redis_.clustered()) return wait_by_asking(wait);
    // One blocking read over all streams: an idle drainer costs nothing, and a busy one wakes with the event.
    std::vector<std::string> keys;
    std::vector<std::string> ids;
    keys.reserve(kBuckets);
    ids.reserve(kBuckets);
    for (Bucket bucket : awaited()) {
        keys.push_back(bucket_key(bucket, "events"));
        ids.push_back(stream_id(position_[bucket]));
    }
    if (keys.empty()) return {};
    const std::string wait_ms = std::to_string(wait.count());
    std::vector<std::string_view> command{"XREAD", "COUNT", "1"};
    if (wait.count() > 0) command.insert(command.end(), {"BLOCK", wait_ms});
    command.push_back("STREAMS");
    command.insert(command.end(), keys.begin(), keys.end());
    command.insert(command.end(), ids.begin(), ids.end());
    const RedisReply streams = redis_.blocking_command(command, wait);
    std::vector<Bucket> buckets;
    if (streams->type != REDIS_REPLY_ARRAY) return buckets;
    for (std::size_t i = 0; i < streams->elements; ++i) {
        const std::string_view key = reply_text(streams->element[i]->element[0]);  // {bNNN}:events
        int bucket = 0;
        std::from_chars(key.data() + 2, key.data() + 5, bucket);
        buckets.push_back(static_cast<Bucket>(bucket));
    }
    return buckets;
}

/// Those of `buckets` that the next transaction takes: in turn, and each with all that it has, until there are enough.
/// A drainer that is behind so finds an account's events together: what costs most in the book is done once for them.
std::vector<Bucket> LedgerSync::choose(const std::vector<Bucket>& buckets) {
    for (Bucket bucket : buckets) redis_.append({"HGET", bucket_key(bucket, "meta"), "bseq"});
    for (Bucket bucket : buckets) {
        const RedisReply bseq = redis_.next_of_any();
        const std::int64_t last = parse_nano(reply_text(bseq.get())).value_or(NanoCoins()).nano();
        // At least one: the stream has something, whatever the position that we remember.
        share_[bucket] = static_cast<std::size_t>(std::max<std::int64_t>(1, last - position_[bucket]));
    }
    const auto turn = static_cast<std::size_t>(
        std::partition_point(buckets.begin(), buckets.end(), [&](Bucket bucket) { return bucket < first_choice_; }) -
        buckets.begin());
    std::vector<Bucket> chosen;
    std::size_t events = 0;
    for (std::size_t i = 0; i < buckets.size() && events < kMaxEventsPerDrain; ++i) {
        const Bucket bucket = buckets[(turn + i) % buckets.size()];
        share_[bucket] = std::min(share_[bucket], kMaxEventsPerDrain - events);
        events += share_[bucket];
        chosen.push_back(bucket);
    }
    first_choice_ = chosen.back() + 1U;
    return chosen;
}

std::vector<LedgerSync::BucketEvents> LedgerSync::lock_positions(pqxx::transaction_base& transaction,
                                                                 const std::vector<Bucket>& buckets,
                                                                 const ReplicationIds& ids) {
    std::vector<std::string> sources;
    for (Bucket bucket : buckets) sources.push_back(ids[bucket].empty() ? "-" : ids[bucket]);
    std::vector<BucketEvents> locked;
    for (const auto& row :
         transaction.exec_params("select p.bucket, p.last_bseq from stream_positions p "
                                 "join unnest($1::smallint[], $2::text[]) as x (bucket, source) on p.bucket = x.bucket "
                                 "where p.source = x.source order by p.bucket for update of p skip locked",
                                 pg_integers(buckets, [](Bucket bucket) { return static_cast<std::int64_t>(bucket); }),
                                 pg_array(sources))) {
        BucketEvents events;
        events.bucket = static_cast<Bucket>(row[0].as<int>());
        events.last_bseq = row[1].as<std::int64_t>();
        position_[events.bucket] = events.last_bseq;
        locked.push_back(std::move(events));
    }
    return locked;
}

/// Leaves only buckets whose server was the same before and after: else its events may be those of an abandoned master.
void LedgerSync::read_events(std::vector<BucketEvents>& buckets, const ReplicationIds& ids) {
    for (const BucketEvents& bucket : buckets) {
        redis_.append({"XRANGE", bucket_key(bucket.bucket, "events"), stream_id(bucket.last_bseq + 1), "+", "COUNT",
                       std::to_string(share_[bucket.bucket])});
    }
    std::string refused;
    for (BucketEvents& bucket : buckets) {
        bucket.entries = redis_.next_of_any();
        if (bucket.entries->type == REDIS_REPLY_ARRAY) continue;
        refused = bucket.entries->type == REDIS_REPLY_ERROR ? bucket.entries->str : "no array";
        bucket.entries.reset();
    }
    const ReplicationIds now = redis_.replication_ids();
    buckets.erase(std::remove_if(buckets.begin(), buckets.end(),
                                 [&](const BucketEvents& bucket) {
                                     return !bucket.entries || now[bucket.bucket] != ids[bucket.bucket];
                                 }),
                  buckets.end());
    if (!buckets.empty()) return;
    if (!refused.empty()) throw RedisError("XRANGE: " + refused);
    throw RedisUnavailable("redis: the master changed while events were read");
}

DrainResult LedgerSync::book_events(const std::vector<Bucket>& buckets) {
    DrainResult result;
    auto connection = postgres_.acquire();
    pqxx::work transaction(*connection);
    const ReplicationIds ids = redis_.replication_ids();
    if (ids == ReplicationIds{}) throw RedisUnavailable("redis: the server is a replica");
    auto locked = lock_positions(transaction, buckets, ids);
    if (locked.empty()) return result;
    read_events(locked, ids);

    std::vector<BookedEvent> events;
    std::vector<std::string> corrections;
    PgIntegers drained_buckets;
    PgIntegers drained_to;
    for (BucketEvents& bucket : locked) {
        auto of_bucket = consecutive_events(bucket.bucket, bucket.last_bseq, *bucket.entries);
        if (of_bucket.empty()) continue;
        bucket.last_bseq = of_bucket.back().bseq;
        drained_buckets.add(bucket.bucket);
        drained_to.add(bucket.last_bseq);
        for (BookedEvent& event : of_bucket) {
            if (event.event.kind == EventKind::correction) corrections.emplace_back(event.event.request);
            events.push_back(event);
        }
    }
    if (events.empty()) return result;

    EventBatch batch(read_reaped(transaction, corrections));
    result.oldest_at_ms = events.front().event.at_ms;
    for (const BookedEvent& event : events) {
        batch.add(event.bucket, event.bseq, event.event);
        result.oldest_at_ms = std::min(result.oldest_at_ms, event.event.at_ms);
    }
    const BookedTotals booked = book_batch(transaction, batch);
    const std::vector<AccountId> charged = resolve_lates(transaction, batch.lates());
    transaction.exec_params(
        "update stream_positions p set last_bseq = x.last_bseq "
        "from unnest($1::smallint[], $2::bigint[]) as x (bucket, last_bseq) where p.bucket = x.bucket",
        drained_buckets.text(), drained_to.text());
    transaction.commit();

    result.events = batch.size();
    for (const BucketEvents& bucket : locked) {
        position_[bucket.bucket] = bucket.last_bseq;
        stands_still_.erase(bucket.bucket);
    }
    live_.changed(booked);
    for (AccountId account : charged) book_.send_pending_money(account);
    return result;
}

/// After an alarm: bucket by bucket, so that only the one that is wrong stands still.
DrainResult LedgerSync::book_each(const std::vector<Bucket>& buckets, const std::string& reason) {
    DrainResult all;
    if (buckets.size() == 1) {
        stands_still_[buckets.front()] = {std::chrono::steady_clock::now() + kStandStill,
                                          "bucket=" + std::to_string(buckets.front()) + ": " + reason};
        all.alarms.push_back(stands_still_[buckets.front()].reason);
        return all;
    }
    for (Bucket bucket : buckets) {
        DrainResult one = [&] {
            try {
                return book_events({bucket});
            } catch (const LedgerAlarm& alarm) {
                return book_each({bucket}, alarm.what());
            } catch (const pqxx::integrity_constraint_violation& clash) {
                return book_each({bucket}, clash.what());
            }
        }();
        all.events += one.events;
        if (one.oldest_at_ms > 0 && (all.oldest_at_ms == 0 || one.oldest_at_ms < all.oldest_at_ms)) {
            all.oldest_at_ms = one.oldest_at_ms;
        }
        all.alarms.insert(all.alarms.end(), one.alarms.begin(), one.alarms.end());
    }
    return all;
}

std::vector<std::string> LedgerSync::standing_still() const {
    std::vector<std::string> reasons;
    for (const auto& [bucket, stand_still] : stands_still_) reasons.push_back(stand_still.reason);
    return reasons;
}

DrainResult LedgerSync::drain(std::chrono::milliseconds wait) {
    if (!positions_known_) read_positions();
    try {
        const std::vector<Bucket> there = wait_for_events(wait);
        if (there.empty()) return {};
        const std::vector<Bucket> buckets = choose(there);
        DrainResult result = [&] {
            try {
                return book_events(buckets);
            } catch (const LedgerAlarm& alarm) {
                return book_each(buckets, alarm.what());
            } catch (const pqxx::integrity_constraint_violation& clash) {
                return book_each(buckets, clash.what());
            }
        }();
        result.full = result.events >= kMaxEventsPerDrain || buckets.size() < there.size();
        // Somebody else drained them, or the buckets await their reconciliation. If there are others, it is their turn
        // now.
        result.woken_for_nothing = result.events == 0 && buckets.size() == there.size();
        if (result.events == 0) positions_known_ = false;
        return result;
    } catch (...) {
        positions_known_ = false;
        if (redis_.outstanding() > 0) redis_.drop();
        throw;
    }
}

}  // namespace lumen::admind
