#include "ngx_lumen_module/local_api.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ngx_lumen_module/admission.h"
#include "ngx_lumen_module/caller.h"
#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/redis_step.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

constexpr std::string_view kModels = "models";
constexpr std::string_view kModelPath = "/v1/models/";
/// `?include=need_consent` lists models too that wait for the account's consent.
constexpr std::string_view kIncludeNeedConsent = "need_consent";

/// What the caller may do with a model, in the words of the pages.
enum class Access : std::uint8_t { none, allowed, consented, need_consent };

std::string_view access_name(Access access) noexcept {
    switch (access) {
        case Access::allowed:
            return "allowed";
        case Access::consented:
            return "consented";
        case Access::need_consent:
            return "need_consent";
        case Access::none:
            break;
    }
    return "blocked";
}

Access access_without_consents(const Request& request, const CatalogueModel& model) noexcept {
    if (model.disabled) return Access::none;
    const Verdict verdict = request.policy->verdict(model.id);
    const bool key_allows = request.key_policy == nullptr || request.key_policy->verdict(model.id) != Verdict::blocked;
    if (verdict == Verdict::blocked || !key_allows) return Access::none;
    const bool must_consent = verdict == Verdict::needs_consent && request.catalogue->api_consent;
    return must_consent ? Access::need_consent : Access::allowed;
}

bool includes_need_consent(ngx_http_request_t* r) noexcept {
    ngx_str_t value{};
    auto* name = reinterpret_cast<u_char*>(const_cast<char*>("include"));
    return ngx_http_arg(r, name, 7, &value) == NGX_OK && view(value) == kIncludeNeedConsent;
}

/// How the model's endpoints stand now, in the words of the pages.
std::string_view status_name(const CatalogueModel& model) noexcept {
    if (model.disabled) return "disabled";
    std::size_t working = 0;
    for (const CatalogueEndpoint& endpoint : model.endpoints) {
        EndpointState* state = endpoint_state(endpoint.id);
        const bool ejected =
            state != nullptr && endpoint_status(read_health(*state), unix_ms()) == EndpointStatus::ejected;
        if (!endpoint.draining && !ejected) ++working;
    }
    if (working == 0) return "down";
    return working == model.endpoints.size() ? "ok" : "degraded";
}

/// The listing is one JSON object; the members that depend on the hour and the caller go before its closing brace.
void append_listing(std::string& out, const Request& request, const CatalogueModel& model,
                    std::optional<Access> access) {
    std::string_view listing = model.listing;
    listing.remove_suffix(listing.size() - listing.rfind('}'));
    out.append(listing);
    if (listing.size() > 1) out.push_back(',');
    out.append(R"("status":")").append(status_name(model)).append(R"(","instances":)");
    out.append(std::to_string(model.endpoints.size())).append(R"(,"lumen":{"access":)");
    if (access) {
        out.append(1, '"').append(access_name(*access)).append(1, '"');
    } else {
        out.append("null");  // nobody's
    }
    out.append(R"(,"consent_url":)");
    if (access == Access::need_consent) {
        out.push_back('"');
        append_json_escaped(out, request.catalogue->public_url);
        out.append(kConsentPage).push_back('"');
    } else {
        out.append("null");
    }
    out.append("}}");
}

void answer(Request& request, const std::string& body) {
    ngx_http_request_t* r = request.r;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = static_cast<off_t>(body.size());
    set_json_content_type(r);
    add_header(r, "cache-control", "no-store");
    request.stage = Stage::refused;  // answered by us, nothing held
    send_body(r, body);
}

void answer_list(Request& request, const std::vector<Access>& accesses) {
    const bool with_need_consent = includes_need_consent(request.r);
    std::string body = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        if (accesses[i] == Access::none || (accesses[i] == Access::need_consent && !with_need_consent)) continue;
        if (body.back() == '}') body.push_back(',');
        append_listing(body, request, request.catalogue->models[i], accesses[i]);
    }
    answer(request, body += "]}");
}

void answer_one(Request& request, std::string_view name, const std::vector<Access>& accesses) {
    const std::vector<CatalogueModel>& models = request.catalogue->models;
    const CatalogueModel* model = request.catalogue->find(name);
    const Access access = model != nullptr ? accesses[static_cast<std::size_t>(model - models.data())] : Access::none;
    if (access == Access::none) {
        const bool revealed = model != nullptr && !model->disabled && !model->hide_when_blocked;
        const Refusal refusal = revealed ? Refusal::model_access_denied : Refusal::model_not_found;
        send_refusal(request.r, &request, refusal, {});
        return;
    }
    std::string body;
    append_listing(body, request, *model, access);
    answer(request, body);
}

std::vector<Access> accesses_without_consents(const Request& request) {
    std::vector<Access> accesses;
    accesses.reserve(request.catalogue->models.size());
    for (const CatalogueModel& model : request.catalogue->models) {
        accesses.push_back(access_without_consents(request, model));
    }
    return accesses;
}

void answer_with(Request& request, const std::vector<Access>& accesses) {
    const std::string_view path = view(request.r->uri);
    if (path.size() > kModelPath.size()) return answer_one(request, path.substr(kModelPath.size()), accesses);
    answer_list(request, accesses);
}

/// The fields of the account's hash, `-` for a consent never given, in the order of the models that ask for one.
void on_consents(Request& request, RedisResult result, std::string_view text) {
    if (result != RedisResult::reply) {
        send_refusal(request.r, &request, Refusal::billing_unavailable, {});
        return;
    }
    std::vector<Access> accesses = accesses_without_consents(request);
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        if (accesses[i] != Access::need_consent) continue;
        const std::size_t end = std::min(text.find(' '), text.size());
        const ngx_int_t version = ngx_atoi(reinterpret_cast<u_char*>(const_cast<char*>(text.data())), end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (version != NGX_ERROR && version >= request.catalogue->models[i].consent_since) {
            accesses[i] = Access::consented;
        }
    }
    answer_with(request, accesses);
}

/// Key and account are alive. Consents are only in Redis: they change without a new policy.
void answer_models(Request& request) {
    if (!comes_from_allowed_address(request)) {
        send_refusal(request.r, &request, Refusal::ip_not_allowed, {});
        return;
    }
    const std::vector<Access> accesses = accesses_without_consents(request);
    std::vector<std::string> fields;
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        if (accesses[i] != Access::need_consent) continue;
        fields.push_back("c:" + std::to_string(request.catalogue->models[i].id));
    }
    if (fields.empty()) return answer_with(request, accesses);
    const std::string account = account_key(request.identity.account);
    std::vector<std::string_view> command{"HMGET", account};
    command.insert(command.end(), fields.begin(), fields.end());
    if (!ask_redis(request, command, on_consents)) send_refusal(request.r, &request, Refusal::billing_unavailable, {});
}

}  // namespace

bool is_model_listing(std::string_view path) noexcept {
    return path.substr(0, kModels.size()) == kModels && (path.size() == kModels.size() || path[kModels.size()] == '/');
}

void list_all_models(Request& request) {
    request.catalogue = current_catalogue();
    std::string body = R"({"object":"list","data":[)";
    for (const CatalogueModel& model : request.catalogue->models) {
        if (model.disabled) continue;
        if (body.back() == '}') body.push_back(',');
        append_listing(body, request, model, std::nullopt);
    }
    answer(request, body += "]}");
}

bool is_account_call(std::string_view path) noexcept {
    constexpr std::string_view kUsage = "usage/";
    return path == "key" || path.substr(0, kUsage.size()) == kUsage;
}

void ask_admind(Request& request) {
    if (!know_rights(request, ask_admind)) return;
    authorise(
        request,
        [](Request& confirmed) {
            if (!comes_from_allowed_address(confirmed)) {
                send_refusal(confirmed.r, &confirmed, Refusal::ip_not_allowed, {});
                return;
            }
            confirmed.stage = Stage::passing;
            confirmed.asks_admind = true;
            enter(confirmed);
        },
        ask_admind);
}

void list_models(Request& request) {
    if (know_rights(request, list_models)) authorise(request, answer_models, list_models);
}

}  // namespace lumen
