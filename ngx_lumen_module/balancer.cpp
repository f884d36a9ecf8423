#include "ngx_lumen_module/balancer.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "lumen_core/conversation_key.h"
#include "lumen_core/endpoint_choice.h"
#include "ngx_lumen_module/attempt_outcome.h"
#include "ngx_lumen_module/client_abort.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/settle_ring.h"
#include "ngx_lumen_module/shared_zone.h"
#include "ngx_lumen_module/upstream_request.h"

namespace lumen {
namespace {

/// Orders that nginx takes from the headers of an answer: to answer from another location, an internal one too, to slow
/// the client down, to buffer. No endpoint is to give any.
constexpr ngx_uint_t kOrdersOfEndpoints = NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT | NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES |
                                          NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE | NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING |
                                          NGX_HTTP_UPSTREAM_IGN_XA_CHARSET;

/// A trial of an ejected endpoint that has not answered by then is believed lost.
constexpr std::int64_t kTrialLeaseMs = 30'000;

/// xorshift64*, seeded from the system once per worker: choices need no secrecy, only evenness.
std::uint64_t random_bits() noexcept {
    static std::uint64_t state = 0;
    while (state == 0) {
        if (getrandom(&state, sizeof state, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof state)) {
            state = static_cast<std::uint64_t>(ngx_pid) * 0x9E3779B97F4A7C15ULL ^ static_cast<std::uint64_t>(unix_ms());
        }
    }
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DULL;
}

std::size_t candidate_count(const CatalogueModel& model) noexcept {
    return std::min(model.endpoints.size(), kMaxEndpointsPerModel);
}

bool was_tried(const Routing& routing, std::size_t index) noexcept {
    return ((routing.tried >> index) & 1) != 0;
}

/// Operations whose JSON body is a conversation. Of no other is the body read here: it may be no JSON, and then has no
/// padding behind it either.
bool converses(Operation operation) noexcept {
    return operation == Operation::chat_completions || operation == Operation::completions ||
           operation == Operation::responses || operation == Operation::messages;
}

/// Read once per request, and only for models that ask for it.
std::optional<std::uint64_t> affinity_of(Request& request) {
    Routing& routing = request.routing;
    if (!request.model->prefix_affinity || !converses(request.operation) || candidate_count(*request.model) < 2)
        return std::nullopt;
    if (!routing.affinity_known) {
        static ConversationKeyReader reader;  // a worker reads one body at a time
        routing.affinity = reader.read(request.body);
        routing.affinity_known = true;
    }
    return routing.affinity;
}

std::optional<EndpointPick> look_for_endpoint(Request& request) {
    const CatalogueModel& model = *request.model;
    static std::array<EndpointCandidate, kMaxEndpointsPerModel> candidates;  // a worker looks at one model at a time
    const std::size_t count = candidate_count(model);
    for (std::size_t i = 0; i < count; ++i) {
        const CatalogueEndpoint& endpoint = model.endpoints[i];
        EndpointCandidate& candidate = candidates[i] = {};
        candidate.weight = endpoint.weight;
        candidate.draining = endpoint.draining;
        candidate.tried = was_tried(request.routing, i);
        candidate.id = static_cast<std::uint64_t>(endpoint.id);
        EndpointState* state = endpoint_state(endpoint.id);
        if (state == nullptr) continue;
        candidate.health = read_health(*state);
        candidate.in_flight = in_flight(*state);
    }
    return choose_endpoint(candidates.data(), count, unix_ms(), random_bits(), affinity_of(request));
}

struct TrialClaim {
    std::int64_t now_ms;
    bool claimed;
};

void claim_trial(EndpointHealth& health, void* data) {
    auto& claim = *static_cast<TrialClaim*>(data);
    claim.claimed = begin_trial(health, claim.now_ms, kTrialLeaseMs);
}

bool is_mine(const Request& request, const EndpointPick& picked) noexcept {
    if (!picked.trial) return true;
    EndpointState* state = endpoint_state(request.model->endpoints[picked.index].id);
    if (state == nullptr) return true;
    TrialClaim claim{unix_ms(), false};
    update_health(*state, claim_trial, &claim);
    return claim.claimed;
}

/// A trial that another worker claimed meanwhile is not due any more, so the next look picks something else.
std::optional<EndpointPick> pick(Request& request) {
    std::optional<EndpointPick> picked = look_for_endpoint(request);
    for (std::size_t i = 0; picked && !is_mine(request, *picked) && i < kMaxEndpointsPerModel; ++i) {
        picked = look_for_endpoint(request);
    }
    return picked;
}

/// From here the attempt counts: as in flight, and in the ring, where an endpoint means that the request was sent (I5).
void begin_attempt(Request& request, const EndpointPick& picked) {
    Routing& routing = request.routing;
    routing.endpoint = &request.model->endpoints[picked.index];
    routing.tried |= std::uint64_t{1} << picked.index;
    ++routing.attempts;
    routing.judged = false;
    routing.attempt_began_us = monotonic_us();
    routing.state = endpoint_state(routing.endpoint->id);
    if (routing.state == nullptr) return;
    if (worker_ring() != nullptr) count_in_flight(*routing.state, worker_ring()->worker());
}

/// Candidates that a further attempt could go to.
std::size_t untried(const Request& request) noexcept {
    std::size_t left = 0;
    for (std::size_t i = 0; i < candidate_count(*request.model); ++i) {
        if (!was_tried(request.routing, i) && !request.model->endpoints[i].draining) ++left;
    }
    return left;
}

/// What nginx connects to, in the request's pool.
struct PeerAddress {
    ngx_str_t name;  ///< read again when the access log is written (T43)
    union {
        sockaddr any;
        sockaddr_in ipv4;
        sockaddr_in6 ipv6;
    } socket;
    /// keepalive compares addresses by bytes, so these become part of them (T39): behind an IPv6 address without a gap.
    std::uint32_t connection_kind;
};
static_assert(offsetof(PeerAddress, connection_kind) == offsetof(PeerAddress, socket) + sizeof(sockaddr_in6));

socklen_t fill_socket(PeerAddress& peer, const EndpointAddress& address, std::uint32_t connection_kind) noexcept {
    if (address.ipv6) {
        sockaddr_in6& ipv6 = peer.socket.ipv6 = {};
        ipv6.sin6_family = AF_INET6;
        ipv6.sin6_port = htons(address.port);
        std::memcpy(&ipv6.sin6_addr, address.ip.data(), sizeof ipv6.sin6_addr);
        peer.connection_kind = connection_kind;
        return sizeof ipv6 + sizeof connection_kind;
    }
    sockaddr_in& ipv4 = peer.socket.ipv4 = {};
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(address.port);
    std::memcpy(&ipv4.sin_addr, address.ip.data(), sizeof ipv4.sin_addr);
    std::memcpy(ipv4.sin_zero, &connection_kind, sizeof connection_kind);
    return sizeof ipv4;
}

/// To one of the endpoint's addresses.
ngx_int_t set_address(ngx_peer_connection_t* pc, ngx_http_request_t* r, const CatalogueEndpoint& endpoint) {
    if (endpoint.addresses.empty()) return NGX_ERROR;
    const EndpointAddress& address = endpoint.addresses[random_bits() % endpoint.addresses.size()];
    auto* const peer = static_cast<PeerAddress*>(ngx_palloc(r->pool, sizeof(PeerAddress)));
    auto* const text = static_cast<u_char*>(ngx_pnalloc(r->pool, address.text.size()));
    if (peer == nullptr || text == nullptr) return NGX_ERROR;
    std::memcpy(text, address.text.data(), address.text.size());
    peer->name = {address.text.size(), text};
    pc->socklen = fill_socket(*peer, address, endpoint.connection_kind);
    pc->sockaddr = &peer->socket.any;
    pc->name = &peer->name;
    return NGX_OK;
}

ngx_int_t connect_to(ngx_peer_connection_t* pc, Request& request) {
    ngx_http_request_t* r = request.r;
    const CatalogueEndpoint& endpoint = *request.routing.endpoint;
    if (endpoint.https && r->upstream->conf->ssl == nullptr) {
        // TLS under `proxy_pass http://` would crash the worker (T40).
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "lumen: endpoint \"%s\" wants https: proxy_pass must name https://", endpoint.name.c_str());
        return NGX_ERROR;
    }
    if (set_address(pc, r, endpoint) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0, "lumen: endpoint \"%s\" has no usable address",
                      endpoint.name.c_str());
        return NGX_ERROR;
    }
    r->upstream->ssl = endpoint.https ? 1 : 0;
    pc->cached = 0;
    pc->connection = nullptr;
    report_attempt(request);  // the ring knows the endpoint before it is asked
    watch_client(request);
    return NGX_OK;
}

/// The next endpoint, with the request rebuilt for it: path, model name and credentials are its own (T34).
ngx_int_t fail_over(Request& request) {
    if (request.metering.client_gone) {
        request.r->connection->error = 1;  // nobody waits for another endpoint's answer: nginx ends the request
        return NGX_BUSY;
    }
    const std::optional<EndpointPick> picked = pick(request);
    if (!picked) return NGX_BUSY;
    begin_attempt(request, *picked);
    ngx_http_request_t* r = request.r;
    if (build_upstream_request(request) != NGX_OK) return NGX_ERROR;
    r->upstream->request_bufs = r->request_body->bufs;
    const ngx_int_t created = r->upstream->create_request(r);
    restore_client_uri(request);
    return created == NGX_OK ? NGX_OK : NGX_ERROR;
}

ngx_int_t get_peer(ngx_peer_connection_t* pc, void* data) noexcept {
    auto& request = *static_cast<Request*>(data);
    return guarded(pc->log, "get peer", ngx_int_t{NGX_ERROR}, [&]() -> ngx_int_t {
        // An attempt that is not judged is the first one, or one that only met a stale connection: same endpoint (T38).
        if (request.routing.judged) {
            const ngx_int_t rc = fail_over(request);
            if (rc != NGX_OK) return rc;
        }
        return connect_to(pc, request);
    });
}

/// The endpoint closed an idle connection just as it was used again: says nothing about the endpoint (T38).
bool met_stale_connection(const ngx_peer_connection_t* pc, ngx_uint_t status, bool timed_out) noexcept {
    return pc->cached && status == 0 && !timed_out;
}

FailureReason why_no_answer(const ngx_http_upstream_t& upstream, bool timed_out) noexcept {
    if (timed_out) return FailureReason::timed_out;
    return upstream.request_sent ? FailureReason::connection_lost : FailureReason::not_connected;
}

void free_peer(ngx_peer_connection_t* pc, void* data, ngx_uint_t state) noexcept {
    auto& request = *static_cast<Request*>(data);
    guarded_void(pc->log, "free peer", [&] {
        if (pc->tries > 0) --pc->tries;  // nginx gives it back after a stale connection
        const ngx_http_upstream_t& upstream = *request.r->upstream;
        if (upstream.request_sent) request.metering.sent_upstream = true;
        const ngx_connection_t* connection = pc->connection;
        const bool timed_out = connection != nullptr && (connection->read->timedout || connection->write->timedout);
        // What nginx itself would say comes later; an answer's own status is here, and 0 is none (T37).
        const ngx_uint_t status = upstream.state != nullptr ? upstream.state->status : 0;
        if (state != 0 && met_stale_connection(pc, status, timed_out)) return;
        const bool our_doing = request.metering.client_gone || request.metering.stopped_by != Refusal::none;
        if (state != 0 && !our_doing) judge_attempt(request, status, why_no_answer(upstream, timed_out));
        release_endpoint(request);
    });
}

ngx_int_t set_session(ngx_peer_connection_t*, void*) noexcept {
    return NGX_OK;
}
void save_session(ngx_peer_connection_t*, void*) noexcept {}

ngx_int_t init_peer(ngx_http_request_t* r, ngx_http_upstream_srv_conf_t*) noexcept {
    Request* request = find_request(r);
    if (request == nullptr || request->routing.endpoint == nullptr) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "lumen_balancer is used in a location without \"lumen on\"");
        return NGX_ERROR;
    }
    restore_client_uri(*request);
    r->upstream->conf->ignore_headers |= kOrdersOfEndpoints;  // of the location, where it was not written
    ngx_peer_connection_t& peer = r->upstream->peer;
    peer.data = request;
    peer.get = get_peer;
    peer.free = free_peer;
    peer.set_session = set_session;  // TLS would call through null (T41)
    peer.save_session = save_session;
    // As many as are really left: with more, nginx would ask for one that is not there and answer a bare 502 (T36).
    peer.tries = std::min<ngx_uint_t>(location_conf(r)->tries, 1 + untried(*request));
    return NGX_OK;
}

ngx_int_t init_upstream(ngx_conf_t* cf, ngx_http_upstream_srv_conf_t* upstream) noexcept {
    if (upstream->servers->nelts != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\": lumen_balancer takes its servers from the catalogue, write none",
                      &upstream->host);
        return NGX_ERROR;
    }
    upstream->peer.init = init_peer;
    return NGX_OK;
}

}  // namespace

char* balancer_directive(ngx_conf_t* cf, ngx_command_t*, void*) {
    auto* upstream =
        static_cast<ngx_http_upstream_srv_conf_t*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module));
    if (upstream->peer.init_upstream != nullptr) {
        return const_cast<char*>("must come before \"keepalive\" and other load balancing methods");
    }
    // nginx refuses an upstream without servers (T32).
    auto* nobody = static_cast<ngx_http_upstream_server_t*>(ngx_array_push(upstream->servers));
    if (nobody == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
    ngx_memzero(nobody, sizeof *nobody);
    upstream->peer.init_upstream = init_upstream;
    upstream->flags = NGX_HTTP_UPSTREAM_CREATE;
    return NGX_CONF_OK;
}

Refusal choose_first_endpoint(Request& request) {
    const std::optional<EndpointPick> picked = pick(request);
    if (!picked) return Refusal::no_healthy_endpoint;
    begin_attempt(request, *picked);
    if (build_upstream_request(request) == NGX_OK) return Refusal::none;
    release_endpoint(request);
    return Refusal::internal_error;
}

void release_endpoint(Request& request) noexcept {
    EndpointState* state = request.routing.state;
    if (state == nullptr) return;
    request.routing.state = nullptr;
    if (worker_ring() != nullptr) uncount_in_flight(*state, worker_ring()->worker());
}

void endpoint_answered(Request& request, ngx_uint_t status) {
    request.metering.sent_upstream = true;
    judge_attempt(request, status, FailureReason::not_http);
}

void endpoint_broke_off(Request& request) {
    request.routing.judged = false;  // it answered well at first; this is worse
    judge_attempt(request, 0, FailureReason::broke_off);
}

}  // namespace lumen
