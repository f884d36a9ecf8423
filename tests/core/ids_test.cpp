#include "lumen_core/ids.h"

#include <gtest/gtest.h>

#include <string>

namespace lumen {
namespace {

// The example of RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC, rand_a CC3, rand_b 18C4DC0C0C07398F.
TEST(ids, request_id_is_the_uuid_v7_of_the_rfc) {
    const std::array<std::uint8_t, 10> random{0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    EXPECT_EQ(make_request_id(0x017F22E279B0, random).view(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST(ids, request_id_keeps_version_and_variant_whatever_is_random) {
    std::array<std::uint8_t, 10> random{};
    EXPECT_EQ(make_request_id(0, random).view(), "00000000-0000-7000-8000-000000000000");
    random.fill(0xFF);
    EXPECT_EQ(make_request_id(0xFFFFFFFFFFFF, random).view(), "ffffffff-ffff-7fff-bfff-ffffffffffff");
}

TEST(ids, request_ids_sort_by_time) {
    std::array<std::uint8_t, 10> high{};
    high.fill(0xFF);
    std::string before;
    for (std::int64_t ms = 1'700'000'000'000; ms < 1'700'000'000'000 + 5'000'000; ms += 9'973) {
        const RequestId id = make_request_id(ms, ms % 2 == 0 ? high : std::array<std::uint8_t, 10>{});
        EXPECT_LT(before, id.view());
        before = id.view();
    }
}

TEST(ids, what_is_made_is_taken_for_a_request_id_and_a_bent_one_is_not) {
    const std::string good(make_request_id(1'700'000'000'000, {}).view());
    EXPECT_TRUE(is_request_id(good));
    EXPECT_TRUE(is_request_id("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));  // RFC 4122's own example, version 1
    EXPECT_FALSE(is_request_id(""));
    EXPECT_FALSE(is_request_id(good + "0"));
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (const char wrong : {'G', 'A', '_', '\0', good[i] == '-' ? '0' : '-'}) {
            std::string bent = good;
            bent[i] = wrong;
            EXPECT_FALSE(is_request_id(bent)) << bent;
        }
    }
}

}  // namespace
}  // namespace lumen
