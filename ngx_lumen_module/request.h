// One request under the gate: everything it knows, from the first byte to the settle. Lives in r->pool; its C++ members
// are destroyed by the pool cleanup, which is also the safety net that settles or voids (T54, T60).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lumen_core/api_error.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/request_facts.h"
#include "lumen_core/sse.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/settle_ring.h"

namespace lumen {

/// Where a request stands; only ever moves forward.
enum class Stage : std::uint8_t {
    reading,    ///< body, lookup
    admitting,  ///< admit sent; ring slot ADMITTING
    running,    ///< hold in place; ring slot RUNNING
    settling,   ///< cost known, or void; handed to settle.cpp, which owns the ring slot from here on
    refused,    ///< answered by us, nothing held
};

/// What the answer has told us (usage_filter.cpp).
struct Metering {
    bool streaming = false;        ///< the answer is text/event-stream
    bool sent_upstream = false;    ///< at least one endpoint got the request: it counts, and is never void
    bool answer_began = false;     ///< a status line arrived that is passed on
    bool complete = false;         ///< the answer ended properly
    std::uint16_t upstream_status = 0;
    Usage usage;
    UsageSource source = UsageSource::none;
    std::uint64_t output_bytes = 0;             ///< text bytes seen, for the estimate
    std::optional<StreamMeter> stream;
    StreamOutput stream_output;
    std::string json;                           ///< a JSON answer, kept up to kMaxMeteredJsonBytes
};

/// Endpoint attempts (balancer.cpp).
struct Routing {
    const CatalogueEndpoint* endpoint = nullptr;   ///< of the current attempt
    std::uint64_t tried = 0;                       ///< bit i: model->endpoints[i] was tried
    std::uint32_t attempts = 0;
    ngx_msec_t attempt_began_ms = 0;
};

struct Request {
    ngx_http_request_t* r = nullptr;
    Stage stage = Stage::reading;
    ngx_int_t gate_result = NGX_DONE;    ///< what the precontent handler answers when it is run again (T15)

    RequestId id{};
    std::int64_t began_us = 0;           ///< monotonic
    std::int64_t began_unix_ms = 0;
    std::int64_t gate_us = 0;            ///< time spent in this module so far: x-lumen-overhead-us
    std::int64_t first_byte_us = 0;      ///< monotonic; 0: none yet

    std::shared_ptr<const Catalogue> catalogue;
    Operation operation = Operation::chat_completions;
    KeyHash key_hash{};
    Identity identity;
    const CatalogueModel* model = nullptr;   ///< into *catalogue
    const CataloguePolicy* policy = nullptr;
    const CataloguePrice* price = nullptr;
    RequestFacts facts;
    std::string_view body;                   ///< whole, in r->pool, followed by kJsonPadding bytes
    bool strict = false;

    NanoCoins hold;                          ///< as it stands in Redis
    bool unlimited = false;
    NanoCoins balance_after_hold;
    std::optional<std::int64_t> remaining_requests;
    std::optional<std::int64_t> remaining_tokens;
    Refusal refusal = Refusal::none;

    RingSlot slot;
    ngx_event_t renew_timer{};
    std::int64_t renewed_at_ms = 0;
    Routing routing;
    Metering metering;
    NanoCoins cost;                          ///< final once stage is settling
};

/// The request's state, also after error_page or a named location cleared nginx's ctx; never for a subrequest (T19).
Request* find_request(ngx_http_request_t* r) noexcept;
/// Makes it, with its cleanup. Null: out of memory.
Request* make_request(ngx_http_request_t* r);

std::int64_t monotonic_us() noexcept;   ///< CLOCK_MONOTONIC, by vDSO
std::int64_t unix_ms() noexcept;        ///< nginx's cached wall clock

}  // namespace lumen
