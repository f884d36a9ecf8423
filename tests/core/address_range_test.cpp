// Ranges of addresses, as a key's owner writes them and as the gate compares them.
#include "lumen_core/address_range.h"

#include <gtest/gtest.h>

namespace lumen {
namespace {

struct RangeRow {
    const char* name;
    const char* text;
    const char* canonical;
    const char* inside;
    const char* outside;
};
void PrintTo(const RangeRow& row, std::ostream* out) {
    *out << row.name;
}

class AddressRanges : public ::testing::TestWithParam<RangeRow> {};

TEST_P(AddressRanges, have_one_text_and_hold_what_they_say) {
    const auto range = parse_address_range(GetParam().text);
    ASSERT_TRUE(range);
    EXPECT_EQ(address_range_text(*range), GetParam().canonical);
    EXPECT_TRUE(range->contains(*parse_address(GetParam().inside)));
    EXPECT_FALSE(range->contains(*parse_address(GetParam().outside)));
}

INSTANTIATE_TEST_SUITE_P(
    of_both_families, AddressRanges,
    ::testing::Values(RangeRow{"one_address", "203.0.113.7", "203.0.113.7/32", "203.0.113.7", "203.0.113.8"},
                      RangeRow{"a_network", "192.0.2.0/24", "192.0.2.0/24", "192.0.2.255", "192.0.3.0"},
                      RangeRow{"host_bits_are_dropped", "192.0.2.77/24", "192.0.2.0/24", "192.0.2.1", "192.0.1.255"},
                      RangeRow{"a_prefix_inside_a_byte", "10.16.0.0/12", "10.16.0.0/12", "10.31.1.1", "10.32.0.0"},
                      RangeRow{"all_of_ipv4", "0.0.0.0/0", "0.0.0.0/0", "8.8.8.8", "2001:db8::1"},
                      RangeRow{"an_ipv6_network", "2001:DB8::/32", "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
                      RangeRow{"one_ipv6_address", "::1", "::1/128", "::1", "::2"},
                      RangeRow{"ipv4_inside_ipv6", "192.0.2.0/24", "192.0.2.0/24", "::ffff:192.0.2.9", "::192.0.2.9"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(AddressRanges, what_is_no_range_is_refused) {
    for (const char* text : {"", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/8x", "10.0.0.0/-1",
                             "example.edu", "10.0.0.0/8/8", " 10.0.0.0", "::1%eth0"}) {
        EXPECT_FALSE(parse_address_range(text)) << text;
    }
    using namespace std::string_view_literals;
    EXPECT_FALSE(parse_address_range("10.0.0.0\0x"sv));
    EXPECT_FALSE(parse_address("::1\0::2"sv));
}

}  // namespace
}  // namespace lumen
