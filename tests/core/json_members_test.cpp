#include "lumen_core/json_members.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace lumen {
namespace {

using Members = std::vector<std::pair<std::string, std::string>>;

struct Walk {
    Members members;
    bool malformed = false;
};

Walk walk(std::string_view text) {
    Walk walked;
    JsonMembers members(text);
    for (JsonMember member; members.next(member);) {
        walked.members.emplace_back(member.key, member.value);
        EXPECT_EQ(text[member.begin], '"');
        EXPECT_EQ(text.data() + member.end, member.value.data() + member.value.size());
    }
    walked.malformed = members.malformed();
    return walked;
}

TEST(json_members, gives_names_and_values_as_written) {
    const Walk walked = walk(R"( { "a" : 1 ,"b":"x\"}\\","c\"d":{"e":[{}, "]"]}, "f":[ ] ,"g":null,"h":-1.5e3 } )");
    EXPECT_FALSE(walked.malformed);
    EXPECT_EQ(walked.members, (Members{{"a", "1"},
                                       {"b", R"("x\"}\\")"},
                                       {R"(c\"d)", R"({"e":[{}, "]"]})"},
                                       {"f", "[ ]"},
                                       {"g", "null"},
                                       {"h", "-1.5e3"}}));
}

TEST(json_members, empty_object_has_no_members) {
    EXPECT_TRUE(walk("{}").members.empty());
    EXPECT_FALSE(walk(" { } \n").malformed);
}

TEST(json_members, repeated_names_are_all_given) {
    EXPECT_EQ(walk(R"({"a":1,"a":2})").members, (Members{{"a", "1"}, {"a", "2"}}));
}

TEST(json_members, deep_nesting_needs_no_stack) {
    const std::string deep(200'000, '[');
    const Walk walked = walk("{\"a\":" + deep + std::string(200'000, ']') + ",\"b\":1}");
    EXPECT_FALSE(walked.malformed);
    EXPECT_EQ(walked.members.size(), 2u);
}

class MalformedText : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(json, MalformedText,
                         testing::Values("", " ", "[]", "1", "\"a\"", "{", "{,}", "{\"a\"", "{\"a\":", "{\"a\":1",
                                         "{\"a\":1,", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":}", "{\"a\":,\"b\":1}",
                                         "{a:1}", "{\"a\":1 \"b\":2}", "{\"a\":\"x}", "{\"a\":\"x\\\"}", "{\"a\":[1}",
                                         "{\"a\":{\"b\":1}", "{\"a\":1}}", "{\"a\":1}x", "{\"a\":x\"y\"}",
                                         "{\"a\":1{}}", "{\"a\":\"b\"\"c\"}", "{\"a\\\":1}"));

TEST_P(MalformedText, is_said_to_be) {
    EXPECT_TRUE(walk(GetParam()).malformed);
}

}  // namespace
}  // namespace lumen
