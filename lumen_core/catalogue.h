// The catalogue: models, prices, endpoints and policies as admind publishes them and the gate holds them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lumen_core/address_range.h"
#include "lumen_core/api_key.h"
#include "lumen_core/credential_seal.h"
#include "lumen_core/endpoint_choice.h"
#include "lumen_core/endpoint_url.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen {

inline constexpr std::size_t kMaxCatalogueBytes = 8 * 1024 * 1024;
inline constexpr int kCatalogueFormat = 1;
inline constexpr std::size_t kMaxAddressesPerEndpoint = 16;  ///< of one name; more are not needed to reach it
inline constexpr std::size_t kMaxUpstreamModelBytes = 256;

/// Redis names outside the buckets; they carry no hash tag.
inline constexpr const char* kCatalogueKey = "lumen:catalogue";  ///< the document; also the channel that announces it
inline constexpr const char* kProbesKey = "lumen:probes";        ///< admind's probe results; also their channel
/// What gates tell admind of keys they found under the secret before: `account:key` → `secret id:hash`, both hex.
/// The hash is the key's under the secret in force, which admind, not knowing keys, cannot make.
inline constexpr const char* kRehashKey = "lumen:gate:/rehash";  // no host has such a name
inline constexpr const char* kGateReportPrefix = "lumen:gate:";  ///< + host-number: one gate's report, lives 5 s
inline constexpr const char* kLivePrefix = "lumen:live:";        ///< + account id: channel of page updates
inline constexpr const char* kLiveChannel = "lumen:live";        ///< channel of page updates for everybody
inline constexpr const char* kSessionPrefix = "lumen:session:";  ///< + SHA-256 of the cookie, hex
/// + user id: sessions begun before this time (Unix ms) are over.
inline constexpr const char* kSessionsSincePrefix = "lumen:sessions-since:";
inline constexpr const char* kSessionCookie = "lumen_session";

struct CataloguePrice {
    PriceId id = 0;
    std::int64_t from_ms = 0;  ///< in force from, inclusive
    Price price;
};

struct CatalogueEndpoint {
    EndpointId id = 0;
    std::string name;  ///< the operator's id ("gpu1"), shown as x-lumen-endpoint; never an address
    bool https = false;
    std::string host;         ///< for Host, SNI and certificate checks, without port unless it is not the default
    std::string path_prefix;  ///< "/v1": what the request path starts with there
    /// Of scheme and host: connections of endpoints that differ in it are not shared, also to one address (T39).
    std::uint32_t connection_kind = 0;
    std::vector<EndpointAddress> addresses;  ///< resolved by admind
    std::string upstream_model;              ///< the model's name there
    std::string credential;                  ///< unsealed by the reader; empty: no Authorization is sent
    std::uint32_t weight = 1;                ///< 1…100
    bool draining = false;
    bool continuous_usage = false;  ///< knows stream_options.continuous_usage_stats (vLLM, SGLang)
};

struct CatalogueModel {
    ModelId id = 0;
    std::string name;
    bool disabled = false;
    bool hide_when_blocked = false;
    bool needs_ack = false;
    bool prefix_affinity = false;
    std::int32_t notice_version = 1;           ///< the notice as it stands now
    std::int32_t consent_since = 1;            ///< consents to an older notice no longer count
    std::int64_t created = 0;                  ///< Unix seconds, for /v1/models
    std::uint64_t context_window = 0;          ///< tokens; 0 = unknown
    std::uint64_t max_output_tokens = 0;       ///< 0 = unknown
    std::vector<CataloguePrice> prices;        ///< by from_ms; never empty
    std::vector<CatalogueEndpoint> endpoints;  ///< may be empty
    std::string listing;  ///< the JSON object of GET /v1/models/{id}, without the members that depend on the caller

    /// The latest that is in force; before the first one, the first: nothing is ever free because of a clock.
    const CataloguePrice& price_at(std::int64_t unix_ms) const noexcept;
};

enum class Verdict : std::uint8_t { blocked = 0, allowed = 1, needs_consent = 2 };

struct CataloguePolicy {
    PolicyId id = 0;
    bool strict = false;                            ///< mode of the accounts with this policy
    bool any_model = false;                         ///< of a key that names no models: none is blocked
    std::unordered_map<ModelId, Verdict> verdicts;  ///< models not listed are blocked
    std::vector<AddressRange> addresses;            ///< of a key: where its callers must be; empty: anywhere
    Verdict verdict(ModelId model) const noexcept;
    bool allows(const AddressBytes& caller) const noexcept;
};

/// An immutable snapshot. A request keeps the one it began with, and so its price.
struct Catalogue {
    std::int64_t version = 0;
    std::string public_url;
    bool api_consent = true;                  ///< false: /v1 does not ask for consent
    std::optional<KeyHash> monitoring_token;  ///< hash of the one that may see all models; absent: there is none
    std::vector<std::string> cors_origins;    ///< pages that may read answers under /v1; "*": all
    std::vector<CatalogueModel> models;       ///< by name
    std::unordered_map<std::string_view, const CatalogueModel*> by_name;  ///< into `models`
    std::unordered_map<PolicyId, CataloguePolicy> policies;

    Catalogue() = default;
    Catalogue(const Catalogue&) = delete;  // `by_name` points into `models`
    Catalogue& operator=(const Catalogue&) = delete;

    const CatalogueModel* find(std::string_view name) const noexcept;
    const CataloguePolicy* policy(PolicyId id) const noexcept;
};

struct CatalogueResult {
    std::shared_ptr<const Catalogue> catalogue;  ///< null: see `error`
    std::string error;
};

/// Parses and checks the document of tests/data/catalogue.json; all or nothing: every member that has a use here is
/// required, others are ignored. `error` begins with the path of what is wrong ("models[3].prices: none"). Credentials
/// that do not unseal under `installation_secret` are an error that names the endpoint's place.
CatalogueResult parse_catalogue(std::string_view json, std::string_view installation_secret,
                                std::string_view previous_secret = {});

}  // namespace lumen
