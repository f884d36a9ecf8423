// lumen.yaml and people at the same moment: nobody is served before the file is in the book, and none who comes while
// it is brought there misses what it says.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <pqxx/pqxx>
#include <thread>

#include "admind/people/settings_apply.h"
#include "tests/admind/private_admind.h"

namespace lumen::admind {
namespace {

using namespace std::chrono_literals;

constexpr const char* kAnyModel = "models: [{name: m, access: allowed, input_cost_per_million: 1}]\n";
/// As settings_apply.cpp takes it.
constexpr const char* kApplying = "select pg_advisory_xact_lock(hashtextextended('lumen settings', 0))";

TEST(Start, it_is_ready_only_when_its_file_is_in_the_book) {
    PrivateAdmind alone(kAnyModel);
    alone.stop();
    pqxx::connection connection(alone.database);
    pqxx::work other(connection);
    keep_settings_still(other);
    alone.begin();
    HttpReply ready = alone.call("GET", "/readyz", {});
    for (const auto until = std::chrono::steady_clock::now() + 60s;
         ready.body["buckets"] != "ok" && std::chrono::steady_clock::now() < until;
         ready = alone.call("GET", "/readyz", {})) {
        std::this_thread::sleep_for(20ms);
    }
    ready = alone.call("GET", "/readyz", {});
    EXPECT_EQ(ready.status, 503) << ready.text;
    EXPECT_EQ(ready.body["settings"], "not applied yet");
    other.commit();
    alone.wait_until_ready();
    EXPECT_EQ(alone.call("GET", "/readyz", {}).body["settings"], "ok");
}

TEST(Start, who_comes_while_the_file_is_applied_gets_what_it_says) {
    PrivateAdmind alone(kAnyModel);
    pqxx::connection connection(alone.database);
    pqxx::work applying(connection);
    applying.exec(kApplying);
    applying.exec("insert into groups (name, max_nano, refresh_nano, starting_nano) values ('late', 1, 0, 0)");
    auto created = std::async(std::launch::async, [&alone] {
        return alone.as_operator("POST", "/api/v1/admin/users",
                                 {{"email", "late@example.edu"}, {"name", "Late"}, {"groups", {"late"}}});
    });
    EXPECT_EQ(created.wait_for(300ms), std::future_status::timeout) << "it waits for what is being applied";
    applying.commit();
    const HttpReply user = created.get();
    EXPECT_EQ(user.status, 201) << "and then knows its group: " << user.text;
}

}  // namespace
}  // namespace lumen::admind
