#include "lumen_core/account_bucket.h"

#include <gtest/gtest.h>

namespace lumen {
namespace {

TEST(account_bucket, is_the_account_modulo_256) {
    EXPECT_EQ(account_bucket(1), 1);
    EXPECT_EQ(account_bucket(255), 255);
    EXPECT_EQ(account_bucket(256), 0);
    EXPECT_EQ(account_bucket(1'000'000'007), 1'000'000'007 % 256);
}

TEST(account_bucket, of_a_lookup_is_the_first_byte_of_the_hash) {
    KeyHash hash{};
    hash[0] = 0xAB;
    hash[1] = 0x01;
    EXPECT_EQ(lookup_bucket(hash), 0xAB);
}

TEST(account_bucket, keys_of_a_bucket_share_its_three_digit_tag) {
    EXPECT_EQ(bucket_key(0, "meta"), "{b000}:meta");
    EXPECT_EQ(bucket_key(7, "kh"), "{b007}:kh");
    EXPECT_EQ(bucket_key(42, "holds"), "{b042}:holds");
    EXPECT_EQ(bucket_key(255, "done1"), "{b255}:done1");
    EXPECT_EQ(account_key(263), "{b007}:a:263");
    EXPECT_EQ(api_key_key(263, 9'000'000'000), "{b007}:k:9000000000");
}

}  // namespace
}  // namespace lumen
