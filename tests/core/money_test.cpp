#include "lumen_core/money.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>

#include <limits>
#include <memory>
#include <random>
#include <string>
#include <type_traits>

namespace lumen {
namespace {

constexpr std::uint64_t kMany = std::numeric_limits<std::uint64_t>::max();

static_assert(!std::is_convertible_v<std::int64_t, NanoCoins> && !std::is_convertible_v<NanoCoins, std::int64_t>,
              "money does not turn silently into numbers, nor numbers into money");

/// A natural number without bounds: the independent arithmetic that cost() is held against.
class Big {
 public:
    explicit Big(std::uint64_t value) : number_(BN_new(), BN_free) {
        BN_zero(number_.get());
        for (int shift = 48; shift >= 0; shift -= 16) {
            BN_lshift(number_.get(), number_.get(), 16);
            BN_add_word(number_.get(), (value >> shift) & 0xFFFFU);
        }
    }
    Big operator*(const Big& other) const {
        Big product{0};
        const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context{BN_CTX_new(), BN_CTX_free};
        BN_mul(product.number_.get(), number_.get(), other.number_.get(), context.get());
        return product;
    }
    Big& operator+=(const Big& other) {
        BN_add(number_.get(), number_.get(), other.number_.get());
        return *this;
    }
    bool operator<=(const Big& other) const { return BN_cmp(number_.get(), other.number_.get()) <= 0; }

 private:
    std::unique_ptr<BIGNUM, decltype(&BN_free)> number_;
};

Big big(NanoCoins amount) {
    return Big{static_cast<std::uint64_t>(amount.nano())};
}

/// The price as a fraction over 10^6 × 3600 × 1000, a denominator of the test's own choosing.
Big numerator(const Price& price, const Usage& usage, bool fee) {
    const Big per_million{3'600'000};
    const Big per_hour{1'000'000};
    const Big each{3'600'000'000'000};
    const std::uint64_t cached = usage.cached_tokens < usage.input_tokens ? usage.cached_tokens : usage.input_tokens;
    const std::uint64_t uncached = usage.input_tokens - cached;
    const std::uint64_t written = usage.cache_write_tokens < uncached ? usage.cache_write_tokens : uncached;
    const std::uint64_t thought =
        usage.reasoning_tokens < usage.output_tokens ? usage.reasoning_tokens : usage.output_tokens;

    Big sum = Big{uncached - written} * big(price.input_per_million) * per_million;
    sum += Big{cached} * big(price.cached_per_million) * per_million;
    sum += Big{written} * big(price.cache_write_per_million) * per_million;
    sum += Big{usage.output_tokens - thought} * big(price.output_per_million) * per_million;
    sum += Big{thought} * big(price.reasoning_per_million) * per_million;
    sum += Big{usage.characters} * big(price.characters_per_million) * per_million;
    sum += Big{usage.audio_ms} * big(price.audio_per_hour) * per_hour;
    sum += Big{usage.images} * big(price.image) * each;
    if (fee) sum += big(price.request) * each;
    return sum;
}

/// cost is the smallest whole amount that covers the exact price, or M.
void expect_exact(const Price& price, const Usage& usage, bool fee) {
    const Big exact = numerator(price, usage, fee);
    const Big denominator{3'600'000'000'000};
    const NanoCoins charged = cost(price, usage, fee);
    ASSERT_GE(charged, NanoCoins{0});
    ASSERT_LE(charged, kMaxAmount);
    if (charged < kMaxAmount) {
        ASSERT_TRUE(exact <= big(charged) * denominator) << "charged too little";
    }
    if (charged > NanoCoins{0}) {
        ASSERT_FALSE(exact <= big(NanoCoins{charged.nano() - 1}) * denominator) << "charged too much";
    }
}

/// Numbers of all sizes, with a liking for 0, 1 and the largest.
class Draw {
 public:
    explicit Draw(std::uint64_t seed) : random_(seed) {}
    std::uint64_t up_to(std::uint64_t most) {
        const std::uint64_t kind = random_() % 8;
        if (kind == 0) return 0;
        if (kind == 1) return 1;
        if (kind == 2) return most;
        const std::uint64_t any = random_() >> (random_() % 64);
        return most == kMany ? any : any % (most + 1);
    }
    NanoCoins price() { return NanoCoins{static_cast<std::int64_t>(up_to(4'000'000'000'000'000))}; }
    Price prices() { return {price(), price(), price(), price(), price(), price(), price(), price(), price()}; }
    Usage usage(std::uint64_t most) {
        return {up_to(most), up_to(most), up_to(most), up_to(most), up_to(most), up_to(most), up_to(most), up_to(most)};
    }
    bool coin() { return random_() % 2 == 0; }

 private:
    std::mt19937_64 random_;
};

TEST(money, cost_equals_big_numbers_for_counts_of_all_sizes) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Draw draw{seed};
        for (int i = 0; i < 10'000; ++i) {
            const std::uint64_t most = i % 3 == 0 ? kMany : i % 3 == 1 ? 10'000'000 : 1'000;
            ASSERT_NO_FATAL_FAILURE(expect_exact(draw.prices(), draw.usage(most), draw.coin())) << "step " << i;
        }
    }
}

TEST(money, cost_equals_big_numbers_for_everyday_prices) {
    Draw draw{20'260'101};
    for (int i = 0; i < 20'000; ++i) {
        Price price;
        price.input_per_million = NanoCoins{static_cast<std::int64_t>(draw.up_to(30'000'000'000))};
        price.cached_per_million = NanoCoins{static_cast<std::int64_t>(draw.up_to(3'000'000'000))};
        price.output_per_million = NanoCoins{static_cast<std::int64_t>(draw.up_to(60'000'000'000))};
        price.reasoning_per_million = price.output_per_million;
        price.audio_per_hour = NanoCoins{static_cast<std::int64_t>(draw.up_to(1'000'000'000))};
        ASSERT_NO_FATAL_FAILURE(expect_exact(price, draw.usage(200'000), true)) << "step " << i;
    }
}

TEST(money, cost_of_a_chat_is_what_the_price_list_says) {
    Price price;
    price.input_per_million = NanoCoins{150'000'000};   // 0.15 coins
    price.output_per_million = NanoCoins{600'000'000};  // 0.60 coins
    Usage usage;
    usage.input_tokens = 23;
    usage.output_tokens = 30;
    EXPECT_EQ(format_coins_fixed(cost(price, usage, true)), "0.000021450");
}

TEST(money, cost_is_rounded_up_once_and_not_per_meter) {
    Price price;
    price.input_per_million = NanoCoins{1};
    price.output_per_million = NanoCoins{1};
    price.audio_per_hour = NanoCoins{1};
    Usage usage;
    usage.input_tokens = 1;
    EXPECT_EQ(cost(price, usage, true), NanoCoins{1}) << "nothing that has a price is free";
    usage.output_tokens = 1;
    usage.audio_ms = 1;
    EXPECT_EQ(cost(price, usage, true), NanoCoins{1}) << "three fractions of a nano are still one";
    usage = {};
    usage.input_tokens = 500'000;
    usage.output_tokens = 500'000;
    EXPECT_EQ(cost(price, usage, true), NanoCoins{1}) << "two halves are exactly one";
    usage.audio_ms = 1;
    EXPECT_EQ(cost(price, usage, true), NanoCoins{2});
}

TEST(money, cost_of_nothing_is_nothing) {
    Draw draw{7};
    EXPECT_EQ(cost(draw.prices(), Usage{}, false), NanoCoins{0});
    EXPECT_EQ(cost(Price{}, draw.usage(kMany), true), NanoCoins{0});
}

TEST(money, request_fee_is_charged_only_when_asked) {
    Price price;
    price.request = NanoCoins{5};
    EXPECT_EQ(cost(price, Usage{}, true), NanoCoins{5});
    EXPECT_EQ(cost(price, Usage{}, false), NanoCoins{0});
}

TEST(money, parts_never_exceed_their_whole) {
    Price price;
    price.input_per_million = NanoCoins{1'000'000};
    price.cached_per_million = NanoCoins{10'000'000};
    price.cache_write_per_million = NanoCoins{100'000'000};
    price.output_per_million = NanoCoins{1'000'000'000};
    price.reasoning_per_million = NanoCoins{10'000'000'000};
    Usage usage;
    usage.input_tokens = 10;
    usage.cached_tokens = 7;
    usage.cache_write_tokens = 9;  // only 3 are left
    usage.output_tokens = 2;
    usage.reasoning_tokens = 5;  // only 2 are there
    EXPECT_EQ(cost(price, usage, true), NanoCoins{7 * 10 + 3 * 100 + 2 * 10'000});
    usage.cached_tokens = kMany;
    EXPECT_EQ(cost(price, usage, true), NanoCoins{10 * 10 + 2 * 10'000});
}

TEST(money, cost_saturates_at_the_largest_amount) {
    Price price{kMaxAmount, kMaxAmount, kMaxAmount, kMaxAmount, kMaxAmount,
                kMaxAmount, kMaxAmount, kMaxAmount, kMaxAmount};
    Usage most{kMany, kMany / 2, kMany / 4, kMany, kMany / 2, kMany, kMany, kMany};
    EXPECT_EQ(cost(price, most, true), kMaxAmount);
    EXPECT_EQ(cost(price, Usage{}, true), kMaxAmount) << "exactly M is M";

    Usage one_image;
    one_image.images = 1;
    price.image = NanoCoins{1};
    EXPECT_EQ(cost(price, one_image, true), kMaxAmount) << "one above M is M";
    EXPECT_EQ(cost(price, one_image, false), NanoCoins{1});
}

TEST(money, coins_are_read_exactly) {
    const std::pair<const char*, std::int64_t> cases[] = {
        {"0", 0},
        {"0.0", 0},
        {"12.45", 12'450'000'000},
        {"-0.000000001", -1},
        {"0.000000001", 1},
        {"0.1", 100'000'000},
        {"1.000000000", 1'000'000'000},
        {"4000000", 4'000'000'000'000'000},
        {"4000000.000000000", 4'000'000'000'000'000},
        {"-4000000", -4'000'000'000'000'000},
        {"3999999.999999999", 3'999'999'999'999'999},
    };
    for (const auto& [text, nano] : cases) EXPECT_EQ(parse_coins(text), NanoCoins{nano}) << text;
}

TEST(money, what_is_not_a_plain_decimal_within_bounds_is_not_coins) {
    for (const char* text : {"",
                             "-",
                             "+1",
                             " 1",
                             "1 ",
                             "1.",
                             ".5",
                             "-.5",
                             "01",
                             "00",
                             "-01.5",
                             "1e3",
                             "1E3",
                             "0x10",
                             "1,5",
                             "1_000",
                             "1.5.5",
                             "--1",
                             "1.0000000000",
                             "0.0000000001",
                             "4000000.000000001",
                             "-4000000.000000001",
                             "4000001",
                             "9999999",
                             "10000000",
                             "99999999999999999999",
                             "nan",
                             "inf",
                             "1.-5",
                             "1.5-"}) {
        EXPECT_EQ(parse_coins(text), std::nullopt) << text;
    }
    EXPECT_EQ(parse_coins(std::string_view("1\0", 2)), std::nullopt);
}

TEST(money, coins_are_written_shortest_and_fixed) {
    const std::tuple<std::int64_t, const char*, const char*> cases[] = {
        {0, "0", "0.000000000"},
        {1, "0.000000001", "0.000000001"},
        {-1, "-0.000000001", "-0.000000001"},
        {12'450'000'000, "12.45", "12.450000000"},
        {100'000'000'000, "100", "100.000000000"},
        {-1'500'000'000, "-1.5", "-1.500000000"},
        {1'000'000'010, "1.00000001", "1.000000010"},
        {4'000'000'000'000'000, "4000000", "4000000.000000000"},
        {std::numeric_limits<std::int64_t>::max(), "9223372036.854775807", "9223372036.854775807"},
        {std::numeric_limits<std::int64_t>::min(), "-9223372036.854775808", "-9223372036.854775808"},
    };
    for (const auto& [nano, shortest, fixed] : cases) {
        EXPECT_EQ(format_coins(NanoCoins{nano}), shortest);
        EXPECT_EQ(format_coins_fixed(NanoCoins{nano}), fixed);
    }
}

TEST(money, every_amount_survives_being_written_and_read) {
    Draw draw{99};
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t size = draw.price().nano();
        const NanoCoins amount{draw.coin() ? size : -size};
        ASSERT_EQ(parse_coins(format_coins(amount)), amount);
        ASSERT_EQ(parse_coins(format_coins_fixed(amount)), amount);
        ASSERT_EQ(parse_nano(std::to_string(amount.nano())), amount);
    }
}

TEST(money, nano_amounts_have_one_form) {
    EXPECT_EQ(parse_nano("0"), NanoCoins{0});
    EXPECT_EQ(parse_nano("-1"), NanoCoins{-1});
    EXPECT_EQ(parse_nano("9223372036854775807"), NanoCoins{std::numeric_limits<std::int64_t>::max()});
    EXPECT_EQ(parse_nano("-9223372036854775808"), NanoCoins{std::numeric_limits<std::int64_t>::min()});
    for (const char* text : {"", "-", "-0", "00", "007", "-07", "+1", " 1", "1 ", "1.0", "1e5", "--1", "a", "1a",
                             "9223372036854775808", "-9223372036854775809", "99999999999999999999999"}) {
        EXPECT_EQ(parse_nano(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace lumen
