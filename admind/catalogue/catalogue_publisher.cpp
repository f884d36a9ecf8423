#include "admind/catalogue/catalogue_publisher.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

#include "admind/ledger/live_updates.h"
#include "admind/settings/settings_values.h"
#include "lumen_core/api_key.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/endpoint_url.h"

namespace lumen::admind {

namespace {

/// How long a policy stays published after its last use: a worker may still hold a request that believes in it.
constexpr const char* kPolicyAfterlife = "1 hour";
/// Names the advisory lock under which versions are given out and written in order.
constexpr const char* kPublishLock = "lumen catalogue";

std::vector<std::string> resolve(const std::string& url_text) {
    const auto url = parse_web_url(url_text);
    if (!url) return {};
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(url->host.c_str(), nullptr, &hints, &found) != 0) return {};
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);

    std::vector<std::string> addresses;
    const std::string port = ":" + std::to_string(url->port);
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
        std::string address = one->ai_family == AF_INET6 ? "[" + std::string(text) + "]" + port : text + port;
        if (parse_endpoint_address(address)) addresses.push_back(std::move(address));
    }
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    if (addresses.size() > kMaxAddressesPerEndpoint) addresses.resize(kMaxAddressesPerEndpoint);
    return addresses;
}

constexpr const char* kMeterColumns =
    "coalesce(max(nano) filter (where meter = 'input_per_million'), 0) input_per_million,"
    "coalesce(max(nano) filter (where meter = 'cached_per_million'), 0) cached_per_million,"
    "coalesce(max(nano) filter (where meter = 'cache_write_per_million'), 0) cache_write_per_million,"
    "coalesce(max(nano) filter (where meter = 'output_per_million'), 0) output_per_million,"
    "coalesce(max(nano) filter (where meter = 'reasoning_per_million'), 0) reasoning_per_million,"
    "coalesce(max(nano) filter (where meter = 'characters_per_million'), 0) characters_per_million,"
    "coalesce(max(nano) filter (where meter = 'audio_per_hour'), 0) audio_per_hour,"
    "coalesce(max(nano) filter (where meter = 'image'), 0) image,"
    "coalesce(max(nano) filter (where meter = 'request'), 0) request";

constexpr const char* kMeterNames[] = {"input_per_million",
                                       "cached_per_million",
                                       "cache_write_per_million",
                                       "output_per_million",
                                       "reasoning_per_million",
                                       "characters_per_million",
                                       "audio_per_hour",
                                       "image",
                                       "request"};

/// The point in force and those to come, of every model.
Json prices_json(pqxx::transaction_base& transaction) {
    Json prices = Json::array();
    const std::string query =
        std::string("select pp.id, pp.model_id, (extract(epoch from pp.since) * 1000)::bigint from_ms,") +
        kMeterColumns +
        " from price_points pp join models m on m.id = pp.model_id and not m.removed"
        " join prices p on p.model_id = pp.model_id and p.valid @> pp.since"
        " where pp.since >= (select max(since) from price_points q where q.model_id = pp.model_id and since <= now())"
        " group by pp.id order by pp.model_id, pp.since";
    for (const auto& row : transaction.exec(query)) {
        Json price{{"id", row["id"].as<PriceId>()},
                   {"model", row["model_id"].as<ModelId>()},
                   {"from_ms", row["from_ms"].as<std::int64_t>()}};
        for (const char* meter : kMeterNames) price[meter] = row[meter].as<std::string>();
        prices.push_back(std::move(price));
    }
    return prices;
}

std::string coins_text(const Json& price, const char* meter) {
    return format_coins(NanoCoins(std::stoll(price[meter].get<std::string>())));
}

/// The object of GET /v1/models/{id} (spec/rest.md §3), without what depends on the caller or on the hour.
Json listing_json(const pqxx::row& model, const Json& price) {
    Json listing{{"id", model["name"].as<std::string>()},          {"object", "model"},
                 {"created", model["created"].as<std::int64_t>()}, {"owned_by", "lumen"},
                 {"root", model["name"].as<std::string>()},        {"parent", nullptr}};
    if (!model["context_window"].is_null()) listing["max_model_len"] = model["context_window"].as<std::int64_t>();
    if (!model["max_output_tokens"].is_null()) {
        listing["max_output_tokens"] = model["max_output_tokens"].as<std::int64_t>();
    }
    const auto card = parse_json(model["card"].c_str());
    for (const char* key : {"description", "input_modalities", "output_modalities", "supports_reasoning",
                            "supports_function_calling", "knowledge_cutoff"}) {
        if (card && card->contains(key)) listing[key] = (*card)[key];
    }
    // NCSA's two are numbers; ours beside them are exact text.
    listing["input_cost_per_million"] = std::stod(coins_text(price, "input_per_million"));
    listing["output_cost_per_million"] = std::stod(coins_text(price, "output_per_million"));
    listing["pricing"] = {{"unit", "coins_per_1m_tokens"},
                          {"input", coins_text(price, "input_per_million")},
                          {"output", coins_text(price, "output_per_million")},
                          {"cached_input", coins_text(price, "cached_per_million")},
                          {"cache_write", coins_text(price, "cache_write_per_million")},
                          {"reasoning", coins_text(price, "reasoning_per_million")},
                          {"audio_hour", coins_text(price, "audio_per_hour")},
                          {"speech_characters", coins_text(price, "characters_per_million")},
                          {"image", coins_text(price, "image")},
                          {"request", coins_text(price, "request")}};
    return listing;
}

/// The last of a model's points that has begun; the first is in force since the epoch.
const Json* price_now(const Json& prices, ModelId model, std::int64_t now_ms) {
    const Json* current = nullptr;
    for (const Json& price : prices) {
        if (price["model"].get<ModelId>() != model) continue;
        if (current == nullptr || price["from_ms"].get<std::int64_t>() <= now_ms) current = &price;
    }
    return current;
}

Json models_json(pqxx::transaction_base& transaction, const Json& prices) {
    Json models = Json::array();
    const std::int64_t now_ms = unix_ms_now();
    for (const auto& row : transaction.exec(
             "select id, name, disabled, hide_when_blocked, needs_ack, prefix_affinity, notice_version, consent_since,"
             " extract(epoch from created_at)::bigint created, context_window, max_output_tokens, card::text card"
             " from models where not removed order by name")) {
        const auto id = row["id"].as<ModelId>();
        const Json* price = price_now(prices, id, now_ms);
        if (price == nullptr) continue;  // nothing may run without a price
        models.push_back({{"id", id},
                          {"name", row["name"].as<std::string>()},
                          {"disabled", row["disabled"].as<bool>()},
                          {"hide_when_blocked", row["hide_when_blocked"].as<bool>()},
                          {"needs_ack", row["needs_ack"].as<bool>()},
                          {"prefix_affinity", row["prefix_affinity"].as<bool>()},
                          {"notice_version", row["notice_version"].as<int>()},
                          {"consent_since", row["consent_since"].as<int>()},
                          {"created", row["created"].as<std::int64_t>()},
                          {"context_window", row["context_window"].as<std::int64_t>(0)},
                          {"max_output_tokens", row["max_output_tokens"].as<std::int64_t>(0)},
                          {"listing", listing_json(row, *price)}});
    }
    return models;
}

Json list_of(const pqxx::field& json_array) {
    const auto list = parse_json(json_array.c_str());
    return list && list->is_array() ? *list : Json::array();
}

Json policies_json(pqxx::transaction_base& transaction, std::set<PolicyId>& ids) {
    transaction.exec0(
        "update policies set last_used_at = now() where last_used_at < now() - interval '10 minutes'"
        " and (id in (select policy_id from accounts) or id in (select policy_id from api_keys))");
    // A removed model is in no document: a policy of before must not name it there.
    const auto living = [](const char* column) {
        return std::string(
                   "coalesce((select jsonb_agg(m.id order by m.id) from models m where not m.removed and m.id = any(") +
               column + ")), '[]')";
    };
    Json policies = Json::array();
    for (const auto& row :
         transaction.exec("select id, strict, " + living("p.allowed") + ", " + living("p.needs_consent") +
                          ", any_model, to_jsonb(addresses)"
                          " from policies p where last_used_at > now() - interval '" +
                          kPolicyAfterlife + "' order by id")) {
        const auto id = row[0].as<PolicyId>();
        ids.insert(id);
        policies.push_back({{"id", id},
                            {"mode", row[1].as<bool>() ? "strict" : "soft"},
                            {"any_model", row[4].as<bool>()},
                            {"addresses", list_of(row[5])},
                            {"allowed", list_of(row[2])},
                            {"needs_consent", list_of(row[3])}});
    }
    return policies;
}

std::int64_t version_of(const Json& document) {
    const auto version = document.find("version");
    return version != document.end() && version->is_number_integer() ? version->get<std::int64_t>() : 0;
}

}  // namespace

std::vector<std::string> EndpointAddresses::of(const std::string& url) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = known_.find(url); found != known_.end() && !found->second.empty()) return found->second;
    }
    std::vector<std::string> addresses = resolve(url);
    const std::lock_guard lock(mutex_);
    return known_[url] = std::move(addresses);
}

void EndpointAddresses::refresh() {
    std::vector<std::string> urls;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [url, addresses] : known_) urls.push_back(url);
    }
    for (const std::string& url : urls) {
        std::vector<std::string> addresses = resolve(url);
        if (addresses.empty()) continue;
        const std::lock_guard lock(mutex_);
        known_[url] = std::move(addresses);
    }
}

CataloguePublisher::CataloguePublisher(LiveSettings& settings, PgPool& postgres, RedisPool& redis)
    : settings_(settings), postgres_(postgres), redis_(redis) {}

Json CataloguePublisher::document(pqxx::transaction_base& transaction, std::set<PolicyId>& policies) {
    const std::shared_ptr<const Settings> now = settings_.current();
    const std::string& monitoring = now->api.monitoring_token;
    Json settings{{"public_url", now->app.public_url},
                  {"api_consent", now->api.consent},
                  {"monitoring_token_hash",
                   monitoring.empty() ? "" : key_hash_hex(hash_api_key(now->app.encryption_key, monitoring))},
                  {"cors", now->app.cors_origins}};
    Json prices = prices_json(transaction);
    Json models = models_json(transaction, prices);
    Json endpoints = Json::array();
    for (const auto& row : transaction.exec(
             "select e.id, e.model_id, e.name, e.url, e.upstream_model, e.credential,"
             " e.weight, e.continuous_usage, case when e.drain then 'draining' else e.state end state from "
             "endpoints e join models m on m.id = e.model_id"
             " where not e.removed and not m.removed order by e.model_id, e.id")) {
        const auto url = row["url"].as<std::string>();
        const std::vector<std::string> addresses = addresses_.of(url);
        if (addresses.empty()) continue;  // its host has no address: the gate could not reach it anyway
        endpoints.push_back({{"id", row["id"].as<EndpointId>()},
                             {"model", row["model_id"].as<ModelId>()},
                             {"name", row["name"].as<std::string>()},
                             {"url", url},
                             {"addresses", addresses},
                             {"upstream_model", row["upstream_model"].as<std::string>()},
                             {"credential", row["credential"].as<std::string>()},
                             {"weight", row["weight"].as<int>()},
                             {"state", row["state"].as<std::string>()},
                             {"continuous_usage", row["continuous_usage"].as<bool>()}});
    }
    Json document{{"format", kCatalogueFormat}, {"version", 0}, {"settings", std::move(settings)}};
    document["models"] = std::move(models);
    document["prices"] = std::move(prices);
    document["endpoints"] = std::move(endpoints);
    document["policies"] = policies_json(transaction, policies);
    return document;
}

bool CataloguePublisher::publish() {
    PgPool::Lease lease = postgres_.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params("select pg_advisory_xact_lock(hashtextextended($1, 0))", kPublishLock);
    std::set<PolicyId> policies;
    Json fresh = document(transaction, policies);

    RedisPool::Lease redis = redis_.acquire();
    const RedisReply stored = redis->command({"GET", kCatalogueKey});
    std::optional<Json> current = parse_json(reply_text(stored.get()));
    const std::int64_t current_version = current && current->is_object() ? version_of(*current) : 0;
    if (current_version > 0) {
        (*current)["version"] = 0;
        if (*current == fresh) {
            transaction.commit();
            const std::lock_guard lock(mutex_);
            published_ = std::move(policies);
            return false;
        }
    }
    // A book restored from a backup counts from an older number; gates ignore what is not newer than theirs.
    const auto version =
        transaction
            .exec_params1("select setval('catalogue_version', greatest(nextval('catalogue_version'), $1))",
                          current_version + 1)[0]
            .as<std::int64_t>();
    // A new policy is nobody's business but its accounts'; models and endpoints are on every page.
    const bool models_changed = current_version == 0 || (*current)["models"] != fresh["models"] ||
                                (*current)["endpoints"] != fresh["endpoints"];
    fresh["version"] = version;
    const std::string text = to_text(fresh);
    if (text.size() > kMaxCatalogueBytes) throw std::runtime_error("the catalogue is larger than 8 MiB");
    redis->command({"SET", kCatalogueKey, text});
    redis->command({"PUBLISH", kCatalogueKey, std::to_string(version)});
    transaction.commit();
    if (models_changed) tell_all_pages(*redis, {LiveEventKind::model, "{}"});
    const std::lock_guard lock(mutex_);
    published_ = std::move(policies);
    return true;
}

void CataloguePublisher::ensure_published(PolicyId policy) {
    {
        const std::lock_guard lock(mutex_);
        if (published_.count(policy) > 0) return;
    }
    publish();
}

}  // namespace lumen::admind
