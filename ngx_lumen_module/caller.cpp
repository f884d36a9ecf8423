#include "ngx_lumen_module/caller.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "ngx_lumen_module/foreign_key_limit.h"
#include "ngx_lumen_module/identity_cache.h"
#include "ngx_lumen_module/local_api.h"
#include "ngx_lumen_module/quota_headers.h"
#include "ngx_lumen_module/redis_step.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/rehash_report.h"

namespace lumen {
namespace {

/// Policies that change under one request this often mean that Redis and the catalogue disagree for good.
constexpr std::uint32_t kMaxRounds = 4;

void refuse(Request& request, Refusal refusal) {
    send_refusal(request.r, &request, refusal, {});
}

void refuse_as(Request& request, Reply reply) {
    request.refusal_reason = reason_of(reply);
    refuse(request, refusal_of(reply));
}

void found_identity(Request& request, const LedgerReply& reply) {
    request.identity.account = reply.account;
    request.identity.key = reply.key;
    // Under the hash of the secret in force, whichever led to it: the next request asks nobody.
    remember_identity(request.key_hash, request.identity);
    std::exchange(request.next, nullptr)(request);
}

void on_previous_lookup(Request& request, RedisResult result, std::string_view text) {
    if (result != RedisResult::reply) return refuse(request, Refusal::billing_unavailable);
    const LedgerReply reply = parse_reply(Script::lookup, text);
    if (reply.reply != Reply::ok) return refuse_as(request, reply.reply);
    report_rehash(*main_conf(request.r), reply.account, reply.key, request.key_hash);
    found_identity(request, reply);
}

void on_lookup(Request& request, RedisResult result, std::string_view text) {
    if (result != RedisResult::reply) return refuse(request, Refusal::billing_unavailable);
    const LedgerReply reply = parse_reply(Script::lookup, text);
    if (reply.reply == Reply::ok) return found_identity(request, reply);
    if (reply.reply != Reply::no_key || !request.previous_key_hash) return refuse_as(request, reply.reply);
    LookupCall call(*request.previous_key_hash);
    if (!ask_redis(request, call, on_previous_lookup)) refuse(request, Refusal::billing_unavailable);
}

void on_auth(Request& request, RedisResult result, std::string_view text) {
    if (result != RedisResult::reply) return refuse(request, Refusal::billing_unavailable);
    const LedgerReply reply = parse_reply(Script::auth, text);
    if (reply.reply == Reply::ok) return std::exchange(request.next, nullptr)(request);
    if (reply.reply != Reply::policy) return refuse_as(request, reply.reply);
    if (accept_policies(request, reply)) std::exchange(request.reconsider, nullptr)(request);
}

void on_consent(Request& request, RedisResult result, std::string_view text) {
    if (result != RedisResult::reply) return refuse(request, Refusal::billing_unavailable);
    const ngx_int_t version = ngx_atoi(reinterpret_cast<u_char*>(const_cast<char*>(text.data())), text.size());
    if (version != NGX_ERROR && version >= request.model->consent_since) {
        return std::exchange(request.next, nullptr)(request);
    }
    send_refusal(request.r, &request, Refusal::model_consent_required, consent_details(request));
}

/// The policy behind an id; 0 is none, which is no failure.
bool find_policy(const Catalogue& catalogue, PolicyId id, const CataloguePolicy*& policy) noexcept {
    policy = id != 0 ? catalogue.policy(id) : nullptr;
    return id == 0 || policy != nullptr;
}

/// The client's address, as nginx's own realip module may have set it; a unix socket has none.
std::optional<AddressBytes> client_address(const ngx_connection_t* connection) noexcept {
    AddressBytes address{};
    if (connection->sockaddr->sa_family == AF_INET6) {
        const auto* in6 = reinterpret_cast<const sockaddr_in6*>(connection->sockaddr);
        std::copy_n(in6->sin6_addr.s6_addr, address.size(), address.begin());
        return address;
    }
    if (connection->sockaddr->sa_family != AF_INET) return std::nullopt;
    const auto* in = reinterpret_cast<const sockaddr_in*>(connection->sockaddr);
    address[10] = address[11] = 0xff;
    std::memcpy(address.data() + 12, &in->sin_addr, 4);
    return address;
}

}  // namespace

bool comes_from_allowed_address(const Request& request) noexcept {
    if (request.key_policy == nullptr || request.key_policy->addresses.empty()) return true;
    const auto address = client_address(request.r->connection);
    return address && request.key_policy->allows(*address);
}

void identify(Request& request, Step next) {
    if (request.previous_key_hash) report_rehashes_anew();
    if (const Identity* known = find_identity(request.key_hash)) {
        request.identity = *known;
        return next(request);
    }
    if (request.foreign_key) {
        const std::int64_t wait_ms = foreign_lookup_wait_ms(request.r->connection->sockaddr);
        if (wait_ms > 0) {
            add_retry_after(request.r, wait_ms);
            return refuse(request, Refusal::rate_limited);
        }
    }
    request.next = next;
    LookupCall call(request.key_hash);
    if (!ask_redis(request, call, on_lookup)) refuse(request, Refusal::billing_unavailable);
}

void authorise(Request& request, Step confirmed, Step reconsider) {
    request.next = confirmed;
    request.reconsider = reconsider;
    AuthCall call(request.identity);
    if (!ask_redis(request, call, on_auth)) refuse(request, Refusal::billing_unavailable);
}

bool accept_policies(Request& request, const LedgerReply& reply) {
    if (++request.rounds > kMaxRounds || reply.account_policy == 0) {
        ngx_log_error(NGX_LOG_ERR, request.r->connection->log, 0,
                      "lumen: the policies of account %L do not settle: %L and %L",
                      static_cast<int64_t>(request.identity.account), static_cast<int64_t>(reply.account_policy),
                      static_cast<int64_t>(reply.key_policy));
        refuse(request, Refusal::billing_unavailable);
        return false;
    }
    request.identity.account_policy = reply.account_policy;
    request.identity.key_policy = reply.key_policy;
    remember_identity(request.key_hash, request.identity);
    return true;
}

bool know_rights(Request& request, Step again) {
    if (request.identity.account_policy == 0) {
        authorise(request, again, again);
        return false;
    }
    request.catalogue = current_catalogue();
    if (request.catalogue && find_policy(*request.catalogue, request.identity.account_policy, request.policy) &&
        find_policy(*request.catalogue, request.identity.key_policy, request.key_policy)) {
        return true;
    }
    // A policy is published before any key or account names it, so one more look must show it (ledger.md §4).
    if (std::exchange(request.catalogue_fetched, true) || !ask_catalogue(request, again)) {
        refuse(request, Refusal::billing_unavailable);
    }
    return false;
}

RefusalDetails consent_details(const Request& request) {
    RefusalDetails details;
    details.consent_url = request.catalogue->public_url + std::string(kConsentPage);
    details.message = "This model must be acknowledged once before it is used. Do so at " + details.consent_url +
                      ", then repeat the request.";
    return details;
}

bool needs_consent(const Request& request) noexcept {
    return request.catalogue->api_consent && request.policy->verdict(request.model->id) == Verdict::needs_consent;
}

void confirm_consent(Request& request, Step next) {
    if (!needs_consent(request)) return next(request);
    request.next = next;
    const std::string account = account_key(request.identity.account);
    const std::string field = "c:" + std::to_string(request.model->id);
    if (!ask_redis(request, {"HGET", account, field}, on_consent)) refuse(request, Refusal::billing_unavailable);
}

Refusal refusal_of(Reply reply) noexcept {
    switch (reply) {
        case Reply::no_key:
        case Reply::revoked:
        case Reply::no_account:
            return Refusal::invalid_key;
        case Reply::expired:
            return Refusal::key_expired;
        case Reply::disabled:
            return Refusal::account_disabled;
        case Reply::consent:
            return Refusal::model_consent_required;
        case Reply::no_budget:
            return Refusal::no_budget;
        case Reply::coins:
            return Refusal::out_of_coins;
        case Reply::never:
            return Refusal::exceeds_budget;
        case Reply::held:
            return Refusal::balance_held;
        case Reply::key_cap:
            return Refusal::key_cap_reached;
        case Reply::concurrency:
            return Refusal::too_many_in_flight;
        case Reply::too_large:
            return Refusal::too_large_for_rate_limit;
        case Reply::rpm:
        case Reply::tpm:
            return Refusal::rate_limited;
        case Reply::range:
            return Refusal::internal_error;
        default:  // NOTREADY, GONE, or not a reply of ours
            return Refusal::billing_unavailable;
    }
}

std::string_view reason_of(Reply reply) noexcept {
    switch (reply) {
        case Reply::no_key:
            return "unknown_key";
        case Reply::revoked:
            return "revoked_key";
        case Reply::no_account:
            return "no_account";
        default:
            return {};
    }
}

}  // namespace lumen
