// The configured identity provider: its endpoints by discovery, its keys, and the exchange of a code for claims.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>

#include "admind/people/oidc_token.h"
#include "admind/people/outgoing_fetch.h"
#include "admind/settings/settings.h"
#include "admind/text/json.h"

namespace lumen::admind {

/// The provider did not do its part; what() says what, for the log. 502 oidc_provider_error.
struct ProviderError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct ProviderMetadata {
    std::string issuer;
    std::string authorization_endpoint;
    std::string token_endpoint;
    std::string jwks_uri;
    std::string userinfo_endpoint;  ///< empty: it has none
    bool takes_basic = true;        ///< client_secret_basic; else client_secret_post
    FetchRules rules;               ///< of fetches from any of these
};

/// Thread-safe. Remembers metadata and keys for an hour, and goes on with what it has while the provider is away.
class OidcProvider {
 public:
    /// Throws ProviderError.
    ProviderMetadata metadata(const OauthSettings& settings);

    struct CodeGrant {
        std::string code;
        std::string verifier;  ///< PKCE
        std::string nonce;
    };
    /// Claims of the ID token, and those of UserInfo that it lacks. Throws ProviderError.
    Json redeem(const OauthSettings& settings, const CodeGrant& grant);

 private:
    using Clock = std::chrono::steady_clock;
    struct KnownKeys {
        std::vector<ProviderKey> keys;
        Clock::time_point fetched;
    };
    enum class Freshness { cached_will_do, newer_wanted };
    enum class Age { fresh, any };
    std::optional<ProviderMetadata> remembered(const std::string& url, Age age);
    std::vector<ProviderKey> keys_of(const ProviderMetadata& metadata, Freshness freshness);
    Json verified(const ProviderMetadata& metadata, const std::string& token, const TokenExpectations& expected);

    /// A provider that hangs must not take every thread with it.
    static constexpr std::ptrdiff_t kMostAtOnce = 4;
    std::counting_semaphore<kMostAtOnce> conversations_{kMostAtOnce};
    std::timed_mutex discovering_;  ///< one asks, the others wait a little for what it learns
    std::mutex mutex_;
    struct Known {
        ProviderMetadata metadata;
        Clock::time_point fetched;
    };
    std::map<std::string, Known> metadata_;  ///< by metadata URL
    std::map<std::string, KnownKeys> keys_;  ///< by jwks_uri
};

}  // namespace lumen::admind
