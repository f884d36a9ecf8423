#include "lumen_core/cluster_slot.h"

#include <gtest/gtest.h>

#include <set>

#include "lumen_core/account_bucket.h"

namespace lumen {
namespace {

TEST(ClusterSlot, is_what_the_cluster_specification_says) {
    EXPECT_EQ(cluster_slot("123456789"), 0x31C3) << "the specification's own example of CRC16";
    EXPECT_EQ(cluster_slot("foo"), 12182);
    EXPECT_EQ(cluster_slot("{user1000}.following"), cluster_slot("user1000"));
    EXPECT_EQ(cluster_slot("foo{}{bar}"), 8363) << "an empty tag is none";
    EXPECT_EQ(cluster_slot("foo{{bar}}zap"), cluster_slot("{bar"));
    EXPECT_EQ(cluster_slot("foo{bar}{zap}"), cluster_slot("bar"));
}

TEST(ClusterSlot, each_bucket_has_a_slot_of_its_own_and_all_its_keys_are_there) {
    std::set<int> slots;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        slots.insert(cluster_slot(bucket_key(bucket, "meta")));
        EXPECT_EQ(cluster_slot(bucket_key(bucket, "events")), cluster_slot(bucket_key(bucket, "meta")));
    }
    EXPECT_EQ(slots.size(), static_cast<std::size_t>(kBuckets));
    EXPECT_EQ(cluster_slot(api_key_key(257, 9)), cluster_slot(account_key(1)));
}

TEST(ClusterSlot, a_command_goes_where_its_first_key_is) {
    EXPECT_EQ(routing_key("EVALSHA", "sha", "{b007}:meta"), "{b007}:meta");
    EXPECT_EQ(routing_key("HGET", "{b007}:meta", ""), "{b007}:meta");
    EXPECT_EQ(routing_key("INFO", "replication", ""), "");
    EXPECT_EQ(routing_key("PUBLISH", "lumen:live:7", ""), "") << "a channel is no key";
}

TEST(ClusterSlot, redirections_name_a_node_and_nothing_else_does) {
    const auto moved = parse_redirection("MOVED 3999 127.0.0.1:6381");
    ASSERT_TRUE(moved);
    EXPECT_FALSE(moved->ask);
    EXPECT_EQ(moved->slot, 3999);
    EXPECT_EQ(moved->host, "127.0.0.1");
    EXPECT_EQ(moved->port, 6381);
    EXPECT_TRUE(parse_redirection("ASK 1 ::1:7000")->ask);
    EXPECT_EQ(parse_redirection("ASK 1 ::1:7000")->host, "::1");
    EXPECT_EQ(parse_redirection("MOVED 1 :7000")->host, "");
    EXPECT_EQ(parse_redirection("MOVED 1 ?:7000")->host, "");
    for (const char* no : {"", "MOVED", "MOVED 16384 a:1", "MOVED x a:1", "MOVED 1 a", "MOVED 1 a:", "MOVED 1 a:0",
                           "MOVED 1 a:70000", "MOVED 1 a:1x", "TRYAGAIN", "ERR MOVED 1 a:1"}) {
        EXPECT_FALSE(parse_redirection(no)) << no;
    }
}

TEST(ClusterSlot, pauses_are_told_from_errors) {
    EXPECT_TRUE(is_cluster_pause("TRYAGAIN Multiple keys request during rehashing of slot"));
    EXPECT_TRUE(is_cluster_pause("CLUSTERDOWN The cluster is down"));
    EXPECT_TRUE(is_cluster_pause("LOADING Redis is loading the dataset in memory"));
    EXPECT_FALSE(is_cluster_pause("ERR unknown command"));
}

}  // namespace
}  // namespace lumen
