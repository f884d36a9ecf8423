// How long the profile page's one answer takes with 100 keys and 300 models. The figures are printed; what is asserted
// holds on a busy machine too: the quickest of many comes within the time that B14 gives to all, and an account with a
// long history has its page as quickly as a new one.
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/StreamCopier.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr int kModels = 300;
constexpr int kKeys = 100;
constexpr int kRounds = 150;
constexpr double kMostMilliseconds = 20.0;  // B14
constexpr double kMostFloors = 40.0;        // where the machine is so slow that a call for one row takes half of that

/// Hours in which the account used each model once: a day as the forecast reads it, and what came before.
constexpr int kRecentHours = 20;
constexpr int kEarlierHours = 200;

std::string many_models() {
    std::string yaml = "rate_limiting: {write: 100000 per minute}\ndefaults: {models: {access: allowed}}\nmodels:\n";
    for (int i = 0; i < kModels; ++i) {
        yaml += "  - {name: org/model-" + std::to_string(i) +
                ", input_cost_per_million: 1, endpoints: [{id: one, url: 'http://127.0.0.1:9/v1'}]}\n";
    }
    return yaml;
}

/// What a call takes whose answer nobody parses or checks.
double bare_milliseconds(const PrivateAdmind& admind, const PrivateAdmind::Browser& person, const char* path) {
    const auto began = std::chrono::steady_clock::now();
    Poco::Net::HTTPClientSession session("127.0.0.1", admind.daemon->port());
    session.setTimeout(Poco::Timespan(60, 0));
    Poco::Net::HTTPRequest request("GET", path, "HTTP/1.1");
    request.add("Cookie", std::string(kSessionCookie) + "=" + person.cookie);
    session.sendRequest(request);
    Poco::Net::HTTPResponse response;
    std::string text;
    Poco::StreamCopier::copyToString(session.receiveResponse(response), text);
    EXPECT_EQ(response.getStatus(), Poco::Net::HTTPResponse::HTTP_OK);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

struct Times {
    double least, median, p99;
};
Times times_of(const PrivateAdmind& admind, const PrivateAdmind::Browser& person, const char* path) {
    std::vector<double> took;
    for (int i = 0; i < kRounds; ++i) took.push_back(bare_milliseconds(admind, person, path));
    std::sort(took.begin(), took.end());
    return {took.front(), took[took.size() / 2], took[took.size() * 99 / 100]};
}

/// Use of every model in each of so many hours, from `after` hours ago back.
void use_all_models(const PrivateAdmind& admind, const std::string& account, int after, int hours) {
    admind.execute("insert into usage_quarter select " + account +
                   ", date_trunc('hour', now()) - n * interval '1 hour'"
                   ", 0, m.id, 1, 0, 1, 10, 10, 100, now() - n * interval '1 hour' from models m, generate_series(" +
                   std::to_string(after + 1) + ", " + std::to_string(after + hours) + ") n");
}

void print_times(const char* what, const Times& times) {
    std::printf("%s: least %.1f, median %.1f, p99 %.1f ms\n", what, times.least, times.median, times.p99);
}

TEST(ProfileSpeed, B14_the_whole_profile_is_quick_with_100_keys_300_models_and_any_history) {
    const PrivateAdmind admind(many_models());
    const auto person = admind.new_person("5");
    for (int i = 0; i < kKeys; ++i) {
        ASSERT_EQ(admind
                      .as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys",
                                   {{"name", "key " + std::to_string(i)}})
                      .status,
                  201);
    }
    use_all_models(admind, person.account, 0, kRecentHours);
    const HttpReply profile = person.call("GET", "/api/v1/me/profile");
    ASSERT_EQ(profile.status, 200) << profile.text.substr(0, 500);
    EXPECT_EQ(profile.body["keys"]["data"].size(), static_cast<std::size_t>(kKeys));
    EXPECT_EQ(profile.body["models"]["data"].size(), static_cast<std::size_t>(kModels));
    // A call that reads one row of the book says what a call costs here, now, whatever it is for.
    const Times floor = times_of(admind, person, "/readyz");
    const Times recent = times_of(admind, person, "/api/v1/me/profile");
    // The forecast looks back a day, or a week after an idle day: this is before both.
    use_all_models(admind, person.account, 8 * 24, kEarlierHours);
    const Times old = times_of(admind, person, "/api/v1/me/profile");
    print_times("GET /readyz", floor);
    print_times("GET /me/profile, 100 keys, 300 models, 6,000 rows of use", recent);
    print_times("GET /me/profile, the same with 66,000 rows", old);
    const Json used = person.call("GET", "/api/v1/me/models?limit=1").body["data"][0];
    EXPECT_EQ(used["requests"], kRecentHours + kEarlierHours) << "nothing of the history is left out";
    // The least of many is what it takes when nobody is in the way, or nearly so.
    EXPECT_LT(recent.least, std::max(kMostMilliseconds, kMostFloors * floor.least));
    EXPECT_LT(old.least, 2 * recent.least) << "the page reads all that the account ever used";
}

}  // namespace
}  // namespace lumen::admind
