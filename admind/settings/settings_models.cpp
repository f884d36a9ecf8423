#include <openssl/sha.h>

#include <algorithm>

#include "admind/settings/settings_sections.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/credential_seal.h"
#include "lumen_core/endpoint_choice.h"
#include "lumen_core/endpoint_url.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostModels = 1000;
constexpr std::size_t kMostPricePoints = 32;
constexpr std::size_t kMostUrlBytes = 1024;  // as the catalogue takes them

}  // namespace

WrittenPrice read_meters(Section& section) {
    WrittenPrice price;
    const auto amount = [&](const char* key) { return section.amount(key, AmountKind::not_negative); };
    price.input = amount("input_cost_per_million");
    price.output = amount("output_cost_per_million");
    price.cached = amount("cached_input_cost_per_million");
    price.cache_write = amount("cache_write_cost_per_million");
    price.reasoning = amount("reasoning_cost_per_million");
    price.characters = amount("speech_cost_per_million_characters");
    price.audio_hour = amount("audio_cost_per_hour");
    price.image = amount("image_cost");
    price.request = amount("request_cost");
    if (section.has("audio_cost_per_minute")) {
        section.warning("audio_cost_per_minute", "is `audio_cost_per_hour` / 60 here");
        const auto minute = amount("audio_cost_per_minute");
        constexpr NanoCoins kMostPerMinute{kMaxAmount.nano() / 60};
        if (minute && *minute > kMostPerMinute) {
            section.error("audio_cost_per_minute", "out of range");
        } else if (minute && !price.audio_hour) {
            price.audio_hour = NanoCoins(minute->nano() * 60);
        }
    }
    return price;
}

namespace {

struct Meter {
    std::optional<NanoCoins> WrittenPrice::*written;
    NanoCoins Price::*price;
};
constexpr Meter kMeters[] = {
    {&WrittenPrice::input, &Price::input_per_million},
    {&WrittenPrice::cached, &Price::cached_per_million},
    {&WrittenPrice::cache_write, &Price::cache_write_per_million},
    {&WrittenPrice::output, &Price::output_per_million},
    {&WrittenPrice::reasoning, &Price::reasoning_per_million},
    {&WrittenPrice::characters, &Price::characters_per_million},
    {&WrittenPrice::audio_hour, &Price::audio_per_hour},
    {&WrittenPrice::image, &Price::image},
    {&WrittenPrice::request, &Price::request},
};

}  // namespace

void overlay(WrittenPrice& base, const WrittenPrice& change) {
    for (const Meter& meter : kMeters) {
        if (change.*meter.written) base.*meter.written = change.*meter.written;
    }
}

void overlay(Price& base, const WrittenPrice& change) {
    for (const Meter& meter : kMeters) {
        if (change.*meter.written) base.*meter.price = *(change.*meter.written);
    }
}

namespace {

Price complete(const WrittenPrice& written) {
    constexpr NanoCoins kFree;
    Price price;
    price.input_per_million = written.input.value_or(kFree);
    price.cached_per_million = written.cached.value_or(price.input_per_million);
    price.cache_write_per_million = written.cache_write.value_or(price.input_per_million);
    price.output_per_million = written.output.value_or(kFree);
    price.reasoning_per_million = written.reasoning.value_or(price.output_per_million);
    price.characters_per_million = written.characters.value_or(kFree);
    price.audio_per_hour = written.audio_hour.value_or(kFree);
    price.image = written.image.value_or(kFree);
    price.request = written.request.value_or(kFree);
    return price;
}

bool is_free(const Price& price) {
    constexpr NanoCoins kFree;
    return price.input_per_million == kFree && price.output_per_million == kFree &&
           price.characters_per_million == kFree && price.audio_per_hour == kFree && price.image == kFree &&
           price.request == kFree;
}

std::vector<PricePoint> read_prices(Section& model, SettingsReport& report) {
    WrittenPrice now = read_meters(model);
    std::vector<std::pair<std::int64_t, WrittenPrice>> planned;
    for (const Section::Item& item : model.list("prices")) {
        Section entry(report, item.node, item.path);
        const auto from = entry.utc_time_ms("from");
        if (!entry.has("from")) entry.required("from");
        const WrittenPrice change = read_meters(entry);
        entry.finish();
        if (!from) continue;
        const auto same = std::find_if(planned.begin(), planned.end(), [&](const auto& p) { return p.first == *from; });
        if (same != planned.end()) {
            entry.error("from", "duplicate of prices[" + std::to_string(same - planned.begin()) + "].from");
            continue;
        }
        planned.emplace_back(*from, change);
    }
    if (planned.size() > kMostPricePoints) model.error("prices", "more than " + std::to_string(kMostPricePoints));
    std::sort(planned.begin(), planned.end(), [](const auto& a, const auto& b) { return a.first < b.first; });

    std::vector<PricePoint> points{{0, complete(now)}};
    for (const auto& [from, change] : planned) {
        overlay(now, change);
        points.push_back({from, complete(now)});
    }
    return points;
}

/// An id that names no address: it is shown to clients.
std::string made_up_id(const std::string& url, const std::string& model, std::size_t place) {
    const std::string text = url + "\n" + model + "\n" + std::to_string(place);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string id = "ep-";
    for (int i = 0; i < 4; ++i) {
        id += kHex[digest[i] >> 4];
        id += kHex[digest[i] & 15];
    }
    return id;
}

bool is_credential(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool is_endpoint_id(const std::string& id) {
    return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    });
}

}  // namespace

std::vector<EndpointSettings> read_endpoints(Section& model, SettingsReport& report, const std::string& model_name) {
    std::vector<EndpointSettings> endpoints;
    std::vector<std::size_t> places;  // of those endpoints in the file
    const std::vector<Section::Item> items = model.list("endpoints");
    if (items.size() > kMaxEndpointsPerModel) {
        model.error("endpoints", "more than " + std::to_string(kMaxEndpointsPerModel));
        return endpoints;
    }
    for (std::size_t place = 0; place < items.size(); ++place) {
        Section entry(report, items[place].node, items[place].path);
        EndpointSettings endpoint;
        const auto url = entry.web_url("url");
        if (!entry.has("url")) entry.required("url");
        if (url && !parse_endpoint_url(*url)) entry.error("url", "must be http or https (got \"" + *url + "\")");
        endpoint.url = url.value_or("");
        endpoint.api_key = entry.secret("api_key").value_or("");
        // It becomes a header line; a gate would refuse the whole catalogue for it.
        if (!is_credential(endpoint.api_key)) entry.error("api_key", "must have no spaces or control characters");
        if (endpoint.api_key.size() > kMaxCredentialBytes) entry.error("api_key", "longer than 4096 bytes");
        if (endpoint.url.size() > kMostUrlBytes) entry.error("url", "longer than 1024 bytes");
        endpoint.model = entry.text("model", model_name);
        if (endpoint.model.empty() || endpoint.model.size() > kMaxUpstreamModelBytes) {
            entry.error("model", "1 to " + std::to_string(kMaxUpstreamModelBytes) + " bytes");
        }
        endpoint.weight = static_cast<std::uint32_t>(entry.integer("weight", 1, 100).value_or(1));
        endpoint.draining = entry.word("state", "active", {"active", "draining"}) == "draining";
        endpoint.continuous_usage = entry.boolean("continuous_usage", false);
        const auto equal =
            static_cast<std::size_t>(std::count_if(endpoints.begin(), endpoints.end(), [&](const auto& e) {
                return e.url == endpoint.url && e.model == endpoint.model;
            }));
        endpoint.id = entry.text("id", made_up_id(endpoint.url, endpoint.model, equal));
        if (!is_endpoint_id(endpoint.id)) entry.error("id", "1 to 64 letters, digits, `-`, `_` or `.`");
        entry.finish();
        const auto same =
            std::find_if(endpoints.begin(), endpoints.end(), [&](const auto& e) { return e.id == endpoint.id; });
        if (same != endpoints.end()) {
            const std::size_t first = places[static_cast<std::size_t>(same - endpoints.begin())];
            entry.error("id", "duplicate of endpoints[" + std::to_string(first) + "].id");
            continue;
        }
        endpoints.push_back(std::move(endpoint));
        places.push_back(place);
    }
    return endpoints;
}

namespace {

std::vector<std::string> read_modalities(Section& section, const char* key) {
    if (!section.has(key)) {
        section.raw(key);
        return {};
    }
    std::vector<std::string> modalities = section.texts(key);
    for (const std::string& modality : modalities) {
        if (modality != "text" && modality != "image" && modality != "video" && modality != "audio") {
            section.warning(key, "unknown modality `" + modality + "`");
        }
    }
    return modalities;
}

}  // namespace

bool is_model_name(const std::string& name) {
    return !name.empty() && name.size() <= 128 &&
           std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f' && c != '"' && c != '\\'; });
}

ModelSettings read_model(Section& section, SettingsReport& report, const std::string& default_ack) {
    constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;
    ModelSettings model;
    model.name = section.text("name", "");
    model.access = section.access("access");
    model.needs_ack = section.boolean("needs_ack", false);
    model.ack_message = section.text("ack_message", default_ack);
    const auto active = section.boolean("active");
    if (active) section.warning("active", "`active: false` is `disabled: true` here");
    model.disabled = section.boolean("disabled", active && !*active && !model.access);
    model.hide_when_blocked = section.boolean("hide_when_blocked", false);
    model.description = section.text("description", "");
    model.url = section.web_url("url").value_or("");
    model.notice = section.text("notice", "");
    model.prices = read_prices(section, report);
    model.context_window = static_cast<std::uint64_t>(section.integer("context_window", 1, kMostTokens).value_or(0));
    model.max_output_tokens =
        static_cast<std::uint64_t>(section.integer("max_output_tokens", 1, kMostTokens).value_or(0));
    model.knowledge_cutoff = section.text("knowledge_cutoff", "");
    model.supports_reasoning = section.boolean("supports_reasoning");
    model.supports_function_calling = section.boolean("supports_function_calling");
    model.input_modalities = read_modalities(section, "input_modalities");
    model.output_modalities = read_modalities(section, "output_modalities");
    model.prefix_affinity = section.boolean("prefix_affinity", false);
    model.endpoints = read_endpoints(section, report, model.name);
    section.no_effect({"supports_vision", "max_input_tokens"});
    section.finish();
    return model;
}

void read_models(Section& root, SettingsReport& report, Settings& settings) {
    Section defaults(report, root.raw("defaults"), "defaults");
    Section app(report, root.raw("app"), "app");
    std::string default_ack = defaults.section("models").text("ack_message", "");
    if (default_ack.empty()) default_ack = app.text("graylist_default_notice", "");

    const std::vector<Section::Item> items = root.list("models");
    if (items.size() > kMostModels) {
        root.error("models", "more than " + std::to_string(kMostModels));
        return;
    }
    for (const Section::Item& item : items) {
        // Findings name a model by its name, as a place in a long list tells nobody anything.
        const YAML::Node name_node = item.node.IsMap() ? item.node["name"] : YAML::Node(YAML::NodeType::Undefined);
        const bool named = name_node.IsDefined() && name_node.IsScalar() && is_model_name(name_node.Scalar());
        Section section(report, item.node, named ? "models[" + name_node.Scalar() + "]" : item.path);
        if (!named) {
            if (section.has("name"))
                section.error("name", "1 to 128 characters, no spaces");
            else
                section.required("name");
        }
        ModelSettings model = read_model(section, report, default_ack);
        if (!named) continue;
        if (std::all_of(model.prices.begin(), model.prices.end(), [](const auto& p) { return is_free(p.price); })) {
            report.warning(section.path(), "has no price: it is free");
        }
        const auto same = std::find_if(settings.models.begin(), settings.models.end(),
                                       [&](const ModelSettings& other) { return other.name == model.name; });
        if (same != settings.models.end()) {
            report.warning(section.path(), "is there twice; the last one counts");
            *same = std::move(model);
        } else {
            settings.models.push_back(std::move(model));
        }
    }
}

}  // namespace lumen::admind
