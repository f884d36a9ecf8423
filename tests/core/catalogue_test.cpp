#include "lumen_core/catalogue.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

namespace lumen {
namespace {

using Json = nlohmann::json;

constexpr const char* kSecret = "golden installation secret";

const std::string& golden_text() {
    static const std::string text = [] {
        std::ifstream file(LUMEN_SOURCE_DIR "/tests/data/catalogue.json", std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    }();
    return text;
}

Json golden() {
    return Json::parse(golden_text());
}

std::shared_ptr<const Catalogue> read(const Json& document) {
    const CatalogueResult result = parse_catalogue(document.dump(), kSecret);
    EXPECT_EQ(result.error, "");
    EXPECT_NE(result.catalogue, nullptr);
    return result.catalogue != nullptr ? result.catalogue : std::make_shared<const Catalogue>();
}

std::vector<std::string> texts_of(const std::vector<EndpointAddress>& addresses) {
    std::vector<std::string> texts;
    for (const EndpointAddress& address : addresses) texts.push_back(address.text);
    return texts;
}

TEST(catalogue, golden_document_is_read_whole) {
    const CatalogueResult result = parse_catalogue(golden_text(), kSecret);
    ASSERT_EQ(result.error, "");
    const Catalogue& catalogue = *result.catalogue;
    EXPECT_EQ(catalogue.version, 42);
    EXPECT_EQ(catalogue.public_url, "https://lumen.example.edu");
    EXPECT_TRUE(catalogue.api_consent);
    ASSERT_TRUE(catalogue.monitoring_token);
    EXPECT_EQ(key_hash_hex(*catalogue.monitoring_token),
              "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    EXPECT_EQ(catalogue.cors_origins, std::vector<std::string>{"https://app.example.edu"});
    ASSERT_EQ(catalogue.models.size(), 3u);
    EXPECT_EQ(catalogue.models[0].name, "llama-3.3-70b");
    EXPECT_EQ(catalogue.models[1].name, "qwen-3-coder");
    EXPECT_EQ(catalogue.models[2].name, "retired");

    const CatalogueModel& qwen = catalogue.models[1];
    EXPECT_EQ(qwen.id, 2);
    EXPECT_TRUE(qwen.needs_ack);
    EXPECT_TRUE(qwen.prefix_affinity);
    EXPECT_FALSE(qwen.disabled);
    EXPECT_FALSE(qwen.hide_when_blocked);
    EXPECT_EQ(qwen.notice_version, 3);
    EXPECT_EQ(qwen.consent_since, 2);
    EXPECT_EQ(qwen.created, 1764000000);
    EXPECT_EQ(qwen.context_window, 262144u);
    EXPECT_EQ(qwen.max_output_tokens, 32768u);
    EXPECT_TRUE(catalogue.models[2].disabled);
    EXPECT_TRUE(catalogue.models[2].hide_when_blocked);
    EXPECT_TRUE(catalogue.models[2].endpoints.empty());
}

TEST(catalogue, golden_prices_are_in_order_of_time) {
    const auto catalogue = read(golden());
    const CatalogueModel& llama = *catalogue->find("llama-3.3-70b");
    ASSERT_EQ(llama.prices.size(), 2u);
    EXPECT_EQ(llama.prices[0].id, 11);
    EXPECT_EQ(llama.prices[0].from_ms, 0);
    const Price& price = llama.prices[0].price;
    EXPECT_EQ(price.input_per_million, NanoCoins(150'000'000));
    EXPECT_EQ(price.cached_per_million, NanoCoins(75'000'000));
    EXPECT_EQ(price.cache_write_per_million, NanoCoins(150'000'000));
    EXPECT_EQ(price.output_per_million, NanoCoins(600'000'000));
    EXPECT_EQ(price.reasoning_per_million, NanoCoins(600'000'000));
    EXPECT_EQ(price.characters_per_million, NanoCoins(1));
    EXPECT_EQ(price.audio_per_hour, NanoCoins(2));
    EXPECT_EQ(price.image, NanoCoins(3));
    EXPECT_EQ(price.request, NanoCoins(4));
    EXPECT_EQ(catalogue->find("qwen-3-coder")->prices[0].price.request, kMaxAmount);
}

TEST(catalogue, golden_endpoints_are_with_their_models) {
    const auto catalogue = read(golden());
    const CatalogueModel& llama = *catalogue->find("llama-3.3-70b");
    ASSERT_EQ(llama.endpoints.size(), 2u);
    const CatalogueEndpoint& gpu1 = llama.endpoints[0];
    EXPECT_EQ(gpu1.id, 10);
    EXPECT_EQ(gpu1.name, "gpu1");
    EXPECT_FALSE(gpu1.https);
    EXPECT_EQ(gpu1.host, "gpu1:8000");
    EXPECT_EQ(gpu1.path_prefix, "/v1");
    EXPECT_EQ(texts_of(gpu1.addresses), std::vector<std::string>{"127.0.0.1:8000"});
    EXPECT_EQ(gpu1.upstream_model, "meta-llama/Llama-3.3-70B-Instruct");
    EXPECT_EQ(gpu1.credential, "");
    EXPECT_EQ(gpu1.weight, 1u);
    EXPECT_FALSE(gpu1.draining);
    EXPECT_FALSE(gpu1.continuous_usage);

    const CatalogueEndpoint& gpu2 = llama.endpoints[1];
    EXPECT_TRUE(gpu2.https);
    EXPECT_EQ(gpu2.host, "models.example.edu");
    EXPECT_EQ(gpu2.path_prefix, "/llama/v1");
    EXPECT_NE(gpu2.connection_kind, gpu1.connection_kind) << "another scheme and host";
    EXPECT_EQ(texts_of(gpu2.addresses), (std::vector<std::string>{"192.0.2.7:443", "[2001:db8::7]:443"}));
    EXPECT_EQ(gpu2.credential, "upstream-key-of-gpu2");
    EXPECT_EQ(gpu2.weight, 100u);
    EXPECT_TRUE(gpu2.draining);
    EXPECT_TRUE(gpu2.continuous_usage);
}

TEST(catalogue, golden_policies_give_verdicts) {
    const auto catalogue = read(golden());
    const CataloguePolicy* soft = catalogue->policy(1);
    ASSERT_NE(soft, nullptr);
    EXPECT_FALSE(soft->strict);
    EXPECT_EQ(soft->verdict(1), Verdict::allowed);
    EXPECT_EQ(soft->verdict(2), Verdict::needs_consent);
    EXPECT_EQ(soft->verdict(3), Verdict::blocked);
    EXPECT_EQ(soft->verdict(999), Verdict::blocked);
    const CataloguePolicy* strict = catalogue->policy(2);
    ASSERT_NE(strict, nullptr);
    EXPECT_TRUE(strict->strict);
    EXPECT_EQ(strict->verdict(1), Verdict::blocked);
    const CataloguePolicy* of_key = catalogue->policy(3);
    ASSERT_NE(of_key, nullptr);
    EXPECT_EQ(of_key->verdict(2), Verdict::allowed) << "a key without a list of models adds nothing";
    EXPECT_TRUE(of_key->allows(*parse_address("192.0.2.200")));
    EXPECT_TRUE(of_key->allows(*parse_address("2001:db8:5::1")));
    EXPECT_FALSE(of_key->allows(*parse_address("198.51.100.1")));
    EXPECT_TRUE(soft->allows(*parse_address("198.51.100.1")));
    EXPECT_EQ(catalogue->policy(4), nullptr);
}

TEST(catalogue, listings_say_what_the_document_says) {
    const Json document = golden();
    const auto catalogue = read(document);
    for (const Json& model : document.at("models")) {
        const CatalogueModel* found = catalogue->find(model.at("name").get<std::string>());
        ASSERT_NE(found, nullptr);
        EXPECT_EQ(Json::parse(found->listing), model.at("listing"));
    }
}

TEST(catalogue, models_are_found_by_their_exact_name) {
    const auto catalogue = read(golden());
    for (const CatalogueModel& model : catalogue->models) EXPECT_EQ(catalogue->find(model.name), &model);
    for (const char* name : {"", "llama", "LLAMA-3.3-70B", "llama-3.3-70b "}) EXPECT_EQ(catalogue->find(name), nullptr);
}

TEST(catalogue, price_at_is_the_latest_that_has_begun) {
    CatalogueModel model;
    model.prices = {{1, 100, {}}, {2, 200, {}}, {3, 300, {}}};
    EXPECT_EQ(model.price_at(99).id, 1);  // before the first: the first, never free
    EXPECT_EQ(model.price_at(100).id, 1);
    EXPECT_EQ(model.price_at(199).id, 1);
    EXPECT_EQ(model.price_at(200).id, 2);
    EXPECT_EQ(model.price_at(299).id, 2);
    EXPECT_EQ(model.price_at(300).id, 3);
    EXPECT_EQ(model.price_at(1'000'000).id, 3);
}

TEST(catalogue, unknown_members_are_ignored_everywhere) {
    Json document = golden();
    document["later"] = {{"x", 1}};
    document["settings"]["later"] = nullptr;
    for (const char* list : {"models", "prices", "endpoints", "policies"}) {
        for (Json& entry : document[list]) entry["later"] = {1, "two"};
    }
    EXPECT_EQ(read(document)->models.size(), 3u);
}

TEST(catalogue, empty_lists_are_a_catalogue) {
    Json document = golden();
    for (const char* list : {"models", "prices", "endpoints", "policies"}) document[list] = Json::array();
    EXPECT_TRUE(read(document)->models.empty());
}

TEST(catalogue, every_member_is_required_and_named_when_missing) {
    const auto expect_required = [](const Json& document, const std::string& path) {
        const CatalogueResult result = parse_catalogue(document.dump(), kSecret);
        EXPECT_EQ(result.catalogue, nullptr) << path;
        EXPECT_EQ(result.error, path + ": is required");
    };
    const Json document = golden();
    for (const auto& [name, value] : document.items()) {
        Json without = document;
        without.erase(name);
        expect_required(without, name);
        if (!value.is_array()) continue;
        for (const auto& [member, ignored] : value[0].items()) {
            without = document;
            without[name][0].erase(member);
            expect_required(without, name + "[0]." + member);
        }
    }
}

TEST(catalogue, every_member_of_a_wrong_type_is_an_error_with_its_path) {
    const Json document = golden();
    for (const char* list : {"models", "prices", "endpoints", "policies"}) {
        for (const auto& [member, ignored] : document[list][0].items()) {
            for (const Json& wrong : {Json(nullptr), Json(1.5), Json(Json::array({Json::object()}))}) {
                Json changed = document;
                changed[list][0][member] = wrong;
                const CatalogueResult result = parse_catalogue(changed.dump(), kSecret);
                EXPECT_EQ(result.catalogue, nullptr) << result.error;
                EXPECT_EQ(result.error.find(std::string(list) + "[0]." + member + ": must "), 0u)
                    << member << " " << wrong << ": " << result.error;
            }
        }
    }
}

struct WrongDocument {
    const char* name;
    std::function<void(Json&)> spoil;
    const char* error;
};
void PrintTo(const WrongDocument& wrong, std::ostream* out) {
    *out << wrong.error;
}

/// Sets one value, by JSON pointer.
std::function<void(Json&)> set(const char* pointer, const Json& value) {
    return [=](Json& document) { document[Json::json_pointer(pointer)] = value; };
}
std::function<void(Json&)> repeat(const char* list, std::size_t times, bool new_ids) {
    return [=](Json& document) {
        for (std::size_t i = 0; i < times; ++i) {
            Json entry = document[list][0];
            if (new_ids) entry["id"] = 1000 + i;
            document[list].push_back(entry);
        }
    };
}

class Wrong : public testing::TestWithParam<WrongDocument> {};

TEST_P(Wrong, is_refused_whole_with_its_path) {
    Json document = golden();
    GetParam().spoil(document);
    const CatalogueResult result = parse_catalogue(document.dump(), kSecret);
    EXPECT_EQ(result.catalogue, nullptr);
    EXPECT_EQ(result.error, GetParam().error);
}

std::string document_name(const testing::TestParamInfo<WrongDocument>& test) {
    return test.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    document, Wrong,
    testing::Values(
        WrongDocument{"format", set("/format", 2), "format: must be 1"},
        WrongDocument{"version_zero", set("/version", 0), "version: must be 1 to 9223372036854775807"},
        WrongDocument{"settings_no_object", set("/settings", 1), "settings: must be an object"},
        WrongDocument{"monitoring_no_hash", set("/settings/monitoring_token_hash", "abc"),
                      "settings.monitoring_token_hash: must be empty or 64 hex digits"},
        WrongDocument{"cors_no_origin", set("/settings/cors", Json::array({"a b"})), "settings.cors: must be origins"},
        WrongDocument{"models_no_list", set("/models", Json::object()), "models: must be an array"},
        WrongDocument{"model_no_object", set("/models/1", 7), "models[1]: must be an object"},
        WrongDocument{"model_id_zero", set("/models/0/id", 0), "models[0].id: must be 1 to 9223372036854775807"},
        WrongDocument{"model_id_twice", set("/models/1/id", 2), "models[1].id: is there twice"},
        WrongDocument{"model_name_twice", set("/models/1/name", "qwen-3-coder"), "models[1].name: is there twice"},
        WrongDocument{"model_name_empty", set("/models/1/name", ""), "models[1].name: must be 1 to 128 bytes"},
        WrongDocument{"model_name_long", set("/models/1/name", std::string(129, 'x')),
                      "models[1].name: must be 1 to 128 bytes"},
        WrongDocument{"model_name_with_a_line_end", set("/models/1/name", "a\nb"),
                      "models[1].name: must have no spaces or control characters"},
        WrongDocument{"notice_beyond_32_bits", set("/models/1/notice_version", 1ll << 31),
                      "models[1].notice_version: must be 0 to 2147483647"},
        WrongDocument{"negative_context", set("/models/1/context_window", -1),
                      "models[1].context_window: must be 0 to 1099511627776"},
        WrongDocument{"listing_no_object", set("/models/1/listing", "x"), "models[1].listing: must be an object"},
        WrongDocument{"model_without_price", set("/prices/3/model", 2), "models[2].prices: none"},
        WrongDocument{"price_id_twice", set("/prices/1/id", 12), "prices[1].id: is there twice"},
        WrongDocument{"price_of_no_model", set("/prices/1/model", 77), "prices[1].model: no such model"},
        WrongDocument{"two_prices_at_once", set("/prices/1/from_ms", 1798761600000),
                      "prices[1].from_ms: another price of the model begins then"},
        WrongDocument{"negative_price", set("/prices/1/image", "-1"),
                      "prices[1].image: must be nano-coins, 0 to 4000000000000000"},
        WrongDocument{"price_above_m", set("/prices/1/image", "4000000000000001"),
                      "prices[1].image: must be nano-coins, 0 to 4000000000000000"},
        WrongDocument{"price_with_a_point", set("/prices/1/image", "0.5"),
                      "prices[1].image: must be nano-coins, 0 to 4000000000000000"},
        WrongDocument{"price_as_a_number", set("/prices/1/image", 5), "prices[1].image: must be a string"},
        WrongDocument{"endpoint_id_twice", set("/endpoints/1/id", 10), "endpoints[1].id: is there twice"},
        WrongDocument{"endpoint_of_no_model", set("/endpoints/0/model", 77), "endpoints[0].model: no such model"},
        WrongDocument{"endpoint_name_with_space", set("/endpoints/0/name", "a b"),
                      "endpoints[0].name: must have no spaces or control characters"},
        WrongDocument{"url_without_scheme", set("/endpoints/0/url", "gpu1:8000"),
                      "endpoints[0].url: must be http(s)://host[:port][/path]"},
        WrongDocument{"address_by_name", set("/endpoints/0/addresses/0", "gpu1:8000"),
                      "endpoints[0].addresses: must be IP addresses with ports"},
        WrongDocument{"address_without_port", set("/endpoints/0/addresses/0", "127.0.0.1"),
                      "endpoints[0].addresses: must be IP addresses with ports"},
        WrongDocument{"address_no_text", set("/endpoints/0/addresses/0", 1),
                      "endpoints[0].addresses: must hold strings only"},
        WrongDocument{"no_address", set("/endpoints/0/addresses", Json::array()), "endpoints[0].addresses: none"},
        WrongDocument{"too_many_addresses", set("/endpoints/0/addresses", Json(17, "127.0.0.1:1")),
                      "endpoints[0].addresses: more than 16"},
        WrongDocument{"weight_zero", set("/endpoints/0/weight", 0), "endpoints[0].weight: must be 1 to 100"},
        WrongDocument{"weight_101", set("/endpoints/0/weight", 101), "endpoints[0].weight: must be 1 to 100"},
        WrongDocument{"state", set("/endpoints/0/state", "sleeping"), "endpoints[0].state: must be active or draining"},
        WrongDocument{
            "credential_in_the_clear", set("/endpoints/0/credential", "sk-upstream"),
            "endpoints[0].credential: does not unseal: sealed under another installation secret, or for another id"},
        WrongDocument{
            "credential_of_another_endpoint",
            [](Json& d) { d["endpoints"][0]["credential"] = d["endpoints"][1]["credential"]; },
            "endpoints[0].credential: does not unseal: sealed under another installation secret, or for another id"},
        WrongDocument{"credential_that_would_end_a_header",
                      [](Json& d) { d["endpoints"][0]["credential"] = seal_credential(kSecret, "10", "a\r\nx: y"); },
                      "endpoints[0].credential: must have no spaces or control characters"},
        WrongDocument{"65_endpoints", repeat("endpoints", 63, true), "endpoints[65].model: has more than 64 endpoints"},
        WrongDocument{"policy_id_twice", set("/policies/1/id", 1), "policies[1].id: is there twice"},
        WrongDocument{"policy_mode", set("/policies/1/mode", "hard"), "policies[1].mode: must be soft or strict"},
        WrongDocument{"policy_of_no_model", set("/policies/1/allowed/0", 77), "policies[1].allowed: no such model"},
        WrongDocument{"policy_model_as_text", set("/policies/1/allowed/0", "1"),
                      "policies[1].allowed: must hold integers only"},
        WrongDocument{"policy_range", set("/policies/2/addresses/0", "10.0.0.0/33"),
                      "policies[2].addresses: must be ranges of IP addresses"},
        WrongDocument{"two_verdicts", set("/policies/0/needs_consent/0", 1),
                      "policies[0].needs_consent: a model is there twice"}),
    document_name);

TEST(catalogue, sixty_four_endpoints_of_a_model_are_read) {
    Json document = golden();
    repeat("endpoints", 62, true)(document);
    EXPECT_EQ(read(document)->find("llama-3.3-70b")->endpoints.size(), kMaxEndpointsPerModel);
}

TEST(catalogue, text_that_is_no_document_is_refused) {
    for (const std::string& text :
         {std::string(), std::string(" "), std::string("null "), std::string("[]"), std::string("{}"), std::string("{"),
          std::string(64, '\0'), std::string("\xFF\xFE"), golden_text() + "x",
          golden_text().substr(0, golden_text().size() / 2), std::string(100'000, '[')}) {
        const CatalogueResult result = parse_catalogue(text, kSecret);
        EXPECT_EQ(result.catalogue, nullptr);
        EXPECT_NE(result.error, "") << text.substr(0, 40);
    }
}

TEST(catalogue, document_of_8_mib_is_read_and_a_byte_more_is_not) {
    std::string text = golden_text();
    text.resize(kMaxCatalogueBytes, ' ');
    EXPECT_EQ(parse_catalogue(text, kSecret).error, "");
    EXPECT_EQ(parse_catalogue(text + " ", kSecret).error, "longer than 8388608 bytes");
}

TEST(catalogue, is_read_under_the_secret_before_while_that_is_rotated) {
    EXPECT_EQ(parse_catalogue(golden_text(), "another", kSecret).error, "");
    EXPECT_EQ(parse_catalogue(golden_text(), kSecret, "another").error, "");
}

TEST(catalogue, another_installation_secret_is_an_error_that_names_the_endpoint) {
    const CatalogueResult result = parse_catalogue(golden_text(), "another");
    EXPECT_EQ(result.catalogue, nullptr);
    EXPECT_EQ(result.error.find("endpoints[1].credential: does not unseal"), 0u) << result.error;
}

}  // namespace
}  // namespace lumen
