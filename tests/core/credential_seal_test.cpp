#include "lumen_core/credential_seal.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace lumen {
namespace {

constexpr const char* kSecret = "golden installation secret";

TEST(credential_seal, opens_what_it_sealed) {
    for (const std::string& plain : {std::string(), std::string("k"), std::string("sk-upstream"),
                                     std::string(kMaxCredentialBytes, 'x'), std::string("\0\xFF", 2)}) {
        const std::string sealed = seal_credential(kSecret, "7", plain);
        EXPECT_EQ(unseal_credential(kSecret, "7", sealed), plain);
        if (plain.size() > 1) {
            EXPECT_EQ(sealed.find(plain), sealed.npos);
        }
    }
}

TEST(credential_seal, equal_input_gives_equal_text_and_other_input_another_nonce) {
    const std::string sealed = seal_credential(kSecret, "11", "upstream-key-of-gpu2");
    EXPECT_EQ(sealed,
              "4MDSC1bCH/q4decnqvImsoOJ6xUy8DRsNDW6rwQXG7FApVU+KWFt0aIYlmQartUf");  // as in tests/data/catalogue.json
    constexpr std::size_t kNonceCharacters = 16;
    for (const std::string& other : {seal_credential(kSecret, "12", "upstream-key-of-gpu2"),
                                     seal_credential(kSecret, "11", "upstream-key-of-gpu3"),
                                     seal_credential(kSecret, "1", "1upstream-key-of-gpu2"),
                                     seal_credential("another", "11", "upstream-key-of-gpu2")}) {
        EXPECT_NE(sealed.substr(0, kNonceCharacters), other.substr(0, kNonceCharacters));
    }
}

TEST(credential_seal, does_not_open_for_another_secret_or_endpoint) {
    const std::string sealed = seal_credential(kSecret, "7", "sk-upstream");
    EXPECT_FALSE(unseal_credential("another", "7", sealed));
    EXPECT_FALSE(unseal_credential("", "7", sealed));
    EXPECT_FALSE(unseal_credential(kSecret, "8", sealed));
    EXPECT_FALSE(unseal_credential(kSecret, "", sealed));
}

TEST(credential_seal, does_not_open_when_any_character_was_changed) {
    const std::string sealed = seal_credential(kSecret, "7", "sk-upstream");
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        std::string changed = sealed;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        EXPECT_FALSE(unseal_credential(kSecret, "7", changed)) << i;
    }
}

TEST(credential_seal, does_not_open_text_that_is_no_seal) {
    const std::string sealed = seal_credential(kSecret, "7", "sk-upstream");
    for (const std::string& text :
         {std::string(), std::string("="), std::string("===="), std::string("AAAA"), std::string(40, 'A'),
          std::string(40, '='), sealed + "AAAA", sealed + "\n", " " + sealed, sealed.substr(4),
          sealed.substr(0, sealed.size() - 4), std::string(100'000, 'A')}) {
        EXPECT_FALSE(unseal_credential(kSecret, "7", text)) << text.substr(0, 80);
    }
}

TEST(credential_seal, has_one_text_only) {
    const std::string sealed = seal_credential(kSecret, "7", "12 bytes long");
    ASSERT_EQ(sealed.substr(sealed.size() - 1), "=");
    std::string stray_bits = sealed;
    ++stray_bits[stray_bits.size() - 2];  // its lowest bits stand for no byte
    for (const std::string& text : {stray_bits, "    " + sealed, sealed + "    ", sealed + "\n\n\n\n"}) {
        EXPECT_FALSE(unseal_credential(kSecret, "7", text)) << text;
    }
    EXPECT_TRUE(unseal_credential(kSecret, "7", sealed));
}

TEST(credential_seal, opens_under_the_secret_before_while_there_is_one) {
    const std::string sealed = seal_credential("the one before", "7", "sk-upstream");
    EXPECT_EQ(unseal_credential(kSecret, "the one before", "7", sealed), "sk-upstream");
    EXPECT_EQ(unseal_credential("the one before", kSecret, "7", sealed), "sk-upstream");
    EXPECT_FALSE(unseal_credential(kSecret, "", "7", sealed));
    EXPECT_FALSE(unseal_credential(kSecret, "the one before", "8", sealed));
}

TEST(credential_seal, refuses_to_seal_what_would_not_open) {
    EXPECT_THROW(seal_credential(kSecret, "7", std::string(kMaxCredentialBytes + 1, 'x')), std::length_error);
}

}  // namespace
}  // namespace lumen
