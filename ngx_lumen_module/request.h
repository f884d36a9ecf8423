// One request under the gate: everything it knows, from the first byte to the settle. Lives as long as r->pool: it
// is destroyed by the pool's cleanup, which is also the safety net that settles or voids (T54, T60).
#pragma once

#include <array>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "lumen_core/api_error.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/operation.h"
#include "lumen_core/request_facts.h"
#include "lumen_core/sse.h"
#include "lumen_core/trace_context.h"
#include "ngx_lumen_module/admit_queue.h"
#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/settle_ring.h"

namespace lumen {

struct AnswerState;
struct EndpointState;
struct FormReading;
struct RedisCall;

/// What lives in r->pool: its memory goes with the pool, so only its end is to be told.
struct EndInPool {
    template <typename T>
    void operator()(T* object) const noexcept {
        object->~T();
    }
};
template <typename T>
using InPool = std::unique_ptr<T, EndInPool>;

template <typename T, typename... Arguments>
InPool<T> make_in_pool(ngx_pool_t* pool, Arguments&&... arguments) {
    static_assert(alignof(T) <= NGX_ALIGNMENT);
    void* memory = ngx_palloc(pool, sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return InPool<T>(new (memory) T(std::forward<Arguments>(arguments)...));
}

/// A timer that cannot outlive its request (T30).
struct RequestTimer {
    ngx_event_t event{};
    RequestTimer() = default;
    RequestTimer(const RequestTimer&) = delete;
    RequestTimer& operator=(const RequestTimer&) = delete;
    ~RequestTimer() {
        if (event.timer_set) {
            ngx_del_timer(&event);
        }
    }
};

/// What the paths of the API begin with.
inline constexpr std::string_view kApiRoot = "/v1/";

/// Where a request stands; only moves forward, but for admitting → reading when no hold was placed.
enum class Stage : std::uint8_t {
    reading,    ///< body, lookup
    admitting,  ///< admit sent; ring slot ADMITTING
    running,    ///< hold in place; ring slot RUNNING
    settling,   ///< cost known, or void; handed to settle.cpp, which owns the ring slot from here on
    passing,    ///< free of charge: on its way without a hold, nothing to settle
    refused,    ///< answered by us, nothing held
};

/// What the answer has told us (usage_filter.cpp).
struct Metering {
    bool streaming = false;      ///< the answer is text/event-stream
    bool sent_upstream = false;  ///< at least one endpoint got the request: it counts, and is never void
    bool answer_began = false;   ///< a status line arrived that is passed on
    bool complete = false;       ///< the answer ended properly
    std::uint16_t upstream_status = 0;
    Usage usage;
    UsageSource source = UsageSource::none;
    std::uint64_t output_bytes = 0;  ///< text bytes seen, for the estimate
    InPool<StreamMeter> stream;
    bool client_gone = false;            ///< the answer is read on for its usage only (T53)
    Refusal stopped_by = Refusal::none;  ///< we ended the answer: coins ran out, account disabled, …
    InPool<AnswerState> answer;          ///< what the body filter holds back (usage_filter.cpp)
};

/// Endpoint attempts (balancer.cpp).
struct Routing {
    const CatalogueEndpoint* endpoint = nullptr;  ///< of the current attempt
    std::uint64_t tried = 0;                      ///< bit i: model->endpoints[i] was tried
    std::uint32_t attempts = 0;
    std::int64_t attempt_began_us = 0;  ///< monotonic
    ngx_str_t client_uri{};             ///< as it was asked: r->uri is the endpoint's while its request is made
    ngx_str_t client_args{};
    EndpointState* state = nullptr;  ///< counts this attempt as in flight; null: it does not
    bool judged = false;             ///< the endpoint's health knows how this attempt went
    bool affinity_known = false;
    std::optional<std::uint64_t> affinity;  ///< key of the conversation, once known and if there is one
    InPool<RequestTimer> drain;             ///< ends the reading of an answer whose client left
};

struct Request;

/// Place among the worker's requests that wait for their first renewal (settle.cpp).
struct FirstRenewal {
    ngx_queue_t link{};  ///< prev null: not waiting
    ngx_msec_t at = 0;
    Request* request = nullptr;
};

using Step = void (*)(Request&);
using Answer = void (*)(Request&, RedisResult, std::string_view text);

struct Request {
    ngx_http_request_t* r = nullptr;
    Stage stage = Stage::reading;
    ngx_int_t gate_result = NGX_DONE;  ///< what the precontent handler answers when it is run again (T15)

    RequestId id{};
    std::int64_t began_us = 0;  ///< monotonic
    std::int64_t began_unix_ms = 0;
    std::int64_t gate_began_us = 0;  ///< monotonic: the whole body was there
    std::int64_t gate_us = 0;        ///< from the whole body to the first endpoint: x-lumen-overhead-us
    std::int64_t first_byte_us = 0;  ///< monotonic; 0: none yet

    RedisCall* call = nullptr;       ///< of this request, under way; detached when the request ends first
    AdmitPlace admit_place;          ///< of its admit, under way
    CatalogueWait catalogue_wait;    ///< for a policy that the snapshot lacks
    Answer answer = nullptr;         ///< what the answer to either is given to
    Step next = nullptr;             ///< what follows what is being waited for
    Step reconsider = nullptr;       ///< what follows if Redis names other policies than believed
    std::uint32_t rounds = 0;        ///< of reconsidering
    bool catalogue_fetched = false;  ///< once for this request, not again

    std::shared_ptr<const Catalogue> catalogue;
    Dialect dialect = Dialect::openai;
    Operation operation = Operation::chat_completions;
    KeyHash key_hash{};
    std::optional<KeyHash> previous_key_hash;  ///< under the secret before, while one is configured
    bool asks_admind = false;                  ///< about its key or a call: admind answers it
    bool foreign_key = false;                  ///< not of our form: only a lookup can tell it from noise
    Identity identity;
    const CatalogueModel* model = nullptr;        ///< into *catalogue
    const CataloguePolicy* policy = nullptr;      ///< the account's
    const CataloguePolicy* key_policy = nullptr;  ///< the key's own; null: it adds nothing
    const CataloguePrice* price = nullptr;
    RequestFacts facts;
    std::string_view body;  ///< whole: in r->pool, followed by kJsonPadding bytes; a form also mapped from its file
    std::shared_ptr<FormReading> form;  ///< of a body that is read a slice at a time
    bool strict = false;

    NanoCoins hold;          ///< as it stands in Redis
    NanoCoins hold_counted;  ///< what of it is counted in the zone
    bool unlimited = false;
    NanoCoins balance_after_hold;
    std::optional<RateStanding> request_rate;  ///< what admit left of it; absent: there is none
    std::optional<RateStanding> token_rate;
    Refusal refusal = Refusal::none;  ///< the one that was sent, or that waits for `auth` to confirm the key
    std::string_view refusal_reason;  ///< for the log alone: which of those that are told alike; a literal

    std::string_view traceparent;  ///< trace.h; empty: nobody has asked yet
    std::array<char, 55> own_traceparent{};
    std::string error_page;  ///< the answer in place of an error page of nginx's own

    RingSlot slot;
    FirstRenewal first_renewal;
    InPool<RequestTimer> renew_timer;  ///< of later ones, once there are any
    RedisCall* renewal = nullptr;      ///< under way
    NanoCoins renewal_amount;          ///< the hold it asks for
    NanoCoins renewed_cost;            ///< cost so far when the hold was last set
    bool window_refused = false;       ///< strict: no whole window of output is free any more
    std::int64_t renewal_failing_since_ms = 0;
    Routing routing;
    Metering metering;
    NanoCoins cost;  ///< final once stage is settling
};

/// The request's state, also after error_page or a named location cleared nginx's ctx; never for a subrequest (T19).
Request* find_request(ngx_http_request_t* r) noexcept;
/// Makes it, with its cleanup. Null: out of memory.
Request* make_request(ngx_http_request_t* r);

RequestId new_request_id();

/// In which words whoever sent this wants to be answered.
Dialect dialect_of(const ngx_http_request_t* r) noexcept;

std::int64_t monotonic_us() noexcept;  ///< CLOCK_MONOTONIC, by vDSO
std::int64_t unix_ms() noexcept;       ///< nginx's cached wall clock

}  // namespace lumen
