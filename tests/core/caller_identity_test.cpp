#include "lumen_core/caller_identity.h"

#include <gtest/gtest.h>

namespace lumen {
namespace {

constexpr std::string_view kSigningSecret = "an installation secret";
constexpr std::string_view kPath = "/v1/key";
constexpr std::int64_t kSignedAt = 1'764'000'000'000;

TEST(caller_identity, is_read_as_it_was_signed) {
    const std::string header = sign_caller_identity(kSigningSecret, {7, 12, kSignedAt}, kPath);
    const auto identity = verify_caller_identity(kSigningSecret, header, kPath, kSignedAt + 1'000);
    ASSERT_TRUE(identity);
    EXPECT_EQ(identity->account, 7);
    EXPECT_EQ(identity->key, 12);
}

TEST(caller_identity, holds_for_one_path_and_one_minute_and_one_secret) {
    const std::string header = sign_caller_identity(kSigningSecret, {7, 12, kSignedAt}, kPath);
    EXPECT_FALSE(verify_caller_identity(kSigningSecret, header, "/v1/usage/x", kSignedAt));
    EXPECT_FALSE(verify_caller_identity("another secret", header, kPath, kSignedAt));
    EXPECT_TRUE(verify_caller_identity(kSigningSecret, header, kPath, kSignedAt + kCallerIdentityLifeMs));
    EXPECT_FALSE(verify_caller_identity(kSigningSecret, header, kPath, kSignedAt + kCallerIdentityLifeMs + 1));
    EXPECT_FALSE(verify_caller_identity(kSigningSecret, header, kPath, kSignedAt - kCallerIdentityLifeMs - 1));
}

TEST(caller_identity, no_byte_of_it_can_be_changed_or_left_out) {
    const std::string header = sign_caller_identity(kSigningSecret, {7, 12, kSignedAt}, kPath);
    for (std::size_t i = 0; i < header.size(); ++i) {
        std::string changed = header;
        changed[i] = changed[i] == '1' ? '2' : '1';
        EXPECT_FALSE(verify_caller_identity(kSigningSecret, changed, kPath, kSignedAt)) << changed;
        EXPECT_FALSE(verify_caller_identity(kSigningSecret, header.substr(0, i), kPath, kSignedAt)) << i;
        EXPECT_FALSE(verify_caller_identity(kSigningSecret, header.substr(i + 1), kPath, kSignedAt)) << i;
    }
    EXPECT_FALSE(verify_caller_identity(kSigningSecret, "", kPath, kSignedAt));
    EXPECT_FALSE(verify_caller_identity(kSigningSecret, header + "0", kPath, kSignedAt));
}

}  // namespace
}  // namespace lumen
