#include "lumen_core/catalogue.h"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include "lumen_core/checked_json.h"

namespace lumen {
namespace {

constexpr std::int64_t kLargestInteger = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMaxContextTokens = std::int64_t{1} << 40;  // as in usage: more is a mistake
constexpr std::int64_t kLatestMs = 253'402'300'799'999;            // the year 9999: later is a mistake of the unit
constexpr std::int64_t kMaxWeight = 100;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxUrlBytes = 1024;
constexpr std::size_t kMaxAddressBytes = 64;
constexpr std::size_t kMaxSealedBytes = 8192;

// Bounds of the lists, far above what is run today; they keep a wrong document from eating a worker's memory.
constexpr std::size_t kMaxModels = 4096;
constexpr std::size_t kMaxPrices = 65536;
constexpr std::size_t kMaxEndpoints = 16384;
constexpr std::size_t kMaxPolicies = 65536;
constexpr std::size_t kMaxOrigins = 64;

/// Names go into headers, paths and log lines.
bool is_printable(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte <= ' ' || byte == 0x7f;
    });
}

/// FNV-1a.
std::uint32_t connection_kind(bool https, std::string_view host) noexcept {
    std::uint32_t hash = 0x811C9DC5U;
    const auto mix = [&hash](std::string_view text) {
        for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
    };
    mix(https ? "https" : "http");
    mix(host);
    return hash;
}

/// Builds one catalogue out of one document; what is wrong is in `fault`.
class CatalogueReader {
 public:
    CatalogueReader(std::string_view installation_secret, std::string_view previous_secret, JsonFault& fault)
        : installation_secret_(installation_secret), previous_secret_(previous_secret), fault_(fault) {}

    std::shared_ptr<Catalogue> read(simdjson::dom::element document) {
        const CheckedObject root(document, "", fault_);
        root.integer("format", kCatalogueFormat, kCatalogueFormat);
        catalogue_->version = root.integer("version", 1, kLargestInteger);
        root.with_object("settings", [&](const CheckedObject& settings) {
            catalogue_->public_url = settings.text("public_url", 0, kMaxUrlBytes);
            catalogue_->api_consent = settings.flag("api_consent");
            read_monitoring_token(settings);
            settings.each_text("cors", kMaxOrigins, [&](std::string_view origin) {
                if (origin.empty() || origin.size() > kMaxUrlBytes || !is_printable(origin)) {
                    return settings.wrong("cors", "must be origins");
                }
                catalogue_->cors_origins.emplace_back(origin);
            });
        });
        root.each_object("models", kMaxModels, [&](const CheckedObject& model) { read_model(model); });
        root.each_object("prices", kMaxPrices, [&](const CheckedObject& price) { read_price(price); });
        root.each_object("endpoints", kMaxEndpoints, [&](const CheckedObject& endpoint) { read_endpoint(endpoint); });
        root.each_object("policies", kMaxPolicies, [&](const CheckedObject& policy) { read_policy(policy); });
        if (!fault_.found()) complete_models();
        if (fault_.found()) return nullptr;
        index_models();
        return std::move(catalogue_);
    }

 private:
    void read_monitoring_token(const CheckedObject& settings) {
        const std::string_view hex = settings.text("monitoring_token_hash", 0, 2 * KeyHash().size());
        if (hex.empty()) return;
        catalogue_->monitoring_token = key_hash_of_hex(hex);
        if (!catalogue_->monitoring_token) settings.wrong("monitoring_token_hash", "must be empty or 64 hex digits");
    }

    std::int64_t read_id(const CheckedObject& object, std::unordered_set<std::int64_t>& taken) {
        const std::int64_t id = object.integer("id", 1, kLargestInteger);
        if (!taken.insert(id).second) object.wrong("id", "is there twice");
        return id;
    }

    std::string read_name(const CheckedObject& object, std::string_view key) {
        const std::string_view name = object.text(key, 1, kMaxNameBytes);
        if (!is_printable(name)) object.wrong(key, "must have no spaces or control characters");
        return std::string(name);
    }

    /// The model an entry of another list belongs to; null, and noted, if there is none.
    CatalogueModel* model_of(const CheckedObject& object) {
        const auto found = model_index_.find(object.integer("model", 1, kLargestInteger));
        if (found != model_index_.end()) return &catalogue_->models[found->second];
        object.wrong("model", "no such model");
        return nullptr;
    }

    void read_model(const CheckedObject& object) {
        CatalogueModel model;
        model.id = read_id(object, model_ids_);
        model.name = read_name(object, "name");
        if (!model_names_.insert(model.name).second) object.wrong("name", "is there twice");
        model.disabled = object.flag("disabled");
        model.hide_when_blocked = object.flag("hide_when_blocked");
        model.needs_ack = object.flag("needs_ack");
        model.prefix_affinity = object.flag("prefix_affinity");
        constexpr std::int64_t kMostVersions = std::numeric_limits<std::int32_t>::max();
        model.notice_version = static_cast<std::int32_t>(object.integer("notice_version", 0, kMostVersions));
        model.consent_since = static_cast<std::int32_t>(object.integer("consent_since", 0, kMostVersions));
        model.created = object.integer("created", 0, kLatestMs / 1000);
        model.context_window = static_cast<std::uint64_t>(object.integer("context_window", 0, kMaxContextTokens));
        model.max_output_tokens = static_cast<std::uint64_t>(object.integer("max_output_tokens", 0, kMaxContextTokens));
        model.listing = object.json("listing");
        model_index_.emplace(model.id, catalogue_->models.size());
        catalogue_->models.push_back(std::move(model));
    }

    NanoCoins read_amount(const CheckedObject& object, std::string_view key) {
        constexpr std::size_t kMostDigits = 20;
        const auto amount = parse_nano(object.text(key, 1, kMostDigits));
        if (!amount || *amount < NanoCoins(0) || *amount > kMaxAmount) {
            object.wrong(key, "must be nano-coins, 0 to " + std::to_string(kMaxAmount.nano()));
            return NanoCoins(0);
        }
        return *amount;
    }

    void read_price(const CheckedObject& object) {
        CataloguePrice price;
        price.id = read_id(object, price_ids_);
        price.from_ms = object.integer("from_ms", 0, kLatestMs);
        price.price.input_per_million = read_amount(object, "input_per_million");
        price.price.cached_per_million = read_amount(object, "cached_per_million");
        price.price.cache_write_per_million = read_amount(object, "cache_write_per_million");
        price.price.output_per_million = read_amount(object, "output_per_million");
        price.price.reasoning_per_million = read_amount(object, "reasoning_per_million");
        price.price.characters_per_million = read_amount(object, "characters_per_million");
        price.price.audio_per_hour = read_amount(object, "audio_per_hour");
        price.price.image = read_amount(object, "image");
        price.price.request = read_amount(object, "request");

        CatalogueModel* model = model_of(object);
        if (model == nullptr) return;
        for (const CataloguePrice& other : model->prices) {
            if (other.from_ms == price.from_ms) object.wrong("from_ms", "another price of the model begins then");
        }
        model->prices.push_back(price);
    }

    std::string read_credential(const CheckedObject& object, EndpointId id) {
        const std::string_view sealed = object.text("credential", 0, kMaxSealedBytes);
        if (sealed.empty()) return {};
        auto plain = unseal_credential(installation_secret_, previous_secret_, std::to_string(id), sealed);
        if (!plain) {
            object.wrong("credential", "does not unseal: sealed under another installation secret, or for another id");
            return {};
        }
        if (!is_printable(*plain)) object.wrong("credential", "must have no spaces or control characters");
        return std::move(*plain);
    }

    void read_endpoint(const CheckedObject& object) {
        CatalogueEndpoint endpoint;
        endpoint.id = read_id(object, endpoint_ids_);
        endpoint.name = read_name(object, "name");
        if (auto url = parse_endpoint_url(object.text("url", 1, kMaxUrlBytes))) {
            endpoint.https = url->https;
            endpoint.host = std::move(url->host);
            endpoint.path_prefix = std::move(url->path_prefix);
            endpoint.connection_kind = connection_kind(endpoint.https, endpoint.host);
        } else {
            object.wrong("url", "must be http(s)://host[:port][/path]");
        }
        object.each_text("addresses", kMaxAddressesPerEndpoint, [&](std::string_view address) {
            auto parsed = address.size() <= kMaxAddressBytes ? parse_endpoint_address(address) : std::nullopt;
            if (!parsed) return object.wrong("addresses", "must be IP addresses with ports");
            endpoint.addresses.push_back(*std::move(parsed));
        });
        if (endpoint.addresses.empty()) object.wrong("addresses", "none");
        endpoint.upstream_model = object.text("upstream_model", 1, kMaxUpstreamModelBytes);
        endpoint.credential = read_credential(object, endpoint.id);
        endpoint.weight = static_cast<std::uint32_t>(object.integer("weight", 1, kMaxWeight));
        const std::string_view state = object.text("state", 1, kMaxNameBytes);
        endpoint.draining = state == "draining";
        if (!endpoint.draining && state != "active") object.wrong("state", "must be active or draining");
        endpoint.continuous_usage = object.flag("continuous_usage");

        CatalogueModel* model = model_of(object);
        if (model == nullptr) return;
        if (model->endpoints.size() == kMaxEndpointsPerModel) {
            object.wrong("model", "has more than " + std::to_string(kMaxEndpointsPerModel) + " endpoints");
            return;
        }
        model->endpoints.push_back(std::move(endpoint));
    }

    void read_policy(const CheckedObject& object) {
        CataloguePolicy policy;
        policy.id = read_id(object, policy_ids_);
        const std::string_view mode = object.text("mode", 1, kMaxNameBytes);
        policy.strict = mode == "strict";
        if (!policy.strict && mode != "soft") object.wrong("mode", "must be soft or strict");
        policy.any_model = object.flag("any_model");
        object.each_text("addresses", kMaxAddressRanges, [&](std::string_view text) {
            const auto range = parse_address_range(text);
            if (!range) return object.wrong("addresses", "must be ranges of IP addresses");
            policy.addresses.push_back(*range);
        });
        read_verdicts(object, "allowed", Verdict::allowed, policy);
        read_verdicts(object, "needs_consent", Verdict::needs_consent, policy);
        catalogue_->policies.emplace(policy.id, std::move(policy));
    }

    void read_verdicts(const CheckedObject& object, std::string_view key, Verdict verdict, CataloguePolicy& policy) {
        object.each_integer(key, kMaxModels, [&](std::int64_t model) {
            if (model_index_.count(model) == 0) return object.wrong(key, "no such model");
            if (!policy.verdicts.emplace(model, verdict).second) object.wrong(key, "a model is there twice");
        });
    }

    void complete_models() {
        for (std::size_t i = 0; i < catalogue_->models.size(); ++i) {
            auto& prices = catalogue_->models[i].prices;
            if (prices.empty()) return fault_.note("models[" + std::to_string(i) + "].prices", "none");
            std::sort(prices.begin(), prices.end(),
                      [](const CataloguePrice& a, const CataloguePrice& b) { return a.from_ms < b.from_ms; });
        }
    }

    /// Last: from here on `models` must not move.
    void index_models() {
        auto& models = catalogue_->models;
        std::sort(models.begin(), models.end(),
                  [](const CatalogueModel& a, const CatalogueModel& b) { return a.name < b.name; });
        for (const CatalogueModel& model : models) catalogue_->by_name.emplace(model.name, &model);
    }

    std::string_view installation_secret_;
    std::string_view previous_secret_;
    JsonFault& fault_;
    std::shared_ptr<Catalogue> catalogue_ = std::make_shared<Catalogue>();
    std::unordered_map<ModelId, std::size_t> model_index_;  // into catalogue_->models, in the document's order
    std::unordered_set<std::string> model_names_;
    std::unordered_set<std::int64_t> model_ids_;
    std::unordered_set<std::int64_t> price_ids_;
    std::unordered_set<std::int64_t> endpoint_ids_;
    std::unordered_set<std::int64_t> policy_ids_;
};

}  // namespace

const CataloguePrice& CatalogueModel::price_at(std::int64_t unix_ms) const noexcept {
    const auto later = std::upper_bound(prices.begin(), prices.end(), unix_ms,
                                        [](std::int64_t now, const CataloguePrice& p) { return now < p.from_ms; });
    return later == prices.begin() ? prices.front() : *(later - 1);
}

Verdict CataloguePolicy::verdict(ModelId model) const noexcept {
    if (any_model) return Verdict::allowed;
    const auto found = verdicts.find(model);
    return found == verdicts.end() ? Verdict::blocked : found->second;
}

bool CataloguePolicy::allows(const AddressBytes& caller) const noexcept {
    return addresses.empty() || std::any_of(addresses.begin(), addresses.end(),
                                            [&](const AddressRange& range) { return range.contains(caller); });
}

const CatalogueModel* Catalogue::find(std::string_view name) const noexcept {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : found->second;
}

const CataloguePolicy* Catalogue::policy(PolicyId id) const noexcept {
    const auto found = policies.find(id);
    return found == policies.end() ? nullptr : &found->second;
}

CatalogueResult parse_catalogue(std::string_view json, std::string_view installation_secret,
                                std::string_view previous_secret) {
    if (json.size() > kMaxCatalogueBytes)
        return {nullptr, "longer than " + std::to_string(kMaxCatalogueBytes) + " bytes"};
    simdjson::dom::parser parser(kMaxCatalogueBytes);
    simdjson::dom::element document;
    if (const auto error = parser.parse(json.data(), json.size()).get(document)) {
        return {nullptr, std::string("not JSON: ") + simdjson::error_message(error)};
    }
    JsonFault fault;
    auto catalogue = CatalogueReader(installation_secret, previous_secret, fault).read(document);
    return {std::move(catalogue), fault.text()};
}

}  // namespace lumen
