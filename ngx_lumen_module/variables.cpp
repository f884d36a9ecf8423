#include "ngx_lumen_module/variables.h"

#include <string>

#include "lumen_core/caller_identity.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/trace.h"

namespace lumen {
namespace {

/// One of both. Empty: not found, `-` in a log.
struct Variable {
    ngx_str_t name;
    std::string (*make)(const Request& request);
    std::string_view (*show)(const Request& request);  ///< of what lives as long as the request: it is not copied
};

std::string number(std::int64_t value) {
    return value != 0 ? std::to_string(value) : std::string();
}

/// Only what went to an endpoint has a price; what was refused after its admit is void.
bool priced(const Request& request) noexcept {
    return request.metering.sent_upstream;
}

std::string cost(const Request& request) {
    if (!priced(request)) return {};
    // The access log may come before the request is settled (T14): then it is what settling will find.
    return format_coins_fixed(request.stage == Stage::settling ? request.cost : cost_of(request));
}

std::string ttft_ms(const Request& request) {
    if (request.first_byte_us == 0) return {};
    return std::to_string((request.first_byte_us - request.began_us) / 1'000);
}

/// Until the whole body was there: what the caller's own connection took.
std::string body_ms(const Request& request) {
    if (request.gate_began_us == 0) return {};
    return std::to_string((request.gate_began_us - request.began_us) / 1'000);
}

/// How an answer that had begun ended.
std::string_view ended(const Request& request) {
    const Metering& metering = request.metering;
    if (!metering.answer_began) return {};
    if (metering.client_gone) return "client_left";
    if (metering.stopped_by != Refusal::none) return "stopped";
    return metering.complete ? "complete" : "cut";
}

std::string_view upstream_host(const Request& request) {
    return request.routing.endpoint != nullptr ? std::string_view(request.routing.endpoint->host) : std::string_view();
}

/// The host without its port, for SNI and the certificate; the brackets of an IPv6 address go as well.
std::string_view upstream_tls_name(const Request& request) {
    const std::string_view host = upstream_host(request);
    if (!host.empty() && host.front() == '[') return host.substr(1, host.find(']') - 1);
    return host.substr(0, host.find(':'));
}

std::string_view credential(const Request& request) {
    if (request.routing.endpoint == nullptr) return {};
    return request.routing.endpoint->credential;
}

/// Anthropic itself takes its keys only in x-api-key; others that speak its dialect take either.
std::string upstream_authorization(const Request& request) {
    constexpr std::string_view kAnthropicKey = "sk-ant-";
    const std::string_view secret = credential(request);
    const bool only_as_key =
        request.dialect == Dialect::anthropic && secret.compare(0, kAnthropicKey.size(), kAnthropicKey) == 0;
    return secret.empty() || only_as_key ? std::string() : std::string("Bearer ").append(secret);
}

/// Who is calling, for admind: only on what the gate has authorised (T19: find_request never gives it to a subrequest).
std::string identity(const Request& request) {
    if (!request.asks_admind) return {};
    const std::string_view target = view(request.r->unparsed_uri);
    const CallerIdentity caller{request.identity.account, request.identity.key, unix_ms()};
    // During a rotation gates come first: admind may know only the secret before, and takes either when it knows both.
    const MainConf* conf = main_conf(request.r);
    const ngx_str_t& secret = conf->previous_secret.len > 0 ? conf->previous_secret : conf->secret;
    return sign_caller_identity(view(secret), caller, target.substr(0, target.find('?')));
}

std::string_view upstream_api_key(const Request& request) {
    return request.dialect == Dialect::anthropic ? credential(request) : std::string_view();
}

constexpr Variable made(ngx_str_t name, std::string (*make)(const Request&)) noexcept {
    return {name, make, nullptr};
}

constexpr Variable shown(ngx_str_t name, std::string_view (*show)(const Request&)) noexcept {
    return {name, nullptr, show};
}

const Variable kVariables[] = {
    made(ngx_string("lumen_account"), [](const Request& request) { return number(request.identity.account); }),
    made(ngx_string("lumen_key"), [](const Request& request) { return number(request.identity.key); }),
    shown(ngx_string("lumen_request"), [](const Request& request) { return request.id.view(); }),
    shown(ngx_string("lumen_model"),
          [](const Request& request) {
              return request.model != nullptr ? std::string_view(request.model->name) : std::string_view();
          }),
    shown(ngx_string("lumen_endpoint"),
          [](const Request& request) {
              const CatalogueEndpoint* endpoint = request.routing.endpoint;
              return endpoint != nullptr ? std::string_view(endpoint->name) : std::string_view();
          }),
    made(ngx_string("lumen_cost"), cost),
    made(ngx_string("lumen_balance"),
         [](const Request& request) {
             return priced(request) && !request.unlimited ? format_coins(request.balance_after_hold) : std::string();
         }),
    made(ngx_string("lumen_tokens_in"),
         [](const Request& request) {
             return priced(request) ? std::to_string(request.metering.usage.input_tokens) : std::string();
         }),
    made(ngx_string("lumen_tokens_out"),
         [](const Request& request) {
             return priced(request) ? std::to_string(request.metering.usage.output_tokens) : std::string();
         }),
    shown(ngx_string("lumen_refusal"),
          [](const Request& request) {
              return request.refusal != Refusal::none ? refusal_label(request.refusal) : std::string_view();
          }),
    shown(ngx_string("lumen_refusal_reason"), [](const Request& request) { return request.refusal_reason; }),
    made(ngx_string("lumen_overhead_us"), [](const Request& request) { return number(request.gate_us); }),
    made(ngx_string("lumen_ttft_ms"), ttft_ms),
    made(ngx_string("lumen_body_ms"), body_ms),
    made(ngx_string("lumen_attempts"), [](const Request& request) { return number(request.routing.attempts); }),
    shown(ngx_string("lumen_ended"), ended),
    shown(ngx_string("lumen_usage_source"),
          [](const Request& request) {
              return priced(request) ? usage_source_name(request.metering.source) : std::string_view();
          }),
    shown(ngx_string("lumen_traceparent"), [](const Request& request) { return request.traceparent; }),
    shown(ngx_string("lumen_upstream_host"), upstream_host),
    shown(ngx_string("lumen_upstream_tls_name"), upstream_tls_name),
    made(ngx_string("lumen_upstream_authorization"), upstream_authorization),
    shown(ngx_string("lumen_upstream_api_key"), upstream_api_key),
    made(ngx_string("lumen_identity"), identity),
};

void set(ngx_http_variable_value_t& value, const void* text, std::size_t bytes) noexcept {
    value.data = static_cast<u_char*>(const_cast<void*>(text));
    value.len = static_cast<unsigned>(bytes) & ((1U << 28) - 1);
    value.valid = 1;
    value.no_cacheable = 1;
    value.not_found = 0;
}

ngx_int_t get_variable(ngx_http_request_t* r, ngx_http_variable_value_t* value, uintptr_t data) {
    value->not_found = 1;
    return guarded(r->connection->log, "variable", ngx_int_t{NGX_ERROR}, [&]() -> ngx_int_t {
        Request* request = find_request(r);  // never for a subrequest: a mirror would get our credentials (T19)
        if (request == nullptr) return NGX_OK;
        traceparent_of(*request);  // looked for once, when the first variable is asked for
        const auto& variable = *reinterpret_cast<const Variable*>(data);
        if (variable.show != nullptr) {
            const std::string_view text = variable.show(*request);
            if (!text.empty()) set(*value, text.data(), text.size());
            return NGX_OK;
        }
        const std::string text = variable.make(*request);
        if (text.empty()) return NGX_OK;
        void* const bytes = ngx_pnalloc(r->pool, text.size());
        if (bytes == nullptr) return NGX_ERROR;
        ngx_memcpy(bytes, text.data(), text.size());
        set(*value, bytes, text.size());
        return NGX_OK;
    });
}

}  // namespace

ngx_int_t add_variables(ngx_conf_t* cf) {
    for (const Variable& variable : kVariables) {
        ngx_str_t name = variable.name;
        // Not cacheable: a failover asks again, and must get the next endpoint's credentials (T34).
        ngx_http_variable_t* added = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (added == nullptr) return NGX_ERROR;
        added->get_handler = get_variable;
        added->data = reinterpret_cast<uintptr_t>(&variable);
    }
    return NGX_OK;
}

}  // namespace lumen
