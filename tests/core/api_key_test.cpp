#include "lumen_core/api_key.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>

#include <algorithm>
#include <random>

namespace lumen {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

std::array<std::uint8_t, 32> random_bytes(std::mt19937_64& random) {
    std::array<std::uint8_t, 32> bytes{};
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    return bytes;
}

/// CRC-32 by its definition, bit by bit.
std::uint32_t plain_crc32(std::string_view text) {
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : text) {
        crc ^= static_cast<std::uint8_t>(c);
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? 0xEDB88320U ^ (crc >> 1U) : crc >> 1U;
    }
    return ~crc;
}

TEST(api_key, has_the_documented_form) {
    EXPECT_EQ(plain_crc32("123456789"), 0xCBF43926U) << "the check value of CRC-32/ISO-HDLC";
    std::mt19937_64 random{1};
    for (int i = 0; i < 200; ++i) {
        const auto bytes = random_bytes(random);
        const std::string key = make_api_key(bytes);
        ASSERT_EQ(key.size(), 3 + 43 + 6U);
        ASSERT_EQ(key.substr(0, 3), "sk_");

        // 43 digits read back, most significant first, are the 256 random bits.
        BIGNUM* number = BN_new();
        BN_zero(number);
        for (const char c : key.substr(3, 43)) {
            ASSERT_NE(kDigits.find(c), std::string_view::npos);
            BN_mul_word(number, 62);
            BN_add_word(number, kDigits.find(c));
        }
        std::array<std::uint8_t, 32> read{};
        ASSERT_EQ(BN_bn2binpad(number, read.data(), 32), 32);
        BN_free(number);
        ASSERT_EQ(read, bytes);

        std::uint64_t checksum = 0;
        for (const char c : key.substr(46)) checksum = checksum * 62 + kDigits.find(c);
        ASSERT_EQ(checksum, plain_crc32(key.substr(0, 46)));
        ASSERT_EQ(api_key_form(key), KeyForm::own);
    }
}

TEST(api_key, hash_is_read_back_from_its_digits_and_from_nothing_else) {
    const KeyHash hash = hash_api_key("secret", "key");
    const std::string hex = key_hash_hex(hash);
    EXPECT_EQ(key_hash_of_hex(hex), hash);
    for (const std::string& wrong :
         {std::string(), hex + "0", hex.substr(1), "G" + hex.substr(1), "A" + hex.substr(1)}) {
        EXPECT_FALSE(key_hash_of_hex(wrong)) << wrong;
    }
}

TEST(api_key, a_secrets_name_tells_which_and_not_what_it_is) {
    EXPECT_EQ(installation_secret_id("one").size(), 16U);
    EXPECT_EQ(installation_secret_id("one"), installation_secret_id("one"));
    EXPECT_NE(installation_secret_id("one"), installation_secret_id("two"));
    EXPECT_EQ(api_key_form("lumen installation secret\n"), KeyForm::malformed) << "so it is no key's hash";
}

TEST(api_key, of_zero_and_of_all_ones_has_the_same_length) {
    std::array<std::uint8_t, 32> bytes{};
    EXPECT_EQ(make_api_key(bytes).substr(0, 46), "sk_" + std::string(43, '0'));
    bytes.fill(0xFF);
    EXPECT_EQ(make_api_key(bytes).size(), 52U);
    EXPECT_EQ(api_key_form(make_api_key(bytes)), KeyForm::own);
}

TEST(api_key, with_any_one_character_changed_is_broken) {
    std::mt19937_64 random{2};
    const std::string key = make_api_key(random_bytes(random));
    for (std::size_t at = 3; at < key.size(); ++at) {
        for (const char c : kDigits) {
            std::string changed = key;
            changed[at] = c;
            EXPECT_EQ(api_key_form(changed), changed == key ? KeyForm::own : KeyForm::broken) << changed;
        }
    }
}

TEST(api_key, with_two_characters_swapped_is_broken) {
    std::mt19937_64 random{3};
    const std::string key = make_api_key(random_bytes(random));
    for (std::size_t at = 3; at + 1 < key.size(); ++at) {
        std::string swapped = key;
        std::swap(swapped[at], swapped[at + 1]);
        EXPECT_EQ(api_key_form(swapped), swapped == key ? KeyForm::own : KeyForm::broken) << swapped;
    }
}

TEST(api_key, of_another_form_is_looked_up) {
    std::mt19937_64 random{4};
    const std::string key = make_api_key(random_bytes(random));
    for (const std::string& other :
         {std::string{"sk_"}, std::string{"x"}, key.substr(0, 51), key + "0", "SK_" + key.substr(3),
          "sk-" + key.substr(3), "sk_" + std::string(48, 'a') + "-", std::string(128, '~'), std::string{"!"}}) {
        EXPECT_EQ(api_key_form(other), KeyForm::foreign) << other;
    }
}

TEST(api_key, that_cannot_be_one_is_malformed) {
    EXPECT_EQ(api_key_form(""), KeyForm::malformed);
    EXPECT_EQ(api_key_form(std::string(129, 'a')), KeyForm::malformed);
    for (int byte = 0; byte < 256; ++byte) {
        const bool visible = byte > 0x20 && byte < 0x7F;
        const std::string key = std::string{"abc"} + static_cast<char>(byte) + "def";
        EXPECT_EQ(api_key_form(key), visible ? KeyForm::foreign : KeyForm::malformed) << "byte " << byte;
    }
}

TEST(api_key, operator_token_never_passes_for_a_key) {
    std::mt19937_64 random{5};
    const std::string token = make_operator_token(random_bytes(random));
    EXPECT_EQ(token.substr(0, 4), "lop_");
    EXPECT_EQ(token.size(), 53U);
    EXPECT_EQ(api_key_form(token), KeyForm::broken);
}

// RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
TEST(api_key, hash_is_hmac_sha256) {
    EXPECT_EQ(key_hash_hex(hash_api_key(std::string(20, '\x0b'), "Hi There")),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    EXPECT_EQ(key_hash_hex(hash_api_key("Jefe", "what do ya want for nothing?")),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(
        key_hash_hex(hash_api_key(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(api_key, hash_bytes_are_the_raw_hash) {
    const KeyHash hash = hash_api_key("secret", "key");
    ASSERT_EQ(key_hash_bytes(hash).size(), 32U);
    EXPECT_TRUE(std::equal(hash.begin(), hash.end(), key_hash_bytes(hash).begin(),
                           [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
}

TEST(api_key, hint_shows_both_ends_only_of_long_keys) {
    EXPECT_EQ(api_key_hint("sk_abcdefghijklmnop"), "sk_a…mnop");
    EXPECT_EQ(api_key_hint("0123456789abcdef"), "0123…cdef");
    EXPECT_EQ(api_key_hint("0123456789abcde"), "0123…");
    EXPECT_EQ(api_key_hint("ab"), "ab…");
}

TEST(api_key, one_final_newline_is_not_part_of_a_secret) {
    EXPECT_EQ(strip_final_newline("secret\n"), "secret");
    EXPECT_EQ(strip_final_newline("secret\r\n"), "secret");
    EXPECT_EQ(strip_final_newline("secret\n\n"), "secret\n");
    EXPECT_EQ(strip_final_newline("secret"), "secret");
    EXPECT_EQ(strip_final_newline("secret\r"), "secret\r");
    EXPECT_EQ(strip_final_newline("sec\nret"), "sec\nret");
    EXPECT_EQ(strip_final_newline("\n"), "");
    EXPECT_EQ(strip_final_newline(""), "");
}

}  // namespace
}  // namespace lumen
