#include "ngx_lumen_module/settle.h"

#include <algorithm>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/hold_size.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/settle_queue.h"
#include "ngx_lumen_module/settle_ring.h"
#include "ngx_lumen_module/shared_zone.h"
#include "ngx_lumen_module/usage_filter.h"

namespace lumen {
namespace {

constexpr ngx_msec_t kFirstRenewalMs = 2'000;
constexpr ngx_msec_t kRenewalMs = 20'000;
/// A renewal that got no answer is repeated soon: the hold lives 90 s, and a strict stream may be waiting for it.
constexpr ngx_msec_t kRenewalRetryMs = 500;
/// A strict stream that waits for a renewal is given up after this.
constexpr std::int64_t kLongestWaitMs = 10'000;

std::uint32_t clamp_ms(std::int64_t us) noexcept {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(us / 1000, 0, UINT32_MAX));
}

std::uint32_t ttft_ms(const Request& request) noexcept {
    return request.first_byte_us != 0 ? clamp_ms(request.first_byte_us - request.began_us) : 0;
}

/// Monotonic, of when this turn of the event loop began: for what is looked at in each chunk.
std::int64_t turn_us() noexcept {
    return static_cast<std::int64_t>(ngx_current_msec) * 1'000;
}

std::uint16_t final_status(const Request& request) noexcept {
    const ngx_uint_t status = request.r->headers_out.status;
    if (request.metering.client_gone || request.r->connection->error || status == 0) {
        return NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
    return static_cast<std::uint16_t>(status);
}

RingRecord record_of(const Request& request) noexcept {
    RingRecord record;
    record.request = request.id;
    record.account = request.identity.account;
    record.key = request.identity.key;
    record.cost = request.cost;
    const Usage& usage = request.metering.usage;
    record.tokens = usage.input_tokens + usage.output_tokens;
    record.usage.model = request.model != nullptr ? request.model->id : 0;
    record.usage.endpoint = request.routing.endpoint != nullptr ? request.routing.endpoint->id : 0;
    record.usage.price = request.price != nullptr ? request.price->id : 0;
    record.usage.usage = usage;
    record.usage.duration_ms = clamp_ms(monotonic_us() - request.began_us);
    record.usage.ttft_ms = ttft_ms(request);
    record.usage.source = request.metering.source;
    record.usage.status = request.metering.upstream_status;
    return record;
}

/// lumen_coins_held follows the hold from admit over renewals to the settle.
void count_hold(Request& request, NanoCoins hold) noexcept {
    if (worker_ring() == nullptr) return;
    count_held(worker_ring()->worker(), NanoCoins(hold.nano() - request.hold_counted.nano()));
    request.hold_counted = hold;
}

void hand_over(Request& request, const RingRecord& record) noexcept {
    cancel_renewals(request);
    count_hold(request, NanoCoins(0));
    enqueue_settle(request.slot, record);
    request.slot = {};
}

void renew(Request& request);

void on_renew_timer(ngx_event_t* event) {
    auto& request = *static_cast<Request*>(event->data);
    ngx_connection_t* connection = request.r->connection;
    guarded_void(connection->log, "renew timer", [&] { renew(request); });
    ngx_http_run_posted_requests(connection);  // the request may be gone
}

void renew_in(Request& request, ngx_msec_t delay_ms) {
    if (request.stage != Stage::running) return;
    if (!request.renew_timer) {
        request.renew_timer = make_in_pool<RequestTimer>(request.r->pool);
        ngx_event_t& timer = request.renew_timer->event;
        timer.handler = on_renew_timer;
        timer.data = &request;
        timer.log = request.r->connection->log;
        timer.cancelable = 1;  // the request itself keeps a finishing worker alive (T56)
    }
    ngx_add_timer(&request.renew_timer->event, delay_ms);
}

void stop_timer(Request& request) noexcept {
    if (!request.renew_timer) return;
    ngx_event_t& timer = request.renew_timer->event;
    if (timer.timer_set) {
        ngx_del_timer(&timer);
    }
}

void renewal_failed(Request& request) {
    const std::int64_t now = unix_ms();
    if (request.renewal_failing_since_ms == 0) request.renewal_failing_since_ms = now;
    if (answer_waits(request) && now - request.renewal_failing_since_ms > kLongestWaitMs) {
        stop_answer(request, Refusal::billing_unavailable);
        return;
    }
    renew_in(request, kRenewalRetryMs);
}

void renewed(Request& request, const LedgerReply& reply) {
    request.hold = request.renewal_amount;
    count_hold(request, request.hold);
    request.renewed_cost = cost_of(request);
    request.renewal_failing_since_ms = 0;
    renew_in(request, kRenewalMs);
    if (!reply.account_active) {
        stop_answer(request, Refusal::account_disabled);
    } else {
        resume_answer(request);
    }
}

/// A whole window more was too much: within the hold the stream goes on, beyond it only what is there is asked for.
void renewal_refused(Request& request) {
    const bool asked_for_the_least = request.window_refused;
    request.window_refused = true;
    if (!answer_waits(request)) {
        renew_in(request, kRenewalMs);
    } else if (asked_for_the_least) {
        stop_answer(request, Refusal::coins_ran_out);
    } else {
        renew(request);
    }
}

void take_renewal(Request& request, RedisResult result, std::string_view text) {
    request.renewal = nullptr;
    if (request.stage != Stage::running) return;
    const LedgerReply reply = result == RedisResult::reply ? parse_reply(Script::renew, text) : LedgerReply{};
    switch (reply.reply) {
        case Reply::ok:
            renewed(request, reply);
            break;
        case Reply::refused:
            renewal_refused(request);
            break;
        case Reply::gone:
            // The hold was reaped or lost. The settle will be LATE and booked; a strict account may not go on unheld.
            if (request.strict && !request.unlimited) stop_answer(request, Refusal::billing_unavailable);
            break;
        default:
            renewal_failed(request);
    }
}

/// Requests that wait for their first renewal, the next one first: all wait equally long, and nearly all have ended by
/// then, for which a timer of its own would be put into nginx's tree and taken out again.
struct FirstRenewals {
    ngx_queue_t waiting{};
    ngx_event_t timer{};
    ngx_connection_t dummy{};  ///< nginx's event log handler wants a connection behind `data`
};
FirstRenewals first_renewals;

void stop_waiting(Request& request) noexcept {
    ngx_queue_t& link = request.first_renewal.link;
    if (link.prev == nullptr) return;
    ngx_queue_remove(&link);
    link.prev = nullptr;
}

void wait_for_first_renewal(Request& request) noexcept {
    request.first_renewal.request = &request;
    request.first_renewal.at = ngx_current_msec + kFirstRenewalMs;
    ngx_queue_insert_tail(&first_renewals.waiting, &request.first_renewal.link);
    if (!first_renewals.timer.timer_set) ngx_add_timer(&first_renewals.timer, kFirstRenewalMs);
}

void on_first_renewals(ngx_event_t*) {
    while (!ngx_queue_empty(&first_renewals.waiting)) {
        FirstRenewal& first = *ngx_queue_data(ngx_queue_head(&first_renewals.waiting), FirstRenewal, link);
        const auto left_ms = static_cast<ngx_msec_int_t>(first.at - ngx_current_msec);
        if (left_ms > 0) {
            ngx_add_timer(&first_renewals.timer, static_cast<ngx_msec_t>(left_ms));
            return;
        }
        Request& request = *first.request;
        ngx_connection_t* connection = request.r->connection;
        stop_waiting(request);
        guarded_void(connection->log, "first renewal", [&] { renew(request); });
        ngx_http_run_posted_requests(connection);  // the request may be gone
    }
}

void on_renewal(void* owner, RedisResult result, std::string_view text) {
    auto& request = *static_cast<Request*>(owner);
    ngx_connection_t* connection = request.r->connection;
    guarded_void(connection->log, "renewal", [&] { take_renewal(request, result, text); });
    ngx_http_run_posted_requests(connection);  // the request may be gone
}

NanoCoins wanted_hold(const Request& request) noexcept {
    const NanoCoins least = std::max(request.hold, cost_of(request));
    return request.window_refused ? least : std::max(least, hold_from_here(request));
}

void renew(Request& request) {
    if (request.stage != Stage::running || request.renewal != nullptr) return;
    stop_waiting(request);
    stop_timer(request);
    RenewArguments arguments;
    arguments.request = request.id;
    arguments.account = request.identity.account;
    arguments.key = request.identity.key;
    arguments.amount = request.renewal_amount = wanted_hold(request);
    arguments.shadow = cost_of(request);
    RenewCall call(arguments);
    request.renewal =
        redis_send(RedisLane::requests, call, main_conf(request.r)->redis_timeout_ms, on_renewal, &request);
    if (request.renewal == nullptr) renewal_failed(request);
}

/// Half of what the hold had left when it was last set is used up, and a larger hold is possible.
bool hold_is_running_low(const Request& request, NanoCoins cost_so_far) noexcept {
    if (request.unlimited) return false;
    if (cost_so_far > request.hold) return true;
    if (request.window_refused) return false;
    const std::int64_t room = request.hold.nano() - request.renewed_cost.nano();
    const std::int64_t used = cost_so_far.nano() - request.renewed_cost.nano();
    return used > room / 2 && hold_from_here(request) > request.hold;
}

}  // namespace

ngx_int_t settle_init_process(ngx_cycle_t* cycle) {
    const MainConf* conf = main_conf(static_cast<const ngx_cycle_t*>(cycle));
    if (conf == nullptr || !conf->configured) return NGX_OK;
    ngx_queue_init(&first_renewals.waiting);
    first_renewals.dummy.fd = static_cast<ngx_socket_t>(-1);
    first_renewals.timer.handler = on_first_renewals;
    first_renewals.timer.data = &first_renewals.dummy;
    first_renewals.timer.log = cycle->log;
    first_renewals.timer.cancelable = 1;  // requests themselves keep a finishing worker alive (T56)
    // Without its ring a worker still runs: it refuses every priced request, and says why in the log.
    if (open_ring(cycle) != NGX_OK || worker_ring() == nullptr) return NGX_OK;
    return settle_queue_init(cycle);
}

void settle_exit_process(ngx_cycle_t*) {
    if (first_renewals.timer.timer_set) {
        ngx_del_timer(&first_renewals.timer);
    }
    settle_queue_exit();
    close_ring();
}

bool reserve_slot(Request& request) {
    request.slot = take_slot(record_of(request));
    return static_cast<bool>(request.slot);
}

void release_slot(Request& request) {
    if (!request.slot) return;
    worker_ring()->release(request.slot);
    request.slot = {};
}

void abandon_admit(Request& request) {
    if (!request.slot) return;
    RingRecord record = record_of(request);
    record.is_void = true;
    hand_over(request, record);
    request.stage = Stage::settling;
}

void begin_running(Request& request) {
    request.stage = Stage::running;
    request.renewed_cost = expected_input_cost(request);
    count_hold(request, request.hold);
    wait_for_first_renewal(request);
}

void cancel_renewals(Request& request) noexcept {
    stop_waiting(request);
    stop_timer(request);
    if (request.renewal != nullptr) {
        detach(request.renewal);
        request.renewal = nullptr;
    }
}

void report_attempt(Request& request) {
    if (request.stage != Stage::running) return;
    request.cost = cost_of(request);
    worker_ring()->write(request.slot, SlotState::running, record_of(request));
}

void report_progress(Request& request) {
    if (request.stage != Stage::running) return;
    const Metering& metering = request.metering;
    request.cost = cost_of(request);
    worker_ring()->write_progress(request.slot,
                                  {request.cost, metering.usage, metering.source, metering.upstream_status,
                                   clamp_ms(turn_us() - request.began_us), ttft_ms(request)});
    if (hold_is_running_low(request, request.cost)) renew(request);
}

void settle_request(Request& request) {
    if (request.stage == Stage::admitting) {
        abandon_admit(request);
        return;
    }
    if (request.stage != Stage::running) return;
    request.stage = Stage::settling;
    request.cost = cost_of(request);
    RingRecord record = record_of(request);
    record.usage.status = final_status(request);
    record.is_void = !request.metering.sent_upstream;
    hand_over(request, record);
}

NanoCoins cost_of(const Request& request) noexcept {
    if (request.price == nullptr) return {};
    const Metering& metering = request.metering;
    const bool success = metering.upstream_status / 100 == 2 && metering.answer_began;
    // Where nothing was produced, nothing is paid, a fee for each request neither.
    return cost(request.price->price, metering.usage, success && metering.source != UsageSource::none);
}

}  // namespace lumen
