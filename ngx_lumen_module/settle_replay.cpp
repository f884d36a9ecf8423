#include "ngx_lumen_module/settle_replay.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <optional>
#include <string>

#include "lumen_core/account_bucket.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/redis_nodes.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/settle_queue.h"

namespace lumen {
namespace {

constexpr std::int64_t kLookPeriodMs = 900;  // less than the tick, so that a late tick does not skip a second
/// The clock runs only between looks that follow each other this closely: what lay in a longer gap was not seen.
constexpr std::int64_t kLongestStepMs = 2'000;
/// A bucket is looked at while some worker said so this recently.
constexpr std::int64_t kWantedForMs = 5'000;
/// SETTLED slots given up per tick when another worker found the ring full.
constexpr int kDropWhenPressed = 256;

struct Kept {
    RingSlot slot;
    Bucket bucket = 0;
    std::uint64_t token = 0;
    std::int64_t settled_at_ms = 0;  ///< the bucket's ready clock at the acknowledgement
    std::int64_t acked_ms = 0;       ///< Unix ms
};

struct Replay {
    std::int64_t replay_ms = 0;
    std::deque<Kept> kept;  ///< oldest first
    // The look under way: of each server INFO first, then one HGET a bucket, in one pipeline and so in this order.
    struct Asked {
        Bucket bucket = 0;
        std::string* master_replid = nullptr;
    };
    std::array<std::string, kMostNodes> master_replids;
    std::array<Asked, kBuckets> asked{};
};
Replay* replay = nullptr;

/// FNV-1a by words of eight bytes; a token is compared, never shown, so 64 bits of it do. Never 0, which means unknown.
std::uint64_t hash_token(std::string_view token) noexcept {
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    while (!token.empty()) {
        std::uint64_t word = 0;
        const std::size_t bytes = std::min(token.size(), sizeof word);
        std::memcpy(&word, token.data(), bytes);
        token.remove_prefix(bytes);
        hash = (hash ^ word) * 0x100000001B3ULL;
        hash ^=
            hash >> 32U;  // the product's high bits, which know of all of the word, to where the next one is mixed in
    }
    return hash | 1;
}

/// How far the clock has come since the last look, or would have, had it not stood still.
std::int64_t step_since(std::int64_t last_look_ms, std::int64_t now_ms) noexcept {
    const std::int64_t gap = now_ms - last_look_ms;
    return last_look_ms != 0 && gap > 0 && gap <= kLongestStepMs ? gap : 0;
}

void on_info(void* owner, RedisResult result, std::string_view text) {
    guarded_void(ngx_cycle->log, "ready look", [&] {
        if (replay == nullptr) return;
        std::string& master_replid = *static_cast<std::string*>(owner);
        master_replid.clear();
        constexpr std::string_view kField = "master_replid:";
        const std::size_t at = result == RedisResult::reply ? text.find(kField) : std::string_view::npos;
        if (at != std::string_view::npos) master_replid = text.substr(at + kField.size(), 40);
    });
}

void on_ready(void* owner, RedisResult result, std::string_view token) {
    if (replay == nullptr || worker_ring() == nullptr) return;
    const Replay::Asked& asked = *static_cast<const Replay::Asked*>(owner);
    BucketReady& ready = worker_ring()->bucket(asked.bucket);
    // A mark that belongs to another server's history (after a restart or failover) is not ready, whatever it says.
    const std::string& replid = *asked.master_replid;
    const bool good = result == RedisResult::reply && replid.size() == 40 && token.substr(0, 40) == replid;
    if (!good) {
        ready.last_look_ms = 0;
        return;
    }
    const std::int64_t now = unix_ms();
    const std::uint64_t seen = hash_token(token);
    if (ready.token != seen) {
        ready.token = seen;
    } else {
        ready.clock_ms += step_since(ready.last_look_ms, now);
    }
    ready.last_look_ms = now;
}

void look(std::int64_t now, ngx_msec_t redis_timeout_ms) {
    RingFile& ring = *worker_ring();
    if (!redis_up(RedisLane::settles) || !ring.claim_look(now, kLookPeriodMs)) return;
    constexpr std::string_view kInfo[] = {"INFO", "replication"};
    std::array<bool, kMostNodes> asked_info{};
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        if (now - ring.bucket(bucket).wanted_ms > kWantedForMs) continue;
        const std::string meta = bucket_key(bucket, "meta");
        const std::size_t node = redis_node_of(RedisLane::settles, bucket);
        std::string* const master_replid = &replay->master_replids[node];
        if (!asked_info[node]) {
            asked_info[node] =
                redis_command(RedisLane::settles, kInfo, 2, redis_timeout_ms, on_info, master_replid, meta) != nullptr;
        }
        if (!asked_info[node]) continue;
        replay->asked[bucket] = {bucket, master_replid};
        const std::string_view get[] = {"HGET", meta, "ready"};
        redis_command(RedisLane::settles, get, 3, redis_timeout_ms, on_ready, &replay->asked[bucket]);
    }
}

enum class Fate { keep, free, send_again };

Fate fate_of(const Kept& kept, BucketReady& ready) noexcept {
    const std::int64_t last_look = ready.last_look_ms;
    if (last_look == 0 || last_look < kept.acked_ms) return Fate::keep;  // the clock stands still
    if (ready.token != kept.token) return Fate::send_again;
    return ready.clock_ms - kept.settled_at_ms >= replay->replay_ms ? Fate::free : Fate::keep;
}

void send_again(const Kept& kept) {
    const std::optional<RingRecord> record = worker_ring()->read(kept.slot);
    if (!record) return;
    ++settle_counts().replayed;
    enqueue_settle(kept.slot, *record);
}

}  // namespace

void replay_init(std::int64_t replay_ms) {
    replay = new Replay;
    replay->replay_ms = replay_ms;
}

void replay_exit() noexcept {
    delete replay;
    replay = nullptr;
}

void keep_settled(RingSlot slot, RingRecord record, std::string_view token) noexcept {
    RingFile& ring = *worker_ring();
    if (replay->replay_ms == 0) {
        ring.release(slot);
        return;
    }
    const Bucket bucket = account_bucket(record.account);
    BucketReady& ready = ring.bucket(bucket);
    const std::int64_t now = unix_ms();
    record.token = hash_token(token);
    // The clock as it will be seen by the next look: what has passed since the last one does not count for this slot.
    record.settled_at_ms = ready.clock_ms + step_since(ready.last_look_ms, now);
    ring.write(slot, SlotState::settled, record);
    ready.wanted_ms = now;
    replay->kept.push_back({slot, bucket, record.token, record.settled_at_ms, now});
}

void adopt_settled(RingSlot slot, const RingRecord& record) noexcept {
    const Bucket bucket = account_bucket(record.account);
    // When it was acknowledged is not known; from now on it is judged by looks only.
    replay->kept.push_back({slot, bucket, record.token, record.settled_at_ms, unix_ms()});
}

bool drop_oldest_settled() noexcept {
    if (replay->kept.empty()) return false;
    worker_ring()->release(replay->kept.front().slot);
    worker_ring()->count_shrunk();
    replay->kept.pop_front();
    return true;
}

void replay_tick(ngx_msec_t redis_timeout_ms) noexcept {
    RingFile& ring = *worker_ring();
    const std::int64_t now = unix_ms();
    if (ring.pressed(now)) {
        for (int i = 0; i < kDropWhenPressed && drop_oldest_settled(); ++i) {
        }
    }
    // A slot that is sent again joins the end after its next answer, so one pass over what is there now is enough.
    for (std::size_t left = replay->kept.size(); left > 0; --left) {
        const Kept kept = replay->kept.front();
        replay->kept.pop_front();
        BucketReady& ready = ring.bucket(kept.bucket);
        switch (fate_of(kept, ready)) {
            case Fate::keep:
                ready.wanted_ms = now;
                replay->kept.push_back(kept);
                break;
            case Fate::free:
                ring.release(kept.slot);
                break;
            case Fate::send_again:
                send_again(kept);
        }
    }
    look(now, redis_timeout_ms);
}

std::size_t settled_kept() noexcept {
    return replay != nullptr ? replay->kept.size() : 0;
}

std::int64_t oldest_settled_ms() noexcept {
    return replay != nullptr && !replay->kept.empty() ? replay->kept.front().acked_ms : 0;
}

}  // namespace lumen
