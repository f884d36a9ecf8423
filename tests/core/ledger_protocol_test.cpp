// The texts of the ledger: what the scripts write and answer, read back; and nothing else read as if it were theirs.
#include "lumen_core/ledger_protocol.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace lumen {
namespace {

std::vector<std::string> words_of(ScriptCall& call) {
    std::vector<std::string> words;
    for (int i = 0; i < call.argc(); ++i) words.emplace_back(call.argv()[i], call.argv_lengths()[i]);
    return words;
}

TEST(LedgerProtocol, every_script_is_embedded_with_a_name_and_a_sha1_of_its_own) {
    std::set<std::string_view> seen;
    for (int i = 0; i < kScripts; ++i) {
        const auto script = static_cast<Script>(i);
        EXPECT_EQ(script_text(script).substr(0, 5), "#!lua") << script_name(script);
        EXPECT_EQ(script_text(script).find("@include"), std::string_view::npos) << script_name(script);
        EXPECT_TRUE(seen.insert(script_sha1(script)).second) << script_name(script);
        EXPECT_EQ(script_sha1(script).find_first_not_of("0123456789abcdef"), std::string_view::npos);
    }
}

TEST(LedgerProtocol, a_call_is_evalsha_keys_arguments_and_turns_into_eval) {
    RefillCall call(256 * 5 + 7, -1);
    std::vector<std::string> words = words_of(call);
    EXPECT_EQ(words, (std::vector<std::string>{"EVALSHA", std::string(script_sha1(Script::refill)), "3", "{b007}:meta",
                                               "{b007}:events", "{b007}:a:1287", ""}));
    call.use_eval();
    words[0] = "EVAL";
    words[1] = script_text(Script::refill);
    EXPECT_EQ(words_of(call), words);
}

TEST(LedgerProtocol, the_largest_call_fits) {
    AdmitArguments admit;
    const std::int64_t largest = std::numeric_limits<std::int64_t>::max();
    const std::string blob(kMaxBlobBytes, 'x');
    admit.identity = {largest, largest, largest, largest};
    admit.consent_model = largest;
    admit.hold = NanoCoins(largest);
    admit.blob = blob;
    admit.identity.account = largest - largest % 256 - 1;  // the longest name of a bucket
    admit.estimated_tokens = std::numeric_limits<std::uint64_t>::max() / 2;
    const std::vector<AdmitArguments> admits(AdmitCall::kMostAdmits, admit);
    EXPECT_FALSE(AdmitCall(admits.data(), admits.size()).overflowed());

    SettleArguments settle;
    settle.account = settle.key = largest - largest % 256 - 1;  // the longest name of a bucket
    settle.cost = NanoCoins(largest);
    settle.tokens = std::numeric_limits<std::uint64_t>::max() / 2;
    settle.blob = blob;
    const std::vector<SettleArguments> settles(SettleCall::kMostSettles, settle);
    EXPECT_FALSE(SettleCall(settles.data(), settles.size()).overflowed());

    AccountConfig config;
    config.account = largest;
    config.limit = NanoCoins(largest);
    SetAccountCall call(config);
    for (int i = 0; i < SetAccountCall::kMaxConsentsPerCall; ++i) call.add_consent(largest - i, 1);
    EXPECT_FALSE(call.overflowed());
}

TEST(LedgerProtocol, arguments_that_do_not_fit_are_noticed) {
    ScriptCall long_text(Script::lookup, 1);
    long_text.add(std::string(ScriptCall::kArenaBytes, 'x'));
    EXPECT_TRUE(long_text.overflowed());
    ScriptCall many(Script::lookup, 1);
    for (std::size_t i = 0; i <= ScriptCall::kMaxArgs; ++i) many.add("x");
    EXPECT_TRUE(many.overflowed());
}

TEST(LedgerProtocol, replies_carry_what_their_script_says) {
    LedgerReply reply = parse_reply(Script::lookup, "OK 17 4");
    EXPECT_EQ(reply.reply, Reply::ok);
    EXPECT_EQ(reply.account, 17);
    EXPECT_EQ(reply.key, 4);

    reply = parse_reply(Script::admit, "OK -5 20 1 again");
    EXPECT_EQ(reply.balance, NanoCoins(-5));
    EXPECT_EQ(reply.held, NanoCoins(20));
    EXPECT_TRUE(reply.unlimited);
    EXPECT_FALSE(reply.requests.has_value());
    EXPECT_FALSE(reply.tokens.has_value());
    EXPECT_TRUE(reply.again);
    EXPECT_FALSE(parse_reply(Script::admit, "OK 5 20 0").again);

    reply = parse_reply(Script::admit, "COINS -1 0 1000 3");
    EXPECT_EQ(reply.reply, Reply::coins);
    EXPECT_EQ(reply.limit, NanoCoins(1000));
    EXPECT_EQ(reply.rate, NanoCoins(3));

    reply = parse_reply(Script::auth, "POLICY 12 -");
    EXPECT_EQ(reply.account_policy, 12);
    EXPECT_EQ(reply.key_policy, 0);

    reply = parse_reply(Script::admit, "KEYCAP 100 70 1700000000000");
    EXPECT_EQ(reply.cap, NanoCoins(100));
    EXPECT_EQ(reply.cap_used, NanoCoins(70));
    EXPECT_EQ(reply.cap_end_ms, 1'700'000'000'000);

    EXPECT_EQ(parse_reply(Script::admit, "TOOLARGE").reply, Reply::too_large);
    EXPECT_EQ(parse_reply(Script::settle, "OK 5 0 abc:n1").token, "abc:n1");
    EXPECT_EQ(parse_reply(Script::settle, "LATE abc:n1").token, "abc:n1");
    EXPECT_EQ(parse_reply(Script::reap, "OK -7 0").balance, NanoCoins(-7));
    EXPECT_FALSE(parse_reply(Script::renew, "OK 5 2").account_active);
    EXPECT_EQ(parse_reply(Script::money_op, "GAP 9").opn, 9);
    EXPECT_EQ(parse_reply(Script::mark_ready, "MOVED").reply, Reply::moved);
}

constexpr std::int64_t kNowUs = 1'764'000'000'123'456;

/// As Redis keeps them, with the first rate of requests, the second of tokens used up so far after kNowUs.
std::string packed(const Limits& limits, std::int64_t requests_us, std::int64_t tokens_us) {
    std::string field = pack_unused_limits(limits);
    const auto put = [&field](std::size_t at, std::int64_t time_us) {
        for (std::size_t i = 0; i < 7; ++i) field[at + i] = static_cast<char>(time_us >> (8 * i));
    };
    put(8, kNowUs + requests_us);
    put(3 * 15 + 8, kNowUs + tokens_us);
    return field;
}

std::string told(const std::string& rates, const std::string& line) {
    return rates + std::to_string(kNowUs) + ' ' + line;
}

TEST(LedgerProtocol, what_is_left_of_the_narrowest_rates_is_worked_out_of_the_limits_that_hold) {
    Limits limits;
    limits.requests = {Rate{7, 60}, Rate{1'000, 86'400}};
    limits.tokens = {Rate{}, Rate{30, 60}};
    const std::string account = packed(limits, 8'571'428, 46'000'000);
    LedgerReply reply = parse_reply(Script::admit, told('a' + account, "OK -5 20 0"));
    ASSERT_TRUE(reply.requests && reply.tokens);
    EXPECT_EQ(reply.balance, NanoCoins(-5));
    EXPECT_EQ(std::tuple(reply.requests->limit, reply.requests->remaining, reply.requests->reset_us),
              std::tuple(7, 6, 8'571'428));
    EXPECT_EQ(std::tuple(reply.tokens->limit, reply.tokens->remaining, reply.tokens->reset_us),
              std::tuple(30, 7, 46'000'000));

    // Of two scopes the narrower; one that was last used long ago is whole.
    Limits of_key;
    of_key.requests[0] = {3, 1};
    const std::string key = packed(of_key, -5'000'000, 0);
    reply = parse_reply(Script::admit, told('b' + account + key, "RPM 12"));
    EXPECT_EQ(reply.wait_us, 12);
    EXPECT_EQ(reply.requests->limit, 3);
    EXPECT_EQ(reply.requests->remaining, 3);
    EXPECT_EQ(reply.requests->reset_us, 0);
    EXPECT_EQ(reply.tokens->limit, 30);
    reply = parse_reply(Script::admit, told('k' + key, "OK 1 2 0 again"));
    EXPECT_EQ(reply.requests->limit, 3);
    EXPECT_FALSE(reply.tokens);
    EXPECT_TRUE(reply.again);

    // Where the product needs more than 64 bits.
    limits = {};
    limits.tokens[1] = {kMostPerRate, kMostPerRate};
    reply = parse_reply(Script::admit, told('a' + packed(limits, 0, 1), "TPM 1"));
    EXPECT_EQ(reply.tokens->remaining, kMostPerRate - 1);
}

TEST(LedgerProtocol, rates_are_taken_with_their_line_whatever_bytes_they_are) {
    Limits limits;
    limits.requests[0] = {0x0A0A0A0A, 0x0A200A20};  // line feeds and spaces
    const std::string line = told('a' + packed(limits, 0, 0), "OK 5 20 0");
    const std::string lines = line + "\nNOTREADY\n" + line;
    std::string_view text = lines;
    EXPECT_EQ(next_reply_line(text), line);
    EXPECT_EQ(next_reply_line(text), "NOTREADY");
    EXPECT_EQ(parse_reply(Script::admit, next_reply_line(text)).requests->limit, 0x0A0A0A0A);
    EXPECT_TRUE(text.empty());
}

TEST(LedgerProtocol, rates_that_are_cut_or_cannot_be_make_a_reply_malformed) {
    Limits limits;
    limits.requests[0] = {5, 60};
    const std::string rates = packed(limits, 0, 0);
    const std::string whole = told('a' + rates, "OK 5 20 0");
    EXPECT_EQ(parse_reply(Script::admit, whole).reply, Reply::ok);
    for (std::size_t length = 0; length < whole.size() - 1; ++length) {
        const Reply reply = parse_reply(Script::admit, std::string_view(whole).substr(0, length)).reply;
        EXPECT_EQ(reply, Reply::malformed) << length;
        std::string_view text = std::string_view(whole).substr(0, length);
        EXPECT_EQ(next_reply_line(text).size(), length);
    }
    std::string no_period = rates;
    no_period.replace(4, 4, 4, '\0');
    for (const std::string& other : {told('b' + rates, "OK 5 20 0"), told('k' + no_period, "OK 5 20 0"),
                                     'a' + rates + "- OK 5 20 0", 'a' + rates + "9000000000000001 OK 5 20 0"}) {
        EXPECT_EQ(parse_reply(Script::admit, other).reply, Reply::malformed);
    }
    EXPECT_EQ(parse_reply(Script::settle, 'a' + rates + "1 OK 5 0 abc:n1").reply, Reply::malformed);
}

TEST(LedgerProtocol, a_reply_of_several_settles_is_read_line_by_line) {
    std::string_view text = "OK 5 0 abc:n1\nNOTREADY\nDUP abc:n1";
    EXPECT_EQ(parse_reply(Script::settle, next_reply_line(text)).balance, NanoCoins(5));
    EXPECT_EQ(parse_reply(Script::settle, next_reply_line(text)).reply, Reply::not_ready);
    EXPECT_EQ(parse_reply(Script::settle, next_reply_line(text)).reply, Reply::dup);
    EXPECT_EQ(parse_reply(Script::settle, next_reply_line(text)).reply, Reply::malformed) << "there is no fourth";
}

class NoReplyOfOurs : public ::testing::TestWithParam<std::pair<Script, const char*>> {};

TEST_P(NoReplyOfOurs, is_malformed_and_never_mistaken) {
    EXPECT_EQ(parse_reply(GetParam().first, GetParam().second).reply, Reply::malformed);
}

INSTANTIATE_TEST_SUITE_P(
    , NoReplyOfOurs,
    ::testing::Values(std::pair{Script::admit, ""}, std::pair{Script::admit, "ok 1 2 0"},
                      std::pair{Script::admit, "OK 1 2"}, std::pair{Script::admit, "OK 1 2 2"},
                      std::pair{Script::admit, "OK 1 2 0 twice"}, std::pair{Script::admit, "OK 1e+14 2 0"},
                      std::pair{Script::admit, "OK 1 2 0 "}, std::pair{Script::admit, "OK  1 2 0"},
                      std::pair{Script::admit, "OK 1 2 0 - -"}, std::pair{Script::admit, "RPM 5"},
                      std::pair{Script::settle, "OK 1 2"}, std::pair{Script::settle, "DUP"},
                      std::pair{Script::settle, "OK 1 2 t u"}, std::pair{Script::renew, "OK 1 3"},
                      std::pair{Script::auth, "OK 1"}, std::pair{Script::lookup, "OK 1 x"},
                      std::pair{Script::admit, "OOM command not allowed when used memory > 'maxmemory'."}));

TEST(LedgerProtocol, events_are_read_with_dashes_for_what_they_have_not) {
    const auto usage = parse_event("usage 17 4 -30 30 470 2 472222 1700000000000 0190-r - 4,5,6 and more");
    ASSERT_TRUE(usage);
    EXPECT_EQ(usage->kind, EventKind::usage);
    EXPECT_EQ(usage->delta, NanoCoins(-30));
    EXPECT_EQ(usage->balance_after, NanoCoins(470));
    EXPECT_EQ(usage->request, "0190-r");
    EXPECT_EQ(usage->opn, 0);
    EXPECT_EQ(usage->blob, "4,5,6 and more");

    const auto late = parse_event("late 17 4 0 12 - - - 1700000000000 0190-r - ");
    ASSERT_TRUE(late);
    EXPECT_EQ(late->seq, 0);
    EXPECT_TRUE(late->blob.empty());

    const auto grant = parse_event("grant 17 - 250 0 250 1 472222 1700000000000 - 1 -");
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->key, 0);
    EXPECT_EQ(grant->opn, 1);
    EXPECT_TRUE(grant->request.empty());
    EXPECT_TRUE(grant->blob.empty());

    EXPECT_FALSE(parse_event("usage 17 4 -30 30 470 2 472222 1700000000000 0190-r -"));
    EXPECT_FALSE(parse_event("theft 17 4 -30 30 470 2 472222 1700000000000 0190-r - x"));
    EXPECT_FALSE(parse_event("usage 17 4 1e+14 30 470 2 472222 1700000000000 0190-r - x"));
    EXPECT_FALSE(parse_event(""));
}

TEST(LedgerProtocol, holds_are_read_and_broken_ones_are_not) {
    const auto hold = parse_hold("100 40 1700000090000 uc 17 4 42 1,2,3");
    ASSERT_TRUE(hold);
    EXPECT_EQ(hold->amount, NanoCoins(100));
    EXPECT_EQ(hold->shadow, NanoCoins(40));
    EXPECT_TRUE(hold->unlimited);
    EXPECT_TRUE(hold->counted);
    EXPECT_EQ(hold->estimated_tokens, 42U);
    EXPECT_EQ(hold->blob, "1,2,3");
    EXPECT_TRUE(parse_hold("0 0 1 ln 17 4 0 "));
    EXPECT_FALSE(parse_hold("0 0 1 xn 17 4 0 b"));
    EXPECT_FALSE(parse_hold("0 0 1 l 17 4 0 b"));
    EXPECT_FALSE(parse_hold("0 0 1 ln 17 4"));
}

TEST(LedgerProtocol, a_usage_record_survives_its_text_at_both_ends_of_every_range) {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    UsageRecord most;
    most.model = most.endpoint = most.price = std::numeric_limits<std::int64_t>::max();
    most.usage = {kMost, kMost - 1, kMost - 2, kMost - 3, kMost - 4, kMost - 5, kMost - 6, kMost - 7};
    most.duration_ms = most.ttft_ms = std::numeric_limits<std::uint32_t>::max();
    most.source = UsageSource::estimated;
    most.status = std::numeric_limits<std::uint16_t>::max();
    for (const UsageRecord& record : {UsageRecord{}, most}) {
        const Blob blob = encode_usage_record(record);
        const auto read = decode_usage_record(blob.view());
        ASSERT_TRUE(read) << blob.view();
        EXPECT_EQ(encode_usage_record(*read).view(), blob.view());
        EXPECT_EQ(read->usage.characters, record.usage.characters);
        EXPECT_EQ(read->status, record.status);
        EXPECT_EQ(read->source, record.source);
    }
    EXPECT_FALSE(decode_usage_record(""));
    EXPECT_FALSE(decode_usage_record("0,0,0,0,0,0,0,0,0,0,0,0,0,9,0"));
    EXPECT_FALSE(decode_usage_record("0,0,0,0,0,0,0,0,0,0,0,0,0,0"));
    EXPECT_FALSE(decode_usage_record("0,0,0,-1,0,0,0,0,0,0,0,0,0,0,0"));
}

}  // namespace
}  // namespace lumen
