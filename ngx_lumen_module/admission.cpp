#include "ngx_lumen_module/admission.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/caller.h"
#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/cors.h"
#include "ngx_lumen_module/form_body.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/local_api.h"
#include "ngx_lumen_module/quota_headers.h"
#include "ngx_lumen_module/redis_step.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/request_body.h"
#include "ngx_lumen_module/request_headers.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

/// admind probes an endpoint that is down this often, so no better answer is to be had sooner.
constexpr std::int64_t kProbeWhileDownMs = 10'000;

// The life of a request, in order (design.md §3). Each step ends by taking the next one, by asking Redis a question
// whose answer takes the next one, or by refusing.
void read_key(Request& request);
void route(Request& request);
void read_facts(Request& request);
void read_form_facts(Request& request);
void judge(Request& request);
void let_pass(Request& request);
void admit(Request& request);
void on_admit(Request& request, RedisResult result, std::string_view text);
void choose_endpoint(Request& request);

void refuse(Request& request, Refusal refusal, const RefusalDetails& details = {}) {
    send_refusal(request.r, &request, refusal, details);
}

/// A refusal that depends on the account is sent only after Redis confirmed key, account and policies, so that it is
/// neither stale nor an oracle for dead keys.
void refuse_if_confirmed(Request& request, Refusal refusal) {
    request.refusal = refusal;
    authorise(
        request, [](Request& confirmed) { refuse(confirmed, confirmed.refusal); }, judge);
}

// ---- the key -------------------------------------------------------------------------------------------------------

std::string_view bearer_token(const ngx_http_request_t* r) noexcept {
    constexpr std::string_view kBearer = "Bearer ";
    if (r->headers_in.authorization == nullptr) return {};
    const ngx_str_t& value = r->headers_in.authorization->value;
    auto* scheme = reinterpret_cast<u_char*>(const_cast<char*>(kBearer.data()));
    if (value.len <= kBearer.size() || ngx_strncasecmp(value.data, scheme, kBearer.size()) != 0) return {};
    std::string_view token = view(value).substr(kBearer.size());
    token.remove_prefix(std::min(token.find_first_not_of(' '), token.size()));
    return token;
}

/// Whoever has it may list the models, and do nothing else.
bool is_monitoring_token(const Request& request) noexcept {
    const auto catalogue = current_catalogue();
    if (!catalogue || !catalogue->monitoring_token) return false;
    const auto same = [&](const KeyHash& hash) {
        return CRYPTO_memcmp(catalogue->monitoring_token->data(), hash.data(), hash.size()) == 0;
    };
    return same(request.key_hash) || (request.previous_key_hash && same(*request.previous_key_hash));
}

void hash_key(Request& request, std::string_view key) {
    const MainConf& conf = *main_conf(request.r);
    request.key_hash = conf.key_hasher->hash(key);
    if (conf.previous_key_hasher != nullptr) request.previous_key_hash = conf.previous_key_hasher->hash(key);
}

bool is_read(const ngx_http_request_t* r) noexcept {
    return (r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) != 0;
}

void route_monitoring(Request& request) {
    const bool lists = view(request.r->uri) == "/v1/models" && is_read(request.r);
    return lists ? list_all_models(request) : refuse(request, Refusal::monitoring_only);
}

void read_key(Request& request) {
    std::string_view key = bearer_token(request.r);
    if (key.empty()) key = request_header(request.r, "x-api-key");
    const KeyForm form = api_key_form(key);
    if (form == KeyForm::malformed) {
        request.refusal_reason = key.empty() ? "no_key" : "malformed_key";
        return refuse(request, Refusal::missing_key);
    }
    hash_key(request, key);
    if (form != KeyForm::own && is_monitoring_token(request)) return route_monitoring(request);
    if (form == KeyForm::broken) {
        request.refusal_reason = "mistyped_key";
        return refuse(request, Refusal::invalid_key);
    }
    request.foreign_key = form == KeyForm::foreign;
    route(request);
}

// ---- the route -----------------------------------------------------------------------------------------------------

void refuse_method(Request& request, std::string_view allowed) {
    add_header(request.r, "Allow", allowed);
    refuse(request, Refusal::method_not_allowed);
}

/// A second Content-Type might name another boundary, and a model server go by that one.
std::string_view only_content_type(const ngx_http_request_t* r) noexcept {
    const ngx_table_elt_t* first = r->headers_in.content_type;
    if (first == nullptr) return {};
    const bool twice = count_request_headers(r, "content-type") > 1;
    return twice ? std::string_view() : view(first->value);
}

void route_form(Request& request) {
    std::string boundary = form_boundary(only_content_type(request.r));
    if (boundary.empty()) {
        RefusalDetails details;
        details.message = "The body of the request must be a form: send multipart/form-data with a boundary.";
        return refuse(request, Refusal::bad_body, details);
    }
    expect_form(request, std::move(boundary));
    identify(request, [](Request& identified) { read_body(identified, read_form_facts); });
}

void route(Request& request) {
    const ngx_http_request_t* r = request.r;
    std::string_view path = view(r->uri);
    if (path.substr(0, kApiRoot.size()) != kApiRoot) return refuse(request, Refusal::unknown_url);
    path.remove_prefix(kApiRoot.size());

    const bool about_account = is_account_call(path);
    if (is_model_listing(path) || about_account) {
        if (!is_read(r)) return refuse_method(request, "GET, HEAD");
        return identify(request, about_account ? ask_admind : list_models);
    }
    const std::optional<Operation> operation = operation_of_path(path);
    if (!operation) return refuse(request, Refusal::unknown_url);
    if (r->method != NGX_HTTP_POST) return refuse_method(request, "POST");
    request.operation = *operation;
    if (traits_of(*operation).body == BodyForm::multipart) return route_form(request);
    // Before the body is read: a stranger gets no memory for 16 MiB.
    identify(request, [](Request& identified) { read_body(identified, read_facts); });
}

// ---- the body's facts ----------------------------------------------------------------------------------------------

void take_facts(Request& request, FactsResult result) {
    if (!result.facts) {
        RefusalDetails details;
        details.message = std::move(result.error.message);
        details.param = std::move(result.error.param);
        if (result.error.invalid_value) details.code = "invalid_value";
        return refuse(request, Refusal::bad_body, details);
    }
    request.facts = std::move(*result.facts);
    judge(request);
}

void read_facts(Request& request) {
    request.gate_began_us = monotonic_us();
    static FactsReader reader;  // a worker reads one body at a time, in memory that it keeps
    take_facts(request, reader.read(request.operation, request.body));
}

void read_form_facts(Request& request) {
    request.gate_began_us = monotonic_us();
    read_form(request, [](Request& whole) { take_facts(whole, form_result(whole)); });
}

// ---- model and policy ----------------------------------------------------------------------------------------------

/// spec/rest.md §4, as far as this worker can tell; consent is looked at by admit itself.
Refusal verdict_on(const Request& request) noexcept {
    if (!comes_from_allowed_address(request)) return Refusal::ip_not_allowed;
    const CatalogueModel* model = request.model;
    if (model == nullptr || model->disabled) return Refusal::model_not_found;
    if (request.policy->verdict(model->id) == Verdict::blocked) {
        return model->hide_when_blocked ? Refusal::model_not_found : Refusal::model_access_denied;
    }
    const bool key_allows = request.key_policy == nullptr || request.key_policy->verdict(model->id) != Verdict::blocked;
    return key_allows ? Refusal::none : Refusal::model_access_denied;
}

void judge(Request& request) {
    if (!know_rights(request, judge)) return;
    request.model = request.catalogue->find(request.facts.model);
    const Refusal refusal = verdict_on(request);
    if (refusal != Refusal::none) return refuse_if_confirmed(request, refusal);
    if (is_free(request.operation)) return authorise(request, let_pass, judge);
    request.price = &request.model->price_at(unix_ms());
    request.strict = request.policy->strict;
    admit(request);
}

// ---- the hold ------------------------------------------------------------------------------------------------------

/// For the token rate: what the request says itself; settle puts the real number in its place.
std::uint64_t declared_tokens(const Request& request) noexcept {
    // Timed sound counts no tokens (spec/rest.md §7).
    if (reads_audio(request.operation) && request.price->price.input_per_million == NanoCoins{0}) return 0;
    const RequestFacts& facts = request.facts;
    return estimated_input_tokens(request.operation, facts) + facts.max_output_tokens.value_or(0) * facts.choices;
}

/// There is no hold.
void not_admitted(Request& request) {
    release_slot(request);
    request.stage = Stage::reading;
}

void refuse_as_redis_is_away(Request& request) {
    not_admitted(request);
    refuse(request, Refusal::billing_unavailable);
}

void admit(Request& request) {
    if (!reserve_slot(request)) return refuse(request, Refusal::billing_unavailable);
    request.stage = Stage::admitting;
    request.hold = hold_for(request);

    UsageRecord record;
    record.model = request.model->id;
    record.price = request.price->id;
    const Blob blob = encode_usage_record(record);

    AdmitArguments arguments;
    arguments.request = request.id;
    arguments.identity = request.identity;
    if (needs_consent(request)) {
        arguments.consent_model = request.model->id;
        arguments.consent_since = request.model->consent_since;
    }
    arguments.hold = request.hold;
    arguments.estimated_tokens = declared_tokens(request);
    arguments.blob = blob.view();
    if (!ask_admission(request, arguments, on_admit)) refuse_as_redis_is_away(request);
}

/// What a request would have to hold is what nobody can own; beside other holds it is out of any range, and not because
/// an amount was damaged.
bool is_beyond_measure(NanoCoins hold) noexcept {
    return hold.nano() > kMaxAmount.nano() / 2;
}

/// Refusals that carry more than their row.
void refuse_admission(Request& request, const LedgerReply& reply) {
    if (reply.reply == Reply::range && is_beyond_measure(request.hold)) return refuse(request, Refusal::exceeds_budget);
    const Refusal refusal = refusal_of(reply.reply);
    request.refusal_reason = reason_of(reply.reply);
    RefusalDetails details;
    switch (reply.reply) {
        case Reply::consent:
            details = consent_details(request);
            break;
        case Reply::coins:
            details.retry_at = next_refill_that_helps(reply, request.hold, unix_ms());
            if (!details.retry_at.empty()) add_header(request.r, "x-lumen-retry-at", details.retry_at);
            add_header(request.r, "x-lumen-balance", format_coins(reply.balance));
            break;
        case Reply::key_cap:
            details.scope = "key";
            break;
        case Reply::held:
        case Reply::concurrency:
            add_rate_limits(request.r, reply.requests, reply.tokens);
            break;
        case Reply::rpm:
        case Reply::tpm:
            if (reply.reply == Reply::tpm) details.type = "tokens";
            add_rate_limits(request.r, reply.requests, reply.tokens);
            add_retry_after(request.r, (reply.wait_us + 999) / 1000);
            break;
        case Reply::range:
            ngx_log_error(NGX_LOG_ALERT, request.r->connection->log, 0,
                          "lumen: admit of %*s: an amount is out of range", request.id.text.size(),
                          request.id.text.data());
            break;
        default:
            break;
    }
    refuse(request, refusal, details);
}

void on_admit(Request& request, RedisResult result, std::string_view text) {
    if (result == RedisResult::not_sent) return refuse_as_redis_is_away(request);
    const LedgerReply reply = result == RedisResult::reply ? parse_reply(Script::admit, text) : LedgerReply{};
    if (reply.reply == Reply::malformed) {  // the hold may or may not be there
        if (result == RedisResult::reply) {
            ngx_log_error(NGX_LOG_ERR, request.r->connection->log, 0, "lumen: admit answered \"%*s\"",
                          std::min<std::size_t>(text.size(), 200), text.data());
        }
        abandon_admit(request);
        return refuse(request, Refusal::billing_unavailable);
    }
    if (reply.reply != Reply::ok) {
        not_admitted(request);
        if (reply.reply != Reply::policy) return refuse_admission(request, reply);
        if (accept_policies(request, reply)) judge(request);
        return;
    }
    request.unlimited = reply.unlimited;
    request.balance_after_hold = NanoCoins(reply.balance.nano() - reply.held.nano());
    request.request_rate = reply.requests;
    request.token_rate = reply.tokens;
    begin_running(request);
    choose_endpoint(request);
}

// ---- without a hold -------------------------------------------------------------------------------------------------

/// Key and account are alive. Nothing is held or counted, but consent is asked for all the same: the endpoint gets what
/// the request says.
void let_pass(Request& request) {
    confirm_consent(request, [](Request& confirmed) {
        confirmed.stage = Stage::passing;
        choose_endpoint(confirmed);
    });
}

// ---- the endpoint --------------------------------------------------------------------------------------------------

/// Until the first endpoint of the model is tried again, by a request or by a probe.
std::int64_t next_trial_ms(const CatalogueModel& model, std::int64_t now_ms) noexcept {
    std::int64_t wait_ms = kProbeWhileDownMs;
    for (const CatalogueEndpoint& endpoint : model.endpoints) {
        EndpointState* state = endpoint_state(endpoint.id);
        if (state == nullptr || endpoint.draining) continue;
        const std::int64_t until_ms = read_health(*state).ejected_until_ms;
        if (until_ms > now_ms) wait_ms = std::min(wait_ms, until_ms - now_ms);
    }
    return wait_ms;
}

void choose_endpoint(Request& request) {
    const Refusal refusal = choose_first_endpoint(request);
    if (refusal == Refusal::none) return enter(request);
    settle_request(request);  // nothing was sent: void
    if (refusal == Refusal::no_healthy_endpoint) {
        add_retry_after(request.r, next_trial_ms(*request.model, unix_ms()));
    }
    refuse(request, refusal);
}

void begin(Request& request) {
    return is_preflight(request.r) ? answer_preflight(request) : read_key(request);
}

}  // namespace

// ---- on to the proxy -----------------------------------------------------------------------------------------------

void enter(Request& request) {
    ngx_http_request_t* r = request.r;
    const bool had_body = request.gate_began_us != 0;  // what admind answers has none
    request.gate_us = monotonic_us() - (had_body ? request.gate_began_us : request.began_us);
    request.gate_result = NGX_DECLINED;  // what gate() answers when the phases come by again (T15)
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

ngx_int_t gate(ngx_http_request_t* r) noexcept {
    if (r != r->main || !location_conf(r)->enabled) return NGX_DECLINED;
    if (const Request* known = find_request(r)) return known->gate_result;
    return guarded(r->connection->log, "gate", ngx_int_t{NGX_HTTP_INTERNAL_SERVER_ERROR}, [&]() -> ngx_int_t {
        Request* request = make_request(r);
        if (request == nullptr) return NGX_HTTP_INTERNAL_SERVER_ERROR;
        if (!await_start(*request, begin)) begin(*request);
        return NGX_DONE;
    });
}

}  // namespace lumen
