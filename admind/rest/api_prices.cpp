// Prices of a model over time, for administrators. A price that has been in force is history and stays.
#include <algorithm>

#include "admind/people/account_setup.h"
#include "admind/rest/admin_model.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/settings/settings_body.h"
#include "admind/settings/settings_sections.h"

namespace lumen::admind {

namespace {

struct MeterName {
    const char* column;  ///< in the table of prices
    const char* key;     ///< in lumen.yaml and REST
    NanoCoins Price::*price;
};
constexpr MeterName kMeters[] = {
    {"input_per_million", "input_cost_per_million", &Price::input_per_million},
    {"cached_per_million", "cached_input_cost_per_million", &Price::cached_per_million},
    {"cache_write_per_million", "cache_write_cost_per_million", &Price::cache_write_per_million},
    {"output_per_million", "output_cost_per_million", &Price::output_per_million},
    {"reasoning_per_million", "reasoning_cost_per_million", &Price::reasoning_per_million},
    {"characters_per_million", "speech_cost_per_million_characters", &Price::characters_per_million},
    {"audio_per_hour", "audio_cost_per_hour", &Price::audio_per_hour},
    {"image", "image_cost", &Price::image},
    {"request", "request_cost", &Price::request}};

struct StoredPrice {
    PriceId id = 0;
    std::int64_t from_ms = 0;  ///< 0: since ever
    std::int64_t to_ms = 0;    ///< 0: no end is known
    Price price;
};

std::vector<StoredPrice> read_prices(pqxx::transaction_base& transaction, ModelId model) {
    std::vector<StoredPrice> prices;
    for (const auto& row : transaction.exec_params(
             "select p.id, (extract(epoch from p.since) * 1000)::bigint from_ms,"
             " coalesce((extract(epoch from lead(p.since) over (order by p.since)) * 1000)::bigint, 0) to_ms,"
             " (select jsonb_object_agg(meter, nano::text) from prices v where v.model_id = p.model_id"
             " and v.valid @> p.since)::text meters"
             " from price_points p where p.model_id = $1 order by p.since",
             model)) {
        StoredPrice stored;
        stored.id = row["id"].as<PriceId>();
        stored.from_ms = row["from_ms"].as<std::int64_t>();
        stored.to_ms = row["to_ms"].as<std::int64_t>();
        const Json meters =
            row["meters"].is_null() ? Json::object() : parse_json(row["meters"].c_str()).value_or(Json::object());
        for (const MeterName& meter : kMeters) {
            if (meters.contains(meter.column)) {
                stored.price.*meter.price = parse_nano(meters[meter.column].get<std::string>()).value_or(NanoCoins());
            }
        }
        prices.push_back(stored);
    }
    return prices;
}

Json price_json(const StoredPrice& stored, std::int64_t now_ms) {
    const bool begun = stored.from_ms <= now_ms;
    const bool over = stored.to_ms != 0 && stored.to_ms <= now_ms;
    Json price{{"id", id_json(stored.id)},
               {"from", utc_json(stored.from_ms)},
               {"to", utc_json(stored.to_ms)},
               {"state", over    ? "past"
                         : begun ? "in_force"
                                 : "planned"}};
    for (const MeterName& meter : kMeters) price[meter.key] = format_coins(stored.price.*meter.price);
    return price;
}

/// The price in force, then the plans: what apply_prices takes.
std::vector<PricePoint> living_points(const std::vector<StoredPrice>& stored, std::int64_t now_ms) {
    std::vector<PricePoint> points;
    for (const StoredPrice& one : stored) {
        if (one.from_ms > now_ms)
            points.push_back({one.from_ms, one.price});
        else
            points.assign(1, {0, one.price});
    }
    if (points.empty() || points.front().from_ms != 0) points.insert(points.begin(), PricePoint{});
    return points;
}

std::optional<Json> find_price(const std::vector<StoredPrice>& prices, std::int64_t from_ms, std::int64_t now_ms) {
    std::optional<Json> found;
    for (const StoredPrice& one : prices) {
        if (one.from_ms <= from_ms) found = price_json(one, now_ms);
    }
    return found;
}

}  // namespace

Answer get_prices(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
    if (!model) return not_found();
    Json data = Json::array();
    for (const StoredPrice& stored : read_prices(transaction, model->id))
        data.push_back(price_json(stored, unix_ms_now()));
    Answer answer(200, {{"data", std::move(data)}, {"next_cursor", nullptr}, {"prev_cursor", nullptr}});
    answer.headers.emplace_back("ETag", model->etag);
    return answer;
}

Answer post_price(const Call& call) {
    const std::int64_t now_ms = unix_ms_now();
    SettingsBody body(call.body);
    Section section = body.section();
    const auto from = section.utc_time_ms("from");
    if (from && *from <= now_ms) section.error("from", "must be in the future");
    const WrittenPrice change = read_meters(section);
    section.finish();
    Json made;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange found = model_for_change(call, transaction);
        if (found.refusal) return Answer(std::move(*found.refusal));
        std::vector<PricePoint> points = living_points(read_prices(transaction, found.model.id), now_ms);
        const auto after = std::find_if(points.begin(), points.end(),
                                        [&](const PricePoint& p) { return p.from_ms > from.value_or(0); });
        if (from && std::prev(after)->from_ms == *from) section.error("from", "there is a price from then on");
        if (auto refused = body.refusal()) return Answer(std::move(*refused));
        if (from) {
            PricePoint point{*from, std::prev(after)->price};
            overlay(point.price, change);
            points.insert(after, point);
        } else {
            overlay(points.front().price, change);
        }
        apply_prices(transaction, found.model.id, points, now_ms);
        const auto prices = read_prices(transaction, found.model.id);
        const std::int64_t made_ms = unix_ms_now();
        made = find_price(prices, from.value_or(made_ms), made_ms).value_or(Json());
        audit(transaction, call, "model.price", "model:" + std::to_string(found.model.id), call.body);
        transaction.commit();
    }
    call.services.publisher.publish();
    return {201, std::move(made)};
}

Answer delete_price(const Call& call) {
    const auto price = call.path_id(1);
    const std::int64_t now_ms = unix_ms_now();
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange found = model_for_change(call, transaction);
        if (found.refusal) return Answer(std::move(*found.refusal));
        std::vector<StoredPrice> prices = read_prices(transaction, found.model.id);
        const auto one =
            std::find_if(prices.begin(), prices.end(), [&](const StoredPrice& p) { return price && p.id == *price; });
        if (one == prices.end()) return not_found();
        if (one->from_ms <= now_ms)
            return Problem{409, "price_in_force", "A price that has begun is history and stays."};
        const Json before = price_json(*one, now_ms);
        prices.erase(one);
        apply_prices(transaction, found.model.id, living_points(prices, now_ms), now_ms);
        audit(transaction, call, "model.price.delete", "model:" + std::to_string(found.model.id), nullptr, before);
        transaction.commit();
    }
    call.services.publisher.publish();
    return {204, nullptr};
}

}  // namespace lumen::admind
