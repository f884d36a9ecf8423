#include "admind/people/oidc_provider.h"

#include <openssl/evp.h>

#include <algorithm>

#include "admind/settings/settings_values.h"
#include "admind/text/url_text.h"

namespace lumen::admind {

namespace {

constexpr std::chrono::hours kRemembered{1};
constexpr std::chrono::seconds kTurnTimeout{2};
constexpr std::size_t kMostBytes = std::size_t{256} * 1024;
constexpr std::size_t kLongestUrl = 2048;
constexpr std::size_t kMostRemembered = 8;  // settings may be reloaded any number of times

Fetched get(const std::string& url, const FetchRules& rules, const std::string& bearer = {}) {
    FetchRequest request{url, {{"Accept", "application/json"}}, std::nullopt};
    if (!bearer.empty()) request.headers.emplace_back("Authorization", "Bearer " + bearer);
    return fetch(request, rules);
}

Json object_from(const Fetched& fetched, const char* what) {
    if (fetched.status == 0) throw ProviderError(std::string(what) + ": " + fetched.error);
    if (!fetched.ok()) throw ProviderError(std::string(what) + ": status " + std::to_string(fetched.status));
    auto json = parse_json(fetched.body);
    if (!json || !json->is_object()) throw ProviderError(std::string(what) + ": not a JSON object");
    return std::move(*json);
}

std::string host_of(const std::string& url) {
    const auto parsed = parse_web_url(url.substr(0, url.find('?')));
    if (!parsed) return "";
    std::string host = parsed->host;
    std::transform(host.begin(), host.end(), host.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return host;
}

/// An endpoint of the document; the hosts that it names may be asked from now on, under the same rules as the document.
std::string endpoint(const Json& document, const char* name, FetchRules& rules) {
    std::string url = text_member(document, name);
    if (url.empty()) return url;
    const bool is_https = url.compare(0, 8, "https://") == 0;
    const std::string host = host_of(url);
    if (host.empty() || url.size() > kLongestUrl || (!is_https && rules.schemes == FetchRules::Schemes::https_only)) {
        throw ProviderError(std::string("metadata: ") + name + " is no usable URL");
    }
    rules.hosts.push_back(host);
    return url;
}

/// A document from this host's own network is fetched only because lumen.yaml names it, and only it may then point
/// there.
Json discovery_document(const std::string& url, FetchRules& rules) {
    rules.hosts = {host_of(url)};
    rules.most_bytes = kMostBytes;
    if (url.compare(0, 8, "https://") != 0) rules.schemes = FetchRules::Schemes::http_too;
    Fetched fetched = get(url, rules);
    if (fetched.error == "address not public") {
        rules.addresses = FetchRules::Addresses::any;
        fetched = get(url, rules);
    }
    return object_from(fetched, "metadata");
}

bool takes_basic(const Json& document) {
    const auto methods = document.find("token_endpoint_auth_methods_supported");
    if (methods == document.end() || !methods->is_array()) return true;
    return std::find(methods->begin(), methods->end(), "client_secret_basic") != methods->end();
}

ProviderMetadata discover(const std::string& url) {
    ProviderMetadata metadata;
    const Json document = discovery_document(url, metadata.rules);
    metadata.issuer = text_member(document, "issuer");
    metadata.authorization_endpoint = endpoint(document, "authorization_endpoint", metadata.rules);
    metadata.token_endpoint = endpoint(document, "token_endpoint", metadata.rules);
    metadata.jwks_uri = endpoint(document, "jwks_uri", metadata.rules);
    metadata.userinfo_endpoint = endpoint(document, "userinfo_endpoint", metadata.rules);
    metadata.takes_basic = takes_basic(document);
    if (metadata.issuer.empty() || metadata.authorization_endpoint.empty() || metadata.token_endpoint.empty() ||
        metadata.jwks_uri.empty()) {
        throw ProviderError("metadata: issuer or an endpoint is missing");
    }
    return metadata;
}

std::string basic_credentials(const std::string& id, const std::string& secret) {
    const std::string plain = url_escaped(id) + ":" + url_escaped(secret);
    std::string encoded(4 * (plain.size() / 3 + 1) + 1, '\0');
    const int length =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                        reinterpret_cast<const unsigned char*>(plain.data()), static_cast<int>(plain.size()));
    encoded.resize(static_cast<std::size_t>(length));
    return "Basic " + encoded;
}

Json exchange_code(const OauthSettings& settings, const ProviderMetadata& metadata,
                   const OidcProvider::CodeGrant& grant) {
    FormText form;
    form.add("grant_type", "authorization_code");
    form.add("code", grant.code);
    form.add("redirect_uri", settings.redirect_uri);
    form.add("code_verifier", grant.verifier);
    FetchRequest request{metadata.token_endpoint, {{"Accept", "application/json"}}, std::nullopt};
    const bool by_basic = !settings.client_secret.empty() && metadata.takes_basic;
    if (by_basic) {
        request.headers.emplace_back("Authorization", basic_credentials(settings.client_id, settings.client_secret));
    } else {
        form.add("client_id", settings.client_id);
        if (!settings.client_secret.empty()) form.add("client_secret", settings.client_secret);
    }
    request.form = form.text();
    return object_from(fetch(request, metadata.rules), "token");
}

/// What the ID token does not say itself; of the same person only.
void add_userinfo(const ProviderMetadata& metadata, const std::string& access_token, Json& claims) {
    if (metadata.userinfo_endpoint.empty() || access_token.empty()) return;
    const Json more = object_from(get(metadata.userinfo_endpoint, metadata.rules, access_token), "userinfo");
    if (text_member(more, "sub") != text_member(claims, "sub")) throw ProviderError("userinfo: of another subject");
    for (const auto& [name, value] : more.items()) {
        if (!claims.contains(name)) claims[name] = value;
    }
}

}  // namespace

std::optional<ProviderMetadata> OidcProvider::remembered(const std::string& url, Age age) {
    const std::lock_guard lock(mutex_);
    const auto known = metadata_.find(url);
    if (known == metadata_.end()) return std::nullopt;
    const bool fresh = Clock::now() - known->second.fetched < kRemembered;
    return fresh || age == Age::any ? std::optional(known->second.metadata) : std::nullopt;
}

ProviderMetadata OidcProvider::metadata(const OauthSettings& settings) {
    const std::string& url = settings.server_metadata_url;
    if (auto known = remembered(url, Age::fresh)) return std::move(*known);
    const std::unique_lock discovering(discovering_, kTurnTimeout);
    if (auto known = remembered(url, discovering ? Age::fresh : Age::any)) return std::move(*known);
    if (!discovering) throw ProviderError("others wait for its metadata");
    try {
        ProviderMetadata found = discover(url);
        const std::lock_guard lock(mutex_);
        if (metadata_.size() >= kMostRemembered) metadata_.clear();
        metadata_[url] = {found, Clock::now()};
        return found;
    } catch (const ProviderError&) {
        if (auto known = remembered(url, Age::any)) return std::move(*known);
        throw;
    }
}

std::vector<ProviderKey> OidcProvider::keys_of(const ProviderMetadata& metadata, Freshness freshness) {
    const auto now = Clock::now();
    {
        const std::lock_guard lock(mutex_);
        const auto known = keys_.find(metadata.jwks_uri);
        const bool fresh = known != keys_.end() && now - known->second.fetched < kRemembered;
        if (fresh && freshness == Freshness::cached_will_do) return known->second.keys;
    }
    std::vector<ProviderKey> keys = provider_keys(object_from(get(metadata.jwks_uri, metadata.rules), "keys"));
    if (keys.empty()) throw ProviderError("keys: none that signs by RS256 or ES256");
    const std::lock_guard lock(mutex_);
    if (keys_.size() >= kMostRemembered) keys_.clear();
    keys_[metadata.jwks_uri] = {keys, now};
    return keys;
}

Json OidcProvider::verified(const ProviderMetadata& metadata, const std::string& token,
                            const TokenExpectations& expected) {
    auto result = verify_id_token(token, keys_of(metadata, Freshness::cached_will_do), expected);
    const auto* fault = std::get_if<TokenFault>(&result);
    // A key may have been replaced, under a new id or under the old one.
    if (fault != nullptr && (*fault == TokenFault::unknown_key || *fault == TokenFault::signature)) {
        result = verify_id_token(token, keys_of(metadata, Freshness::newer_wanted), expected);
        fault = std::get_if<TokenFault>(&result);
    }
    if (fault != nullptr) throw ProviderError(std::string("ID token: ") + token_fault_name(*fault));
    return std::get<Json>(std::move(result));
}

Json OidcProvider::redeem(const OauthSettings& settings, const CodeGrant& grant) {
    if (!conversations_.try_acquire_for(kTurnTimeout)) throw ProviderError("too many sign-ins wait for the provider");
    struct Turn {
        std::counting_semaphore<kMostAtOnce>& turns;
        ~Turn() { turns.release(); }
    } const turn{conversations_};
    const ProviderMetadata provider = metadata(settings);
    const Json tokens = exchange_code(settings, provider, grant);
    TokenExpectations expected;
    expected.issuer = provider.issuer;
    expected.client_id = settings.client_id;
    expected.nonce = grant.nonce;
    expected.access_token = text_member(tokens, "access_token");
    expected.now_s = unix_ms_now() / 1000;
    Json claims = verified(provider, text_member(tokens, "id_token"), expected);
    add_userinfo(provider, expected.access_token, claims);
    return claims;
}

}  // namespace lumen::admind
