#include "ngx_lumen_module/settle_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "lumen_core/account_bucket.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/settle_replay.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

/// Calls sent and not answered, of up to SettleCall::kMostSettles each: enough to fill a pipeline, little enough to be
/// sent again quickly. What comes while all are under way goes together in the next one.
constexpr std::size_t kMaxCalls = 8;
constexpr ngx_msec_t kTickMs = 1000;
/// A bucket that answered NOTREADY or an error is asked again with one settle, after a pause that doubles.
constexpr std::int64_t kFirstPauseMs = 100;
constexpr std::int64_t kLongestPauseMs = 2'000;
constexpr ngx_msec_t kProbeTimerMs = 100;
/// A worker that is told to finish waits this long for answers; what is left is recovered from the ring.
constexpr ngx_msec_t kFinishMs = 2'000;

/// Settles on their way in one call.
struct Batch {
    std::array<RingSlot, SettleCall::kMostSettles> slots;
    std::array<Bucket, SettleCall::kMostSettles> buckets{};
    std::array<RingRecord, SettleCall::kMostSettles> records{};
    std::size_t count = 0;
};

/// Slots of a bucket that cannot be settled in for the moment.
struct WaitingBucket {
    std::deque<RingSlot> slots;
    std::int64_t until_ms = 0;  ///< > 0: paused; one probe is due then
    std::int64_t pause_ms = 0;
};

struct SettleQueue {
    ngx_cycle_t* cycle = nullptr;
    std::string dead_letter_path;
    ngx_msec_t redis_timeout_ms = 0;
    std::deque<RingSlot> to_send;
    std::deque<RingSlot> to_send_alone;  ///< of a call that failed: one of them may be what Redis cannot do
    std::array<WaitingBucket, kBuckets> waiting;
    std::size_t waiting_slots = 0;
    std::array<Batch, kMaxCalls> batches;
    std::vector<Batch*> idle;
    SettleCounts counts;
    ngx_event_t tick{};
    ngx_event_t probe{};
    ngx_event_t flush{};       ///< posted: what one turn of the event loop settles goes together
    ngx_event_t finish{};      ///< not cancelable: it is what holds back a graceful exit (T56)
    ngx_connection_t dummy{};  ///< nginx's event log handler wants a connection behind `data`
};
SettleQueue* queue = nullptr;

ngx_log_t* log() noexcept {
    return queue->cycle->log;
}

void pump() noexcept;

void settled_one() noexcept {
    --queue->counts.unsettled;
    if (queue->counts.unsettled == 0 && queue->finish.timer_set) {
        ngx_del_timer(&queue->finish);
    }
}

void pause_bucket(Bucket bucket) noexcept {
    WaitingBucket& waiting = queue->waiting[bucket];
    if (waiting.until_ms > unix_ms()) return;  // another settle of the same call
    waiting.pause_ms = waiting.pause_ms == 0 ? kFirstPauseMs : std::min(2 * waiting.pause_ms, kLongestPauseMs);
    const auto jitter = static_cast<std::int64_t>(ngx_random()) % (waiting.pause_ms / 4 + 1);
    waiting.until_ms = unix_ms() + waiting.pause_ms + jitter;
    if (!queue->probe.timer_set) {
        ngx_add_timer(&queue->probe, kProbeTimerMs);
    }
}

void wait_for_bucket(RingSlot slot, Bucket bucket) noexcept {
    queue->waiting[bucket].slots.push_back(slot);
    ++queue->waiting_slots;
}

/// A record whose money Redis will never accept: kept for a person, in a file of its own.
bool write_dead_letter(const RingRecord& record) {
    std::string line =
        "{\"request\":\"" + std::string(record.request.view()) + "\",\"account\":" + std::to_string(record.account) +
        ",\"key\":" + std::to_string(record.key) + ",\"cost\":\"" + std::to_string(record.cost.nano()) +
        "\",\"tokens\":" + std::to_string(record.tokens) + ",\"void\":" + (record.is_void ? "true" : "false") +
        ",\"record\":\"" + std::string(encode_usage_record(record.usage).view()) + "\"}\n";
    const int fd = open(queue->dead_letter_path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    const bool written = write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && fsync(fd) == 0;
    close(fd);
    return written;
}

void out_of_range(RingSlot slot, Bucket bucket, const RingRecord& record) {
    ngx_log_error(NGX_LOG_ALERT, log(), 0,
                  "lumen: settle refused as out of range: request=%*s account=%L key=%L cost=%L; written to %s",
                  record.request.text.size(), record.request.text.data(), static_cast<std::int64_t>(record.account),
                  static_cast<std::int64_t>(record.key), record.cost.nano(), queue->dead_letter_path.c_str());
    if (!write_dead_letter(record)) {
        ngx_log_error(NGX_LOG_ALERT, log(), ngx_errno, "lumen: %s cannot be written; the settle stays in the ring",
                      queue->dead_letter_path.c_str());
        pause_bucket(bucket);
        wait_for_bucket(slot, bucket);
        return;
    }
    ++queue->counts.dead_letters;
    worker_ring()->release(slot);
    settled_one();
}

/// The answer to one settle.
void take_answer(RingSlot slot, Bucket bucket, const RingRecord& record, std::string_view text) {
    const LedgerReply reply = parse_reply(Script::settle, text);
    switch (reply.reply) {
        case Reply::ok:
        case Reply::dup:
        case Reply::none:
        case Reply::late:
            keep_settled(slot, record, reply.token);
            settled_one();
            resume_bucket(bucket);
            break;
        case Reply::range:
            out_of_range(slot, bucket, record);
            break;
        default:
            if (reply.reply != Reply::not_ready) {
                ngx_log_error(NGX_LOG_ERR, log(), 0, "lumen: settle answered \"%*s\"; it will be sent again",
                              std::min<std::size_t>(text.size(), 200), text.data());
            }
            pause_bucket(bucket);
            wait_for_bucket(slot, bucket);
    }
}

void take_reply(const Batch& sent, RedisResult result, std::string_view text) {
    if (result == RedisResult::unavailable && redis_clustered()) {
        // One node is away, or one slot on the move: the others' settles must not wait behind it.
        for (std::size_t i = 0; i < sent.count; ++i) {
            pause_bucket(sent.buckets[i]);
            wait_for_bucket(sent.slots[i], sent.buckets[i]);
        }
        return;
    }
    if (result == RedisResult::unavailable) {
        // Sent again once connected; Redis knows by the request ids what it has of them.
        queue->to_send.insert(queue->to_send.begin(), sent.slots.begin(), sent.slots.begin() + sent.count);
        return;
    }
    if (result == RedisResult::error && sent.count > 1) {
        queue->to_send_alone.insert(queue->to_send_alone.end(), sent.slots.begin(), sent.slots.begin() + sent.count);
        return;
    }
    for (std::size_t i = 0; i < sent.count; ++i) {
        take_answer(sent.slots[i], sent.buckets[i], sent.records[i], next_reply_line(text));
    }
}

void on_reply(void* owner, RedisResult result, std::string_view text) {
    guarded_void(log(), "settle reply", [&] {
        auto* sent = static_cast<Batch*>(owner);
        queue->idle.push_back(sent);
        take_reply(*sent, result, text);
        pump();
    });
}

void set_aside_torn() noexcept {
    ++queue->counts.torn;
    settled_one();
    ngx_log_error(NGX_LOG_ALERT, log(), 0,
                  "lumen: a slot of the ring does not match its checksum; it is kept and never settled");
}

/// A call's arguments, and what they point into.
struct Settles {
    std::array<SettleArguments, SettleCall::kMostSettles> arguments;
    std::array<Blob, SettleCall::kMostSettles> blobs;
};

void add(Batch& batch, Settles& settles, RingSlot slot, const RingRecord& record, Bucket bucket) {
    Blob& blob = settles.blobs[batch.count];
    blob = encode_usage_record(record.usage);
    SettleArguments& arguments = settles.arguments[batch.count];
    arguments.request = record.request;
    arguments.account = record.account;
    arguments.key = record.key;
    arguments.cost = record.cost;
    arguments.tokens = record.tokens;
    arguments.is_void = record.is_void;
    arguments.blob = blob.view();
    batch.slots[batch.count] = slot;
    batch.buckets[batch.count] = bucket;
    batch.records[batch.count] = record;
    ++batch.count;
}

/// Of a Cluster, a call's settles are of one bucket; the others' that are met on the way keep their places.
constexpr std::size_t kMostPassedBy = 64;

/// Moves what can be settled now from a queue into the batch, until that has `most`.
void gather(std::deque<RingSlot>& from, std::size_t most, Batch& batch, Settles& settles) {
    std::array<RingSlot, kMostPassedBy> passed_by;
    std::size_t passed = 0;
    while (!from.empty() && batch.count < most && passed < kMostPassedBy) {
        const RingSlot slot = from.front();
        from.pop_front();
        const std::optional<RingRecord> record = worker_ring()->read(slot);
        if (!record) {
            set_aside_torn();
            continue;
        }
        const Bucket bucket = account_bucket(record->account);
        if (queue->waiting[bucket].until_ms > unix_ms()) {
            wait_for_bucket(slot, bucket);
        } else if (batch.count > 0 && batch.buckets[0] != bucket && redis_clustered()) {
            passed_by[passed++] = slot;
        } else {
            add(batch, settles, slot, *record, bucket);
        }
    }
    from.insert(from.begin(), passed_by.begin(), passed_by.begin() + passed);
}

/// False: nothing was sent, as there is nothing or Redis is not there.
bool send_some() {
    Settles settles;
    Batch& batch = *queue->idle.back();
    batch.count = 0;
    gather(queue->to_send_alone, 1, batch, settles);
    if (batch.count == 0) gather(queue->to_send, SettleCall::kMostSettles, batch, settles);
    if (batch.count == 0) return false;
    SettleCall call(settles.arguments.data(), batch.count);
    if (redis_send(RedisLane::settles, call, 0, on_reply, &batch) == nullptr) {
        take_reply(batch, RedisResult::unavailable, {});
        return redis_clustered();  // the next one may be for a node that is there
    }
    queue->idle.pop_back();
    return true;
}

void pump() noexcept {
    while (!queue->idle.empty() && redis_up(RedisLane::settles) && send_some()) {
    }
}

void flush(ngx_event_t*) {
    guarded_void(log(), "settle flush", [] { pump(); });
}

/// Sends one slot of each bucket whose pause is over: its answer decides about the others.
void probe_paused(ngx_event_t*) {
    guarded_void(log(), "settle probe", [] {
        const std::int64_t now = unix_ms();
        for (WaitingBucket& waiting : queue->waiting) {
            if (waiting.slots.empty() || waiting.until_ms > now) continue;
            queue->to_send.push_back(waiting.slots.front());
            waiting.slots.pop_front();
            --queue->waiting_slots;
            waiting.until_ms = 0;
        }
        pump();
        if (queue->waiting_slots > 0) ngx_add_timer(&queue->probe, kProbeTimerMs);
    });
}

void recover_slot(RingSlot slot) {
    std::optional<RingRecord> record = worker_ring()->read(slot);
    if (!record) return;
    switch (worker_ring()->state(slot)) {
        case SlotState::admitting:
            record->is_void = true;
            break;
        case SlotState::running:
            // An endpoint is written down before it is asked: without one the request reached no model (I5).
            record->is_void = record->usage.endpoint == 0;
            record->usage.source = record->cost.nano() > 0 ? UsageSource::estimated : UsageSource::none;
            break;
        case SlotState::settled:
            adopt_settled(slot, *record);
            return;
        default:
            ++queue->counts.unsettled;
            enqueue_written(slot);
            return;
    }
    enqueue_settle(slot, *record);
}

void recover_dead_workers() {
    const RingFile::Recovered found = worker_ring()->recover();
    for (std::size_t worker : found.dead_workers) forget_worker(worker);
    for (RingSlot slot : found.slots) recover_slot(slot);
    queue->counts.recovered += found.slots.size();
    queue->counts.torn += found.torn;
    if (!found.slots.empty()) {
        ngx_log_error(NGX_LOG_WARN, log(), 0, "lumen: %uz requests of workers that ended are being settled",
                      found.slots.size());
    }
    if (found.torn > 0) {
        ngx_log_error(NGX_LOG_ALERT, log(), 0,
                      "lumen: %uz slots of the ring do not match their checksums; they are kept and never settled",
                      found.torn);
    }
}

void tick(ngx_event_t*) {
    guarded_void(log(), "settle tick", [] {
        recover_dead_workers();
        replay_tick(queue->redis_timeout_ms);
        pump();
        worker_ring()->publish_load({queue->counts.unsettled, settled_kept(), oldest_settled_ms()});
    });
    ngx_add_timer(&queue->tick, kTickMs);
}

void finish(ngx_event_t*) {
    if (!ngx_exiting && queue->counts.unsettled > 0) ngx_add_timer(&queue->finish, kFinishMs);
}

void set_timer(ngx_event_t& event, void (*handler)(ngx_event_t*), bool cancelable) noexcept {
    event.handler = handler;
    event.log = log();
    event.data = &queue->dummy;
    event.cancelable = cancelable ? 1 : 0;
}

void on_connected() {
    guarded_void(log(), "settle connected", [] { pump(); });
}

}  // namespace

ngx_int_t settle_queue_init(ngx_cycle_t* cycle) {
    const MainConf* conf = main_conf(static_cast<const ngx_cycle_t*>(cycle));
    queue = new SettleQueue;
    queue->cycle = cycle;
    queue->dead_letter_path = std::string(view(conf->ring_path)) + ".dead-letters";
    queue->redis_timeout_ms = conf->redis_timeout_ms;
    queue->dummy.fd = static_cast<ngx_socket_t>(-1);
    for (Batch& batch : queue->batches) queue->idle.push_back(&batch);
    replay_init(static_cast<std::int64_t>(conf->replay_ms));
    set_timer(queue->tick, tick, true);
    set_timer(queue->probe, probe_paused, true);
    set_timer(queue->finish, finish, false);
    set_timer(queue->flush, flush, true);
    redis_on_connected(RedisLane::settles, on_connected);
    ngx_add_timer(&queue->tick, 1);  // what was left by the last run is recovered at once
    return NGX_OK;
}

void settle_queue_exit() noexcept {
    if (queue == nullptr) return;
    // No detaching: the event loop is over, and redis_exit_process calls nobody back.
    for (ngx_event_t* event : {&queue->tick, &queue->probe, &queue->finish}) {
        if (event->timer_set) {
            ngx_del_timer(event);
        }
    }
    if (queue->flush.posted) {
        ngx_delete_posted_event(&queue->flush);
    }
    replay_exit();
    delete queue;
    queue = nullptr;
}

RingSlot take_slot(const RingRecord& record) noexcept {
    RingFile* ring = worker_ring();
    if (ring == nullptr || queue == nullptr) return {};
    if (const RingSlot slot = ring->reserve(record, unix_ms())) return slot;
    if (!drop_oldest_settled()) return {};
    return ring->reserve(record, unix_ms());
}

void enqueue_settle(RingSlot slot, const RingRecord& record) noexcept {
    worker_ring()->write(slot, SlotState::settle, record);
    ++queue->counts.unsettled;
    enqueue_written(slot);
}

void enqueue_written(RingSlot slot) noexcept {
    queue->to_send.push_back(slot);
    if (!queue->finish.timer_set && !ngx_exiting) {
        ngx_add_timer(&queue->finish, kFinishMs);
    }
    ngx_post_event(&queue->flush, &ngx_posted_events);
}

void resume_bucket(Bucket bucket) noexcept {
    WaitingBucket& waiting = queue->waiting[bucket];
    waiting.until_ms = 0;
    waiting.pause_ms = 0;
    queue->waiting_slots -= waiting.slots.size();
    for (RingSlot slot : waiting.slots) queue->to_send.push_back(slot);
    waiting.slots.clear();
}

SettleCounts& settle_counts() noexcept {
    static SettleCounts none;
    return queue != nullptr ? queue->counts : none;
}

}  // namespace lumen
