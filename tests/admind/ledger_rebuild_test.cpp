// Readiness and rebuild: what Redis lost comes back from the book, what still runs goes on, and contradictions stop
// (ledger.md 6.5).
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerRebuild : public PrivateLedger {
 public:
    static std::map<BucketState, int> by_state(const std::vector<BucketReport>& reports) {
        std::map<BucketState, int> counts;
        for (const BucketReport& report : reports) ++counts[report.outcome.state];
        return counts;
    }
    static const BucketOutcome& of(const std::vector<BucketReport>& reports, AccountId account) {
        for (const BucketReport& report : reports) {
            if (report.bucket == account_bucket(account)) return report.outcome;
        }
        throw std::logic_error("that bucket was ready");
    }
    Reply lookup(const Account& account) {
        LookupCall call(account.hash);
        const std::string text = redis.call(call);
        const LedgerReply reply = parse_reply(Script::lookup, text);
        EXPECT_TRUE(reply.reply != Reply::ok || (reply.account == account.id && reply.key == account.key));
        return reply.reply;
    }
};

TEST_F(LedgerRebuild, nothing_is_served_before_the_first_reconciliation) {
    const Account account = new_account(coins(0));
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    EXPECT_EQ(lookup(account), Reply::not_ready);
    EXPECT_EQ(by_state(make_ready())[BucketState::rebuilt], kBuckets);
    EXPECT_TRUE(readiness.check().empty());
}

TEST_F(LedgerRebuild, a_restart_that_lost_nothing_keeps_undrained_events_and_holds) {
    make_ready();
    running = harness::Running::requests;
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(100));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    server.stop();
    server.start();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready) << "I10";
    EXPECT_EQ(by_state(make_ready())[BucketState::ready], kBuckets);
    EXPECT_EQ(settle(account, request, NanoCoins(11)), Reply::ok);
    EXPECT_EQ(drain(), 3u);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 111));
}

TEST_F(LedgerRebuild, after_flushall_all_comes_back_from_the_book) {
    make_ready();
    AccountSettings settings;
    settings.limit = coins(10);
    settings.rate = NanoCoins(5);
    settings.strict = true;
    const Account account = new_account(settings, coins(5));
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        for (ModelId model = 1; model <= 9; ++model) insert_consent(transaction, account.id, model, 2, std::nullopt);
        transaction.commit();
    }
    EXPECT_EQ(book.enforce_account(account.id), InForce::yes);
    charge(account, NanoCoins(100));
    drain();
    const RedisReply before = redis.command({"HGETALL", account_key(account.id)});
    redis.command({"FLUSHALL"});
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    const auto reports = make_ready();
    EXPECT_EQ(of(reports, account.id).reason, "redis has nothing of it");
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 100));
    for (const char* name : {"lim", "rate", "unl", "mode", "st", "pol", "ver", "seq", "opn", "lrh", "c:1", "c:9"}) {
        std::string wanted;
        for (std::size_t i = 0; i + 1 < before->elements; i += 2) {
            if (reply_text(before->element[i]) == name) wanted = std::string(reply_text(before->element[i + 1]));
        }
        EXPECT_EQ(field(account.id, name), wanted) << name;
        EXPECT_FALSE(wanted.empty()) << name;
    }
    EXPECT_EQ(lookup(account), Reply::ok);
    charge(account, NanoCoins(11));
    EXPECT_EQ(drain(), 1u);
    EXPECT_EQ(number("select max(seq) from ledger_events"), 3);
}

TEST_F(LedgerRebuild, the_book_ahead_of_redis_is_seen_and_only_settled_holds_are_dropped) {
    make_ready();
    running = harness::Running::requests;
    const Account account = new_account(coins(5));
    const RequestId settled = new_request();
    const RequestId still_running = new_request();
    ASSERT_EQ(admit(account, settled, coins(1)), Reply::ok);
    ASSERT_EQ(admit(account, still_running, coins(2)), Reply::ok);
    const Snapshot before_the_tail = dump_redis();
    ASSERT_EQ(settle(account, settled, NanoCoins(700)), Reply::ok);
    drain();
    put_back(before_the_tail);
    EXPECT_EQ(field(account.id, "held"), std::to_string(3 * kCoin)) << "both holds are back";
    const auto reports = make_ready();
    const BucketOutcome& outcome = of(reports, account.id);
    EXPECT_EQ(outcome.state, BucketState::rebuilt);
    EXPECT_EQ(outcome.reason, "the book is ahead");
    EXPECT_EQ(outcome.holds_kept, 1u);
    EXPECT_EQ(outcome.holds_dropped, 1u);
    EXPECT_EQ(by_state(reports)[BucketState::rebuilt], 1) << "the other buckets lost nothing";
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 700));
    EXPECT_EQ(field(account.id, "held"), std::to_string(2 * kCoin));
    EXPECT_EQ(settle(account, settled, NanoCoins(700)), Reply::late) << "replayed by the gate: the book decides";
    EXPECT_EQ(settle(account, still_running, NanoCoins(50)), Reply::ok);
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 750));
}

TEST_F(LedgerRebuild, settles_that_redis_lost_before_they_were_drained_come_again_from_the_gate) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    drain();
    const Snapshot before_the_tail = dump_redis();
    ASSERT_EQ(settle(account, request, NanoCoins(700)), Reply::ok);
    put_back(before_the_tail);
    EXPECT_EQ(by_state(make_ready())[BucketState::ready], kBuckets) << "nothing that the book knows was lost";
    EXPECT_EQ(settle(account, request, NanoCoins(700)), Reply::ok) << "the replay (I11)";
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 700));
}

TEST_F(LedgerRebuild, an_old_file_from_before_a_rebuild_is_another_epoch_and_its_events_are_kept_in_a_file) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    ASSERT_EQ(settle(account, request, NanoCoins(100)), Reply::ok);
    const Snapshot old = dump_redis();
    drain();
    redis.command({"FLUSHALL"});
    make_ready();
    for (int i = 0; i < 3; ++i) charge(account, NanoCoins(1000));
    drain();
    put_back(old);
    const auto reports = make_ready();
    EXPECT_EQ(of(reports, account.id).reason, "another epoch");
    EXPECT_EQ(of(reports, account.id).foreign_events, 2u);
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(spool.path())) ++files;
    EXPECT_EQ(files, 1u);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 3100));
    charge(account, NanoCoins(1));
    EXPECT_EQ(drain(), 1u);
}

TEST_F(LedgerRebuild, data_of_a_history_that_was_given_up_is_not_taken_for_this_one) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    drain();
    const Snapshot common = dump_redis();
    charge(account, NanoCoins(5));
    const Snapshot given_up = dump_redis();
    put_back(common);  // the charge of 5 is lost
    make_ready();
    ASSERT_EQ(settle(account, request, NanoCoins(700)), Reply::ok);  // with the number that the lost one had
    drain();
    put_back(given_up);
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 700));
    EXPECT_EQ(field(account.id, "held"), "0") << "the request is settled in the book";
    EXPECT_EQ(settle(account, request, NanoCoins(700)), Reply::late) << "replayed by the gate";
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 700));
}

TEST_F(LedgerRebuild, a_rebuild_that_fails_half_way_begins_again) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(100));
    const Snapshot old = dump_redis();
    drain();
    redis.command({"FLUSHALL"});
    make_ready();
    put_back(old);
    BucketReadiness broken(postgres, server.url(), std::chrono::seconds(20), spool.path() + "/is/not/there");
    broken.check();
    EXPECT_EQ(broken.not_ready(), 1) << "the foreign events cannot be saved";
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 100));
    drain();
}

TEST_F(LedgerRebuild, a_revoked_key_is_not_revived_by_old_data_or_a_rebuild) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const Snapshot before_the_revocation = dump_redis();
    const auto revocation = book.revoke_key(account.id, account.key, "root");
    EXPECT_TRUE(revocation.found);
    EXPECT_EQ(revocation.in_force, InForce::yes);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    put_back(before_the_revocation);
    make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked) << "I9";
    redis.command({"FLUSHALL"});
    make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    EXPECT_EQ(lookup(account), Reply::ok) << "a revoked key is still known";
}

TEST_F(LedgerRebuild, a_deactivated_account_is_not_revived_by_old_data) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const Snapshot before = dump_redis();
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        EXPECT_TRUE(set_account_active(transaction, account.id, false));
        transaction.commit();
    }
    EXPECT_EQ(book.enforce_account(account.id), InForce::yes);
    put_back(before);
    make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::disabled);
}

TEST_F(LedgerRebuild, a_hole_in_the_stream_keeps_the_bucket_out_of_service) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    charge(account, NanoCoins(1));
    charge(account, NanoCoins(2));
    const RedisReply entries = redis.command({"XREVRANGE", bucket_key(account_bucket(account.id), "events"), "+", "-"});
    redis.command(
        {"XDEL", bucket_key(account_bucket(account.id), "events"), reply_text(entries->element[1]->element[0])});
    server.stop();
    server.start();
    const auto reports = readiness.check();
    EXPECT_EQ(of(reports, account.id).state, BucketState::blocked);
    EXPECT_EQ(readiness.not_ready(), 1);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    invariants_hold = false;
}

TEST_F(LedgerRebuild, a_book_put_back_behind_redis_keeps_the_bucket_out_of_service) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    server.stop();
    server.start();
    execute("delete from money_ops");
    execute("update account_ops set next_opn = 1");
    const auto reports = readiness.check();
    EXPECT_EQ(of(reports, account.id).state, BucketState::blocked);
    EXPECT_NE(of(reports, account.id).reason.find("redis is ahead of the book"), std::string::npos);
    invariants_hold = false;
}

TEST_F(LedgerRebuild, a_book_whose_versions_went_back_takes_the_bucket_out_of_service) {
    make_ready();
    const Account account = new_account(coins(5));
    execute("update accounts set cfg_ver = 2");
    EXPECT_EQ(book.enforce_account(account.id), InForce::yes);
    execute("update accounts set cfg_ver = 1");
    const ConfigRepeat repeat = repeat_bucket_config(postgres, redis, account_bucket(account.id));
    EXPECT_NE(repeat.ahead, "");
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    EXPECT_EQ(of(readiness.check(), account.id).state, BucketState::blocked);
    execute("update accounts set cfg_ver = 2");
}

TEST_F(LedgerRebuild, the_use_of_a_capped_key_survives_a_rebuild) {
    make_ready();
    running = harness::Running::requests;
    Account account = new_account(coins(50));
    NewKey key = new_key(account.id);
    key.cap = coins(10);
    key.cap_window_ms = 3'600'000;
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        account.key = insert_key(transaction, key);
        transaction.commit();
    }
    ASSERT_EQ(book.enforce_key(account.key), InForce::yes);
    charge(account, coins(4));
    ASSERT_EQ(admit(account, new_request(), coins(3)), Reply::ok);
    const RedisReply before = redis.command({"HMGET", api_key_key(account.id, account.key), "cu", "kh", "nh"});
    const Snapshot snapshot = dump_redis();
    charge(account, coins(1));
    drain();
    put_back(snapshot);
    make_ready();
    const RedisReply after = redis.command({"HMGET", api_key_key(account.id, account.key), "cu", "kh", "nh"});
    EXPECT_EQ(reply_text(before->element[0]), std::to_string(4 * kCoin));
    EXPECT_EQ(reply_text(after->element[0]), std::to_string(5 * kCoin));
    EXPECT_EQ(reply_text(after->element[1]), std::to_string(3 * kCoin));
    EXPECT_EQ(reply_text(after->element[2]), "1");
}

TEST_F(LedgerRebuild, two_admind_that_reconcile_at_once_agree) {
    const Account account = new_account(coins(0));
    BucketReadiness other(postgres, server.url(), std::chrono::seconds(20), spool.path());
    std::thread second([&] { other.check(); });
    readiness.check();
    second.join();
    make_ready();
    other.check();
    EXPECT_EQ(other.not_ready(), 0);
    EXPECT_EQ(number("select count(*) from stream_positions where epoch = 0"), 0);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::coins);
}

}  // namespace
}  // namespace lumen::admind
