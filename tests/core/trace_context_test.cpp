#include "lumen_core/trace_context.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace lumen {
namespace {

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr const char* kSpan = "b7ad6b7169203331";

std::string traceparent(const std::string& version, const std::string& trace, const std::string& span,
                        const std::string& flags) {
    return version + "-" + trace + "-" + span + "-" + flags;
}

struct Row {
    const char* name;
    std::string text;
    bool valid;
};

class traceparent_row : public testing::TestWithParam<Row> {};

TEST_P(traceparent_row, is_judged_as_the_specification_says) {
    EXPECT_EQ(is_traceparent(GetParam().text), GetParam().valid) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    trace_context, traceparent_row,
    testing::Values(Row{"sampled", traceparent("00", kTrace, kSpan, "01"), true},
                    Row{"not_sampled", traceparent("00", kTrace, kSpan, "00"), true},
                    Row{"a_later_version", traceparent("cc", kTrace, kSpan, "01"), true},
                    Row{"a_later_version_with_more", traceparent("cc", kTrace, kSpan, "01-what-comes"), true},
                    Row{"a_later_version_with_other_more", traceparent("cc", kTrace, kSpan, "01.what"), false},
                    Row{"more_in_version_00", traceparent("00", kTrace, kSpan, "01-more"), false},
                    Row{"version_ff", traceparent("ff", kTrace, kSpan, "01"), false},
                    Row{"upper_case", traceparent("00", "0AF7651916CD43DD8448EB211C80319C", kSpan, "01"), false},
                    Row{"no_trace", traceparent("00", std::string(32, '0'), kSpan, "01"), false},
                    Row{"no_span", traceparent("00", kTrace, std::string(16, '0'), "01"), false},
                    Row{"flags_not_hex", traceparent("00", kTrace, kSpan, "0g"), false},
                    Row{"a_dash_elsewhere", "00-" + std::string(kTrace) + "0" + kSpan + "-01-", false},
                    Row{"too_short", traceparent("00", kTrace, kSpan, "0"), false}, Row{"empty", "", false},
                    Row{"a_line_break", traceparent("cc", kTrace, kSpan, "01-a\r\nx: y"), false},
                    Row{"too_long", traceparent("cc", kTrace, kSpan, "01-" + std::string(300, 'a')), false}),
    [](const testing::TestParamInfo<Row>& row) { return std::string(row.param.name); });

TEST(trace_context, a_request_without_one_gets_its_own_id_as_the_trace) {
    std::array<std::uint8_t, 10> random{};
    random.fill(0xAB);
    const RequestId request = make_request_id(1'700'000'000'000, random);
    const auto made = make_traceparent(request);
    const std::string text(made.data(), made.size());
    EXPECT_TRUE(is_traceparent(text)) << text;
    std::string digits(request.view());
    digits.erase(std::remove(digits.begin(), digits.end(), '-'), digits.end());
    EXPECT_EQ(text, "00-" + digits + "-" + digits.substr(16) + "-00");
}

}  // namespace
}  // namespace lumen
