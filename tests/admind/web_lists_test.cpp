// Lists over REST: every page forth and back, whatever they are sorted by (spec/rest.md §1).
#include <gtest/gtest.h>

#include "tests/admind/private_admind.h"

namespace lumen::admind {
namespace {

TEST(Lists, go_forth_and_back_over_ties_and_nulls) {
    const std::string mark = "walk-" + std::to_string(unix_ms_now());
    for (int i = 0; i < 7; ++i) {
        admind().as_operator(
            "POST", "/api/v1/admin/users",
            {{"email", mark + std::to_string(i) + "@example.edu"}, {"name", i < 4 ? "Same" : "Other"}});
    }
    for (const char* sort : {"name", "-name", "joined_at", "-joined_at", "last_used_at", "-coins", "email"}) {
        const std::string base = "/api/v1/admin/users?q=" + mark + "&sort=" + sort + "&limit=";
        const Json all = admind().as_operator("GET", base + "200&count=true").body;
        ASSERT_EQ(all["total"], 7) << sort;
        std::vector<std::string> forth;
        std::vector<std::string> back;
        Json page = admind().as_operator("GET", base + "3").body;
        EXPECT_TRUE(page["prev_cursor"].is_null());
        Json last;
        while (true) {
            for (const Json& row : page["data"]) forth.push_back(row["id"].get<std::string>());
            last = page;
            if (page["next_cursor"].is_null()) break;
            page = admind().as_operator("GET", base + "3&cursor=" + page["next_cursor"].get<std::string>()).body;
        }
        for (page = last; !page["prev_cursor"].is_null();) {
            page = admind().as_operator("GET", base + "3&cursor=" + page["prev_cursor"].get<std::string>()).body;
            for (auto row = page["data"].rbegin(); row != page["data"].rend(); ++row)
                back.insert(back.begin(), (*row)["id"].get<std::string>());
        }
        std::vector<std::string> wanted;
        for (const Json& row : all["data"]) wanted.push_back(row["id"].get<std::string>());
        EXPECT_EQ(forth, wanted) << sort;
        EXPECT_EQ(back, std::vector<std::string>(wanted.begin(), wanted.begin() + 6)) << sort;
    }
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/users?cursor=eyJzIjoibmFtZSJ9").code(), "invalid_cursor");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/users?sort=shoe").code(), "invalid_sort");
}

TEST(Lists, come_as_csv_that_is_no_formula) {
    const std::string mark = "csv-" + std::to_string(unix_ms_now());
    const HttpReply made = admind().as_operator("POST", "/api/v1/admin/users",
                                                {{"email", mark + "@example.edu"}, {"name", "=cmd(\"a\",1)"}});
    ASSERT_EQ(made.status, 201);
    const HttpReply csv = admind().as_operator("GET", "/api/v1/admin/users?format=csv&q=" + mark);
    ASSERT_EQ(csv.status, 200) << csv.text;
    EXPECT_EQ(csv.header("content-type"), "text/csv; charset=utf-8");
    EXPECT_EQ(csv.text.substr(0, 22), "id,account,name,email,");
    EXPECT_NE(csv.text.find("\"'=cmd(\"\"a\"\",1)\"," + mark + "@example.edu"), std::string::npos) << csv.text;
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/users?format=xml").code(), "invalid_request");
}

}  // namespace
}  // namespace lumen::admind
