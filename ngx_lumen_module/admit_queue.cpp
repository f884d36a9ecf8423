#include "ngx_lumen_module/admit_queue.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"

namespace lumen {

/// Who waits for the lines of one call's reply.
struct AdmitBatch {
    struct Waiting {
        AdmitPlace* place = nullptr;  ///< null: the owner has left
        RedisCallback callback = nullptr;
        void* owner = nullptr;
    };
    std::array<Waiting, AdmitCall::kMostAdmits> waiting;
    std::size_t count = 0;
};

namespace {

struct AdmitQueue {
    ngx_msec_t timeout_ms = 0;
    /// As many as calls were ever under way at once, which redis_client bounds.
    std::vector<std::unique_ptr<AdmitBatch>> batches;
    std::vector<AdmitBatch*> idle;
    std::vector<AdmitBatch*> unsent;                               ///< refused by the client; answered by the loop
    AdmitBatch* open = nullptr;                                    ///< takes the admits of this turn
    std::array<AdmitArguments, AdmitCall::kMostAdmits> arguments;  // of the open batch
    std::array<Blob, AdmitCall::kMostAdmits> blobs;                // which `arguments` point into
    ngx_event_t flush{};                                           ///< posted: the turn is over
    ngx_connection_t dummy{};  ///< nginx's event log handler wants a connection behind `data`
};
AdmitQueue* queue = nullptr;

AdmitBatch& open_batch() {
    if (queue->open != nullptr) return *queue->open;
    if (queue->idle.empty()) {
        queue->batches.push_back(std::make_unique<AdmitBatch>());
        queue->idle.push_back(queue->batches.back().get());
    }
    queue->open = queue->idle.back();
    queue->idle.pop_back();
    return *queue->open;
}

/// Each owner gets its line. It may make others of the batch leave, or ask for admits anew: those are in another batch.
void answer(AdmitBatch& batch, RedisResult result, std::string_view text) {
    for (std::size_t i = 0; i < batch.count; ++i) {
        const std::string_view line = result == RedisResult::reply ? next_reply_line(text) : text;
        const AdmitBatch::Waiting waiting = std::exchange(batch.waiting[i], {});
        if (waiting.place == nullptr) continue;
        *waiting.place = {};
        waiting.callback(waiting.owner, result, line);
    }
    batch.count = 0;
    queue->idle.push_back(&batch);
}

void on_reply(void* owner, RedisResult result, std::string_view text) {
    answer(*static_cast<AdmitBatch*>(owner), result, text);
}

/// Whose owner left before anything was sent is not asked for.
void drop_left(AdmitBatch& batch) noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < batch.count; ++i) {
        if (batch.waiting[i].place == nullptr) continue;
        batch.waiting[kept] = batch.waiting[i];
        batch.waiting[kept].place->at = kept;
        queue->arguments[kept] = queue->arguments[i];
        ++kept;
    }
    batch.count = kept;
}

/// Never answers by itself: it may run inside the handler of one of the requests that would be answered.
void send_open() {
    AdmitBatch* const batch = std::exchange(queue->open, nullptr);
    if (batch == nullptr) return;
    drop_left(*batch);
    if (batch->count == 0) {
        queue->idle.push_back(batch);
        return;
    }
    AdmitCall call(queue->arguments.data(), batch->count);
    if (redis_send(RedisLane::requests, call, queue->timeout_ms, on_reply, batch) == nullptr) {
        queue->unsent.push_back(batch);
        ngx_post_event(&queue->flush, &ngx_posted_events);
    }
}

void answer_unsent() {
    while (!queue->unsent.empty()) {
        AdmitBatch& batch = *queue->unsent.back();
        queue->unsent.pop_back();
        answer(batch, RedisResult::not_sent, {});
    }
}

void on_turn_over(ngx_event_t* event) {
    guarded_void(event->log, "admits of a turn", [] {
        send_open();
        answer_unsent();
    });
}

}  // namespace

ngx_int_t admit_queue_init(ngx_cycle_t* cycle) {
    const MainConf* conf = main_conf(static_cast<const ngx_cycle_t*>(cycle));
    queue = new AdmitQueue;
    queue->timeout_ms = conf->redis_timeout_ms;
    queue->dummy.fd = static_cast<ngx_socket_t>(-1);
    queue->flush.handler = on_turn_over;
    queue->flush.data = &queue->dummy;
    queue->flush.log = cycle->log;
    return NGX_OK;
}

void admit_queue_exit() noexcept {
    if (queue == nullptr) return;
    if (queue->flush.posted) {
        ngx_delete_posted_event(&queue->flush);
    }
    delete std::exchange(queue, nullptr);
}

bool send_admit(AdmitPlace& place, const AdmitArguments& arguments, RedisCallback callback, void* owner) {
    if (queue == nullptr || !redis_up(RedisLane::requests)) return false;
    // A call to a Cluster stays in one bucket.
    const bool elsewhere =
        redis_clustered() && queue->open != nullptr && queue->open->count > 0 &&
        account_bucket(queue->arguments[0].identity.account) != account_bucket(arguments.identity.account);
    if (elsewhere) send_open();
    AdmitBatch& batch = open_batch();
    const std::size_t at = batch.count++;
    batch.waiting[at] = {&place, callback, owner};
    place = {&batch, at};
    Blob& blob = queue->blobs[at];
    blob.length = arguments.blob.copy(blob.text.data(), blob.text.size());
    queue->arguments[at] = arguments;
    queue->arguments[at].blob = blob.view();
    if (batch.count == AdmitCall::kMostAdmits) {
        send_open();
    } else {
        ngx_post_event(&queue->flush, &ngx_posted_events);
    }
    return true;
}

void leave(AdmitPlace& place) noexcept {
    if (place.batch == nullptr || queue == nullptr) return;
    place.batch->waiting[place.at].place = nullptr;
    place = {};
}

}  // namespace lumen
