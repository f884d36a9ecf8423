#include "admind/ledger/ledger_sync.h"

#include <algorithm>
#include <charconv>
#include <exception>
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

void add_all(const std::vector<BookedEvent>& events, EventBatch& batch) {
    for (const BookedEvent& event : events) batch.add(event.bucket, event.bseq, event.event);
}

/// The events of a bucket, in order; ids must follow each other from the position on (I3).
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

void DrainResult::add(const DrainResult& other) {
    events += other.events;
    if (other.oldest_at_ms > 0 && (oldest_at_ms == 0 || other.oldest_at_ms < oldest_at_ms)) {
        oldest_at_ms = other.oldest_at_ms;
    }
    alarms.insert(alarms.end(), other.alarms.begin(), other.alarms.end());
}

LedgerSync::LedgerSync(PgPool& postgres, const std::string& redis_url, std::chrono::milliseconds redis_timeout,
                       LedgerBook& book, std::size_t most_events)
    : postgres_(postgres),
      redis_(redis_url, redis_timeout),
      second_redis_(redis_url, redis_timeout),
      book_(book),
      most_events_(most_events) {}

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

/// Those of `buckets` that the next transactions take: in turn, and each with all that it has, until there are enough.
/// A drainer that is behind so finds an account's events together: what costs most in the book is done once for them.
std::vector<std::vector<Bucket>> LedgerSync::choose(const std::vector<Bucket>& buckets) {
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
    std::vector<std::vector<Bucket>> chosen;
    std::size_t events = most_events_;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        if (events >= most_events_) {
            if (chosen.size() == kTransactionsAtOnce) break;
            chosen.emplace_back();
            events = 0;
        }
        const Bucket bucket = buckets[(turn + i) % buckets.size()];
        share_[bucket] = std::min(share_[bucket], most_events_ - events);
        events += share_[bucket];
        chosen.back().push_back(bucket);
        first_choice_ = bucket + 1U;
    }
    return chosen;
}

std::vector<LedgerSync::LockedBucket> LedgerSync::lock_positions(pqxx::transaction_base& transaction,
                                                                 const std::vector<Bucket>& buckets,
                                                                 const ReplicationIds& ids) {
    std::vector<std::string> sources;
    for (Bucket bucket : buckets) sources.push_back(ids[bucket].empty() ? "-" : ids[bucket]);
    std::vector<LockedBucket> locked;
    for (const auto& row :
         transaction.exec_params("select p.bucket, p.last_bseq from stream_positions p "
                                 "join unnest($1::smallint[], $2::text[]) as x (bucket, source) on p.bucket = x.bucket "
                                 "where p.source = x.source order by p.bucket for update of p skip locked",
                                 pg_integers(buckets, [](Bucket bucket) { return static_cast<std::int64_t>(bucket); }),
                                 pg_array(sources))) {
        locked.push_back({static_cast<Bucket>(row[0].as<int>()), row[1].as<std::int64_t>(), false});
    }
    return locked;
}

/// Reads the buckets' events into `batch`, bucket by bucket: while the next ones come, Postgres writes the rows of
/// those before. A bucket with a correction waits for what the book says of the reap that it adds to.
void LedgerSync::take_events(RedisLink& redis, pqxx::transaction_base& transaction, std::vector<LockedBucket>& buckets,
                             const ReplicationIds& ids, EventBatch& batch) const {
    for (const LockedBucket& bucket : buckets) {
        redis.append({"XRANGE", bucket_key(bucket.bucket, "events"), stream_id(bucket.last_bseq + 1), "+", "COUNT",
                      std::to_string(share_[bucket.bucket])});
    }
    struct Waiting {
        RedisReply entries;
        std::vector<BookedEvent> events;
    };
    std::vector<Waiting> waiting;
    std::vector<std::string> corrections;
    std::string refused;
    EventCopy copy(transaction);
    for (LockedBucket& bucket : buckets) {
        RedisReply entries = redis.next_of_any();
        if (entries->type != REDIS_REPLY_ARRAY) {
            refused = entries->type == REDIS_REPLY_ERROR ? entries->str : "no array";
            continue;
        }
        bucket.read = true;
        auto events = consecutive_events(bucket.bucket, bucket.last_bseq, *entries);
        if (events.empty()) continue;
        bucket.last_bseq = events.back().bseq;
        const std::size_t corrections_before = corrections.size();
        for (const BookedEvent& event : events) {
            if (event.event.kind == EventKind::correction) corrections.emplace_back(event.event.request);
        }
        if (corrections.size() > corrections_before) {
            waiting.push_back({std::move(entries), std::move(events)});
            continue;
        }
        add_all(events, batch);
        copy.write(batch);
    }
    copy.complete();
    // Only of a server that was the same before and after: else its events may be those of an abandoned master.
    const ReplicationIds now = redis.replication_ids();
    for (const LockedBucket& bucket : buckets) {
        if (bucket.read && now[bucket.bucket] != ids[bucket.bucket]) {
            throw RedisUnavailable("redis: the master changed while events were read");
        }
    }
    batch.know_reaped(read_reaped(transaction, corrections));
    for (const Waiting& bucket : waiting) add_all(bucket.events, batch);
    if (batch.size() == 0 && !refused.empty()) throw RedisError("XRANGE: " + refused);
}

/// One transaction. Touches nothing of this object, which another one of the same turn uses as well.
LedgerSync::Booking LedgerSync::book_events(RedisLink& redis, const std::vector<Bucket>& buckets) const {
    Booking booking;
    auto connection = postgres_.acquire();
    pqxx::work transaction(*connection);
    const ReplicationIds ids = redis.replication_ids();
    if (ids == ReplicationIds{}) throw RedisUnavailable("redis: the server is a replica");
    booking.buckets = lock_positions(transaction, buckets, ids);
    if (booking.buckets.empty()) return booking;
    EventBatch batch;
    take_events(redis, transaction, booking.buckets, ids, batch);
    if (batch.size() == 0) return booking;

    booking.totals = book_batch(transaction, batch);
    booking.charged = resolve_lates(transaction, batch.lates());
    transaction.exec_params(
        "update stream_positions p set last_bseq = x.last_bseq "
        "from unnest($1::smallint[], $2::bigint[]) as x (bucket, last_bseq) "
        "where p.bucket = x.bucket and p.last_bseq <> x.last_bseq",
        pg_integers(booking.buckets, [](const LockedBucket& locked) { return std::int64_t{locked.bucket}; }),
        pg_integers(booking.buckets, [](const LockedBucket& locked) { return locked.last_bseq; }));
    transaction.commit();
    booking.events = batch.size();
    booking.oldest_at_ms = batch.oldest_at_ms();
    return booking;
}

DrainResult LedgerSync::note(const Booking& booking) {
    for (const LockedBucket& bucket : booking.buckets) {
        position_[bucket.bucket] = bucket.last_bseq;
        if (bucket.read) stands_still_.erase(bucket.bucket);
    }
    live_.changed(booking.totals);
    for (AccountId account : booking.charged) book_.send_pending_money(account);
    DrainResult result;
    result.events = booking.events;
    result.oldest_at_ms = booking.oldest_at_ms;
    return result;
}

/// Each of `turns` in a transaction of its own, both at the same time. What one of them booked is noted, whatever the
/// other one met; an error is thrown if nothing was booked, and comes again else.
DrainResult LedgerSync::book_at_once(const std::vector<std::vector<Bucket>>& turns) {
    std::array<Booking, kTransactionsAtOnce> bookings;
    std::array<std::exception_ptr, kTransactionsAtOnce> errors;
    const auto book = [&](std::size_t turn, RedisLink& redis) {
        try {
            bookings[turn] = book_events(redis, turns[turn]);
        } catch (...) {
            errors[turn] = std::current_exception();
            if (redis.outstanding() > 0) redis.drop();
        }
    };
    std::thread second;
    if (turns.size() > 1) second = std::thread([&] { book(1, second_redis_); });
    book(0, redis_);
    if (second.joinable()) second.join();

    DrainResult all;
    for (const Booking& booking : bookings) all.add(note(booking));
    std::exception_ptr failure;
    for (std::size_t turn = 0; turn < turns.size(); ++turn) {
        if (!errors[turn]) continue;
        try {
            std::rethrow_exception(errors[turn]);
        } catch (const LedgerAlarm& alarm) {
            all.add(book_each(turns[turn], alarm.what()));
        } catch (const pqxx::integrity_constraint_violation& clash) {
            all.add(book_each(turns[turn], clash.what()));
        } catch (...) {
            failure = std::current_exception();
        }
    }
    if (failure) positions_known_ = false;
    if (failure && all.events == 0) std::rethrow_exception(failure);
    return all;
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
        const DrainResult one = [&] {
            try {
                return note(book_events(redis_, {bucket}));
            } catch (const LedgerAlarm& alarm) {
                return book_each({bucket}, alarm.what());
            } catch (const pqxx::integrity_constraint_violation& clash) {
                return book_each({bucket}, clash.what());
            }
        }();
        all.add(one);
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
        const std::vector<std::vector<Bucket>> turns = choose(there);
        std::size_t chosen = 0;
        for (const std::vector<Bucket>& buckets : turns) chosen += buckets.size();
        DrainResult result = book_at_once(turns);
        result.full = result.events >= most_events_ * turns.size() || chosen < there.size();
        // Somebody else drained them, or the buckets await their reconciliation. If there are others, it is their turn
        // now.
        result.woken_for_nothing = result.events == 0 && chosen == there.size();
        if (result.events == 0) positions_known_ = false;
        return result;
    } catch (...) {
        positions_known_ = false;
        if (redis_.outstanding() > 0) redis_.drop();
        throw;
    }
}

}  // namespace lumen::admind
