#include "lumen_core/live_message.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace lumen {
namespace {

LiveWallet wallet(std::int64_t balance, std::int64_t held) {
    LiveWallet wallet;
    wallet.balance = NanoCoins(balance);
    wallet.held = NanoCoins(held);
    wallet.limit = NanoCoins(50'000'000'000);
    wallet.rate = NanoCoins(100'000'000);
    return wallet;
}

constexpr std::int64_t kNowMs = 1'769'850'665'123;  // 2026-01-31T09:11:05.123Z

TEST(LiveMessage, comes_back_from_its_text_as_it_was) {
    LiveMessage message;
    message.totals = LiveTotals{NanoCoins(4'000'000'000'000'000), 7, 9'007'199'254'740'993};
    message.events.push_back({LiveEventKind::key, R"({"id":"12","requests":3})"});
    message.events.push_back({LiveEventKind::notice, R"({"announcement":"a \"b\"\n"})"});
    message.ends_all = true;
    message.ends_session = std::string(64, 'a');
    const auto read = parse_live_message(live_message_text(message));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->totals->used, message.totals->used);
    EXPECT_EQ(read->totals->tokens_in, 7);
    EXPECT_EQ(read->totals->tokens_out, 9'007'199'254'740'993);
    ASSERT_EQ(read->events.size(), 2u);
    EXPECT_EQ(read->events[0].kind, LiveEventKind::key);
    EXPECT_EQ(read->events[0].data, message.events[0].data);
    EXPECT_EQ(read->events[1].kind, LiveEventKind::notice);
    EXPECT_EQ(read->events[1].data, message.events[1].data);
    EXPECT_TRUE(read->ends_all);
    EXPECT_EQ(read->ends_session, message.ends_session);
}

TEST(LiveMessage, an_event_stays_on_one_line_however_it_was_written) {
    const auto read = parse_live_message("{\"events\":[{\"event\":\"model\",\"data\":{\n\"model\" : \"m\"\n}}]}");
    ASSERT_TRUE(read);
    EXPECT_EQ(live_event(read->events.at(0)), "event: model\ndata: {\"model\":\"m\"}\n\n");
}

TEST(LiveMessage, what_is_no_message_is_refused_and_what_is_newer_is_passed_over) {
    for (const char* text :
         {"", "null", "[]", "{", R"({"totals":{"used":1,"in":1,"out":1}})", R"({"totals":{"used":"x","in":1,"out":1}})",
          R"({"events":[{"event":"key"}]})", R"({"events":[{"event":"key","data":"text"}]})", R"({"end_session":"\b"})",
          R"({"end_session":"its name"})"}) {
        EXPECT_FALSE(parse_live_message(text)) << text;
    }
    EXPECT_FALSE(parse_live_message("{\"x\":\"" + std::string(kMaxLiveMessageBytes, 'x') + "\"}"));
    const auto newer = parse_live_message(R"({"events":[{"event":"weather","data":{}}],"more":1})");
    ASSERT_TRUE(newer);
    EXPECT_TRUE(newer->events.empty());
}

TEST(LiveMessage, a_wallet_is_six_words_and_nothing_while_redis_has_no_such_account) {
    const auto read = parse_live_wallet("4980000000 20000000 5000000000 100000000 0 1");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->balance, NanoCoins(4'980'000'000));
    EXPECT_EQ(read->held, NanoCoins(20'000'000));
    EXPECT_EQ(read->limit, NanoCoins(5'000'000'000));
    EXPECT_FALSE(read->unlimited);
    EXPECT_TRUE(read->active);
    EXPECT_FALSE(parse_live_wallet("1 0 - 0 0 2")->limit);
    EXPECT_FALSE(parse_live_wallet("1 0 - 0 0 2")->active);
    for (const char* text : {"", "- - - - - -", "1 x 5 1 0 1"}) EXPECT_FALSE(parse_live_wallet(text)) << text;
}

TEST(LiveMessage, a_balance_event_is_absolute_exact_and_on_one_line) {
    const std::string data = balance_event_data(wallet(12'450'000'001, 350'000'000), std::nullopt, kNowMs);
    const std::string event = balance_event(data, kNowMs);
    EXPECT_EQ(event,
              "event: balance\nid: " + live_event_id(data) +
                  "\n"
                  R"(data: {"state":"limited","balance":{"coins":"12.450000001","nano":"12450000001"},)"
                  R"("held":{"coins":"0.35","nano":"350000000"},"free":{"coins":"12.100000001","nano":"12100000001"},)"
                  R"("limit":{"coins":"50","nano":"50000000000"},"rate":{"coins":"0.1","nano":"100000000"},)"
                  R"("next_refill_at":"2026-01-31T10:00:00.000Z","used":null,"tokens":null,)"
                  R"("now":"2026-01-31T09:11:05.123Z"})"
                  "\n\n");
}

TEST(LiveMessage, times_are_right_on_the_odd_days) {
    const auto now = [](std::int64_t now_ms) {
        const std::string event = balance_event("{", now_ms);
        return event.substr(event.find(R"("now":")") + 7, 24);
    };
    EXPECT_EQ(now(0), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(now(951'782'400'000), "2000-02-29T00:00:00.000Z");
    EXPECT_EQ(now(1'709'251'199'999), "2024-02-29T23:59:59.999Z");
    EXPECT_EQ(now(1'767'225'599'000), "2025-12-31T23:59:59.000Z");
    EXPECT_EQ(now(4'107'542'400'000), "2100-03-01T00:00:00.000Z");
}

TEST(LiveMessage, an_id_changes_with_the_state_and_not_with_the_clock) {
    const auto id = [](const LiveWallet& of, std::int64_t now_ms) {
        return live_event_id(balance_event_data(of, std::nullopt, now_ms));
    };
    EXPECT_EQ(id(wallet(1, 0), kNowMs), id(wallet(1, 0), kNowMs + 1000));
    EXPECT_NE(id(wallet(1, 0), kNowMs), id(wallet(1, 1), kNowMs));
    EXPECT_NE(id(wallet(1, 0), kNowMs), id(wallet(1, 0), kNowMs + 3'600'000)) << "the next refill is another one";
    EXPECT_EQ(id(wallet(1, 0), kNowMs).size(), 16u);
}

struct StateCase {
    const char* row;
    bool unlimited;
    std::optional<NanoCoins> limit;
    const char* state;
    const char* limit_json;
    const char* rate_json;
};
class LiveState : public ::testing::TestWithParam<StateCase> {};
TEST_P(LiveState, shows_what_means_something_in_it) {
    LiveWallet of = wallet(1, 0);
    of.unlimited = GetParam().unlimited;
    of.limit = GetParam().limit;
    const std::string data = balance_event_data(of, std::nullopt, kNowMs);
    const auto has = [&](const std::string& part) { return data.find(part) != std::string::npos; };
    EXPECT_TRUE(has(std::string(R"({"state":")") + GetParam().state + "\"")) << data;
    EXPECT_TRUE(has(std::string(R"("limit":)") + GetParam().limit_json)) << data;
    EXPECT_TRUE(has(std::string(R"("rate":)") + GetParam().rate_json)) << data;
    EXPECT_EQ(has(R"("balance":null,"held":null,"free":null)"), of.unlimited || !of.limit) << data;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, LiveState,
    ::testing::Values(StateCase{"P14 limited", false, NanoCoins(1), "limited", R"({"coins":"0.000000001")", "{"},
                      StateCase{"P19 unlimited", true, NanoCoins(1), "unlimited", "null", "null"},
                      StateCase{"P20 none", false, std::nullopt, "none", "null", "null"},
                      StateCase{"P21 blocked", false, NanoCoins(0), "blocked", R"({"coins":"0")", "null"}),
    [](const auto& named) {
        std::string name = named.param.row;
        std::replace(name.begin(), name.end(), ' ', '_');
        return name;
    });

}  // namespace
}  // namespace lumen
