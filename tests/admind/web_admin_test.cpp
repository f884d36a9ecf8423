// Administration over REST: users, limits, grants, the ledger, idempotency.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "lumen_core/account_bucket.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

std::string account_path(const PrivateAdmind::Browser& person) {
    return "/api/v1/admin/accounts/" + person.account;
}

std::string available(const PrivateAdmind::Browser& person) {
    const Json budget = admind().as_operator("GET", account_path(person)).body["budget"];
    return budget["available"].is_null() ? budget["state"].get<std::string>()
                                         : budget["available"]["coins"].get<std::string>();
}

HttpReply post_with_key(const std::string& path, const std::string& key, const std::string& body) {
    Headers headers = admind().operator_headers();
    headers.emplace_back("Idempotency-Key", key);
    headers.emplace_back("Content-Type", "application/json");
    return admind().call("POST", path, headers, body);
}

HttpReply set_limits(const PrivateAdmind::Browser& person, const Json& limits) {
    return admind().as_operator("PUT", account_path(person) + "/limits", limits);
}

// ---- users

TEST(Users, are_made_with_their_account_groups_and_starting_coins) {
    const HttpReply made =
        admind().as_operator("POST", "/api/v1/admin/users",
                             {{"email", " MiXed.Case@Example.EDU "}, {"name", "Mixed"}, {"groups", {"staff"}}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.body["email"], "mixed.case@example.edu");
    EXPECT_EQ(made.body["budget"]["state"], "limited");
    EXPECT_EQ(made.body["budget"]["limit"], (Json{{"coins", "20"}, {"nano", "20000000000"}}));
    EXPECT_EQ(made.body["budget"]["available"], (Json{{"coins", "7"}, {"nano", "7000000000"}}));
    EXPECT_EQ(made.body["budget"]["refill_per_hour"], (Json{{"coins", "0.05"}, {"nano", "50000000"}}));
    EXPECT_EQ(made.body["budget"]["source"], "group:staff");
    const HttpReply again =
        admind().as_operator("POST", "/api/v1/admin/users", {{"email", "mixed.case@example.edu"}, {"name", "Again"}});
    EXPECT_EQ(again.code(), "email_taken");
}

TEST(Users, what_the_file_states_of_them_holds_from_the_start) {
    const HttpReply made = admind().as_operator("POST", "/api/v1/admin/users",
                                                {{"email", "configured@example.edu"}, {"name", "Configured"}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.body["budget"]["limit"]["coins"], "30");
    const auto account = made.body["account"].get<std::string>();
    const HttpReply detail = admind().as_operator("GET", "/api/v1/admin/accounts/" + account);
    EXPECT_EQ(detail.body["limits"]["from"], "config");
    EXPECT_EQ(detail.body["groups"].size(), 2u) << detail.text;
    const HttpReply refused =
        admind().as_operator("PUT", "/api/v1/admin/accounts/" + account + "/limits", {{"max", "1"}});
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(refused.code(), "managed_by_config");
}

TEST(Users, wrong_fields_are_named) {
    const HttpReply reply =
        admind().as_operator("POST", "/api/v1/admin/users", {{"email", "nobody"}, {"groups", {"no-such-group"}}});
    EXPECT_EQ(reply.status, 422);
    EXPECT_EQ(reply.body["errors"][0]["path"], "email");
    EXPECT_EQ(reply.body["errors"][1]["path"], "name");
    const HttpReply group = admind().as_operator(
        "POST", "/api/v1/admin/users", {{"email", admind().new_email()}, {"name", "A"}, {"groups", {"no-such-group"}}});
    EXPECT_EQ(group.status, 422);
    EXPECT_EQ(group.body["errors"][0]["code"], "unknown_group");
}

TEST(Users, lists_search_and_show_coins_left) {
    const auto person = admind().new_person("3.000000001");
    const HttpReply list = admind().as_operator("GET", "/api/v1/admin/users?limit=200&sort=-joined_at");
    ASSERT_EQ(list.status, 200);
    const auto mine = std::find_if(list.body["data"].begin(), list.body["data"].end(),
                                   [&](const Json& user) { return user["account"] == person.account; });
    ASSERT_NE(mine, list.body["data"].end());
    EXPECT_EQ((*mine)["budget"]["available"]["coins"], "3.000000001");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/users?q=no-such-person").body["data"].size(), 0u);
}

TEST(Users, deactivation_ends_sessions_and_keys_at_once_and_for_good) {
    const auto person = admind().new_person();
    const std::string path = "/api/v1/admin/users/" + std::to_string(person.user);
    EXPECT_EQ(person.call("GET", "/api/v1/me").status, 200);
    const HttpReply off = admind().as_operator("PATCH", path, {{"active", false}});
    ASSERT_EQ(off.status, 200) << off.text;
    EXPECT_EQ(off.body["active"], false);
    EXPECT_EQ(person.call("GET", "/api/v1/me").status, 401);
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    EXPECT_EQ(reply_text(redis.command({"HGET", account_key(std::stoll(person.account)), "st"}).get()), "2");

    EXPECT_EQ(admind().as_operator("PATCH", path, {{"active", true}}).status, 200);
    EXPECT_EQ(reply_text(redis.command({"HGET", account_key(std::stoll(person.account)), "st"}).get()), "1");
    EXPECT_EQ(person.call("GET", "/api/v1/me").status, 401) << "the old session does not come back";
    EXPECT_EQ(admind().browser_of(person.user, person.account).call("GET", "/api/v1/me").status, 200);
}

TEST(Users, an_administrator_cannot_deactivate_himself) {
    const HttpReply in = admind().call("POST", "/api/v1/devlogin", {{"Sec-Fetch-Site", "same-origin"}});
    ASSERT_EQ(in.status, 303);
    const auto row = admind().row("select id, account_id from users where email = 'dev@example.edu'");
    const auto dev = admind().browser_of(std::stoll(row[0]), row[1]);
    const Headers headers{{"Cookie", "lumen_session=" + dev.cookie},
                          {"Sec-Fetch-Site", "same-origin"},
                          {"If-Match", "*"},
                          {"Content-Type", "application/json"}};
    const HttpReply reply = admind().call("PATCH", "/api/v1/admin/users/" + row[0], headers, R"({"active":false})");
    EXPECT_EQ(reply.code(), "cannot_deactivate_self");
}

// ---- limits

TEST(LimitsOfAccounts, are_set_resolved_and_inherited_again) {
    const auto person = admind().new_person("");
    EXPECT_EQ(available(person), "none");
    const HttpReply set = set_limits(person, {{"max", "5"}, {"refresh", "0.1"}, {"starting", "2"}, {"mode", "strict"}});
    ASSERT_EQ(set.status, 200) << set.text;
    EXPECT_EQ(set.body["mode"], "strict");
    EXPECT_EQ(set.body["limits"], (Json{{"max", "5"}, {"refresh", "0.1"}, {"starting", "2"}, {"from", "admin"}}));
    EXPECT_EQ(available(person), "2");
    EXPECT_EQ(set_limits(person, {{"max", "-2"}}).body["budget"]["state"], "unlimited");
    EXPECT_EQ(set_limits(person, {{"max", "0"}}).body["budget"]["state"], "blocked");
    EXPECT_EQ(admind().as_operator("DELETE", account_path(person) + "/limits").status, 204);
    EXPECT_EQ(available(person), "none");
}

TEST(LimitsOfAccounts, starting_coins_come_once) {
    const auto person = admind().new_person("");
    set_limits(person, {{"max", "5"}, {"starting", "5"}});
    EXPECT_EQ(available(person), "5");
    set_limits(person, {{"max", "9"}, {"starting", "9"}});
    EXPECT_EQ(available(person), "5");
    admind().as_operator("DELETE", account_path(person) + "/limits");
    set_limits(person, {{"max", "9"}, {"starting", "9"}});
    EXPECT_EQ(available(person), "5");
}

TEST(LimitsOfAccounts, no_starting_coins_is_decided_once_too) {
    const auto person = admind().new_person("");
    set_limits(person, {{"max", "5"}, {"starting", "0"}});
    set_limits(person, {{"max", "5"}, {"starting", "5"}});
    EXPECT_EQ(available(person), "0");
}

TEST(LimitsOfAccounts, wrong_amounts_are_refused) {
    const auto person = admind().new_person("");
    for (const Json& max :
         {Json("-1"), Json("1.0000000001"), Json("4000000.1"), Json(1.5), Json("ten"), Json(true), Json()}) {
        EXPECT_EQ(set_limits(person, {{"max", max}}).status, 422) << max;
    }
    EXPECT_EQ(set_limits(person, {{"max", 5}}).status, 200) << "a whole number is exact";
}

TEST(LimitsOfAccounts, a_change_in_between_is_noticed) {
    const auto person = admind().new_person("5");
    const std::string etag = admind().as_operator("GET", account_path(person)).header("etag");
    Headers headers = admind().operator_headers();
    headers.emplace_back("If-Match", etag);
    headers.emplace_back("Content-Type", "application/json");
    EXPECT_EQ(admind().call("PUT", account_path(person) + "/limits", headers, R"({"max":"6"})").status, 200);
    const HttpReply stale = admind().call("PUT", account_path(person) + "/limits", headers, R"({"max":"7"})");
    EXPECT_EQ(stale.status, 412);
    EXPECT_EQ(stale.code(), "precondition_failed");
}

TEST(LimitsOfAccounts, an_etag_that_a_compressing_proxy_weakened_names_the_same) {
    const auto person = admind().new_person("5");
    Headers headers = admind().operator_headers();
    headers.emplace_back("If-Match", "W/" + admind().as_operator("GET", account_path(person)).header("etag"));
    headers.emplace_back("Content-Type", "application/json");
    EXPECT_EQ(admind().call("PUT", account_path(person) + "/limits", headers, R"({"max":"6"})").status, 200);
    EXPECT_EQ(admind().call("PUT", account_path(person) + "/limits", headers, R"({"max":"7"})").status, 412);
}

// ---- money

TEST(Grants, move_exactly_what_they_say) {
    const auto person = admind().new_person("5");
    const HttpReply grant = admind().as_operator("POST", account_path(person) + "/grants",
                                                 {{"coins", "0.000000001"}, {"reason", "a nano"}});
    ASSERT_EQ(grant.status, 200) << grant.text;
    EXPECT_EQ(grant.body["before"]["coins"], "5");
    EXPECT_EQ(grant.body["after"], (Json{{"coins", "5.000000001"}, {"nano", "5000000001"}}));
    EXPECT_EQ(grant.body["entry"]["amount"]["nano"], "1");
    EXPECT_EQ(available(person), "5.000000001");
    const HttpReply reset = admind().as_operator("POST", account_path(person) + "/reset", {{"reason", "new term"}});
    EXPECT_EQ(reset.body["after"]["coins"], "5") << reset.text;
    EXPECT_EQ(reset.body["entry"]["amount"]["nano"], "-1");
}

TEST(Grants, need_a_limit_above_zero) {
    const auto person = admind().new_person("");
    const auto grant = [&] {
        return admind().as_operator("POST", account_path(person) + "/grants", {{"coins", "1"}, {"reason", "r"}}).code();
    };
    EXPECT_EQ(grant(), "no_budget");
    set_limits(person, {{"max", "-2"}});
    EXPECT_EQ(grant(), "unlimited");
    set_limits(person, {{"max", "0"}});
    EXPECT_EQ(grant(), "limit_is_zero");
    EXPECT_EQ(
        admind().as_operator("POST", "/api/v1/admin/accounts/999999/grants", {{"coins", "1"}, {"reason", "r"}}).status,
        404);
}

TEST(Grants, past_the_largest_amount_nothing_moves) {
    const auto person = admind().new_person("5");
    const HttpReply reply =
        admind().as_operator("POST", account_path(person) + "/grants", {{"coins", "4000000"}, {"reason", "too much"}});
    EXPECT_EQ(reply.status, 422) << reply.text;
    EXPECT_EQ(available(person), "5");
}

TEST(Grants, a_repeat_gets_the_first_answer_and_moves_nothing) {
    const auto person = admind().new_person("5");
    const std::string path = account_path(person) + "/grants";
    const std::string body = R"({"coins":"1","reason":"once"})";
    EXPECT_EQ(admind().call("POST", path, admind().operator_headers()).code(), "idempotency_key_required");
    const HttpReply first = post_with_key(path, "grant-once", body);
    const HttpReply second = post_with_key(path, "grant-once", body);
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(second.status, 200);
    EXPECT_EQ(second.text, first.text);
    EXPECT_EQ(second.header("idempotency-replayed"), "true");
    EXPECT_EQ(first.header("idempotency-replayed"), "");
    EXPECT_EQ(available(person), "6");
    const HttpReply other = post_with_key(path, "grant-once", R"({"coins":"2","reason":"once"})");
    EXPECT_EQ(other.status, 422);
    EXPECT_EQ(other.code(), "idempotency_key_reused");
}

TEST(Grants, many_repeats_at_once_move_coins_once) {
    const auto person = admind().new_person("5");
    const std::string path = account_path(person) + "/grants";
    std::vector<std::thread> threads;
    std::atomic<int> granted{0};
    std::atomic<int> in_progress{0};
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            const HttpReply reply = post_with_key(path, "at-once", R"({"coins":"1","reason":"once"})");
            if (reply.status == 200) ++granted;
            if (reply.code() == "idempotency_in_progress") ++in_progress;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(granted + in_progress, 8);
    EXPECT_GE(granted, 1);
    EXPECT_EQ(available(person), "6");
}

TEST(Grants, a_lost_answer_record_does_not_move_coins_twice) {
    const auto person = admind().new_person("5");
    const std::string path = account_path(person) + "/grants";
    const std::string body = R"({"coins":"1","reason":"once"})";
    ASSERT_EQ(post_with_key(path, "kept-for-ever", body).status, 200);
    admind().execute("delete from idempotency_keys where key = 'kept-for-ever'");  // as after its 24 hours
    EXPECT_EQ(post_with_key(path, "kept-for-ever", body).status, 200);
    EXPECT_EQ(available(person), "6");
}

// ---- ledger

TEST(Ledger, shows_every_move_with_who_and_why) {
    const auto person = admind().new_person("5");
    admind().as_operator("POST", account_path(person) + "/grants", {{"coins", "1.5"}, {"reason", "prize"}});
    const std::string path = "/api/v1/admin/ledger?account=" + person.account;
    wait_until("the grants are drained", [&] { return admind().as_operator("GET", path).body["data"].size() == 2; });
    const Json rows = admind().as_operator("GET", path).body["data"];
    EXPECT_EQ(rows[0]["kind"], "grant");
    EXPECT_EQ(rows[0]["amount"]["coins"], "1.5");
    EXPECT_EQ(rows[0]["balance_after"]["coins"], "6.5");
    EXPECT_EQ(rows[0]["reason"], "prize");
    EXPECT_EQ(rows[0]["actor"].get<std::string>().substr(0, 6), "token:");
    EXPECT_EQ(rows[1]["reason"], "starting coins");

    const HttpReply first = admind().as_operator("GET", path + "&limit=1");
    const HttpReply second =
        admind().as_operator("GET", path + "&limit=1&cursor=" + first.body["next_cursor"].get<std::string>());
    EXPECT_EQ(first.body["data"][0]["id"], rows[0]["id"]);
    EXPECT_EQ(second.body["data"][0]["id"], rows[1]["id"]);
    EXPECT_EQ(first.body.count("total"), 0u);
    EXPECT_EQ(admind().as_operator("GET", path + "&limit=1&count=true").body["total"], 2);
    EXPECT_EQ(admind()
                  .as_operator("GET", path + "&count=true&cursor=" + first.body["next_cursor"].get<std::string>())
                  .body["total"],
              2)
        << "of all pages, on whichever it is asked";
    EXPECT_EQ(admind().as_operator("GET", path + "&kind=usage&count=true").body["total"], 0);
    EXPECT_EQ(admind().as_operator("GET", path + "&kind=usage").body["data"].size(), 0u);
    EXPECT_EQ(admind().as_operator("GET", path + "&kind=gift").code(), "invalid_request");
    EXPECT_EQ(admind().as_operator("GET", path + "&request_id=x").code(), "invalid_request");
    EXPECT_EQ(admind().as_operator("GET", path + "&cursor=x").code(), "invalid_cursor");
}

TEST(Statement, re_adds_from_opening_to_closing_with_who_when_why_before_and_after) {
    const auto person = admind().new_person("5");
    admind().as_operator("POST", account_path(person) + "/grants",
                         {{"coins", "-1.5"}, {"reason", "a loss, \"spilt\""}});
    admind().as_operator("POST", account_path(person) + "/grants", {{"coins", "0.25"}, {"reason", "=prize"}});
    const std::string path = account_path(person) + "/statement";
    const auto read = [&](const std::string& query = "") { return admind().as_operator("GET", path + query); };
    wait_until("the grants are drained", [&] { return read().body["data"].size() == 3; });

    const Json whole = read().body;
    EXPECT_EQ(whole["opening"]["coins"], "0");
    EXPECT_EQ(whole["closing"]["coins"], "3.75");
    const std::vector<std::array<const char*, 4>> wanted{{"0", "5", "5", "starting coins"},
                                                         {"5", "-1.5", "3.5", "a loss, \"spilt\""},
                                                         {"3.5", "0.25", "3.75", "=prize"}};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const Json& row = whole["data"][i];
        EXPECT_EQ(row["balance_before"]["coins"], wanted[i][0]);
        EXPECT_EQ(row["amount"]["coins"], wanted[i][1]);
        EXPECT_EQ(row["balance_after"]["coins"], wanted[i][2]);
        EXPECT_EQ(row["reason"], wanted[i][3]);
        EXPECT_FALSE(row["actor"].is_null());
    }

    const Json first = read("?limit=2").body;
    ASSERT_EQ(first["data"].size(), 2u);
    const Json rest = read("?limit=2&cursor=" + first["next_cursor"].get<std::string>()).body;
    ASSERT_EQ(rest["data"].size(), 1u);
    EXPECT_EQ(rest["data"][0]["id"], whole["data"][2]["id"]);
    EXPECT_TRUE(rest["next_cursor"].is_null());

    // A period that begins with the second row and ends before the third.
    const std::string from = "?from=" + whole["data"][1]["time"].get<std::string>();
    EXPECT_EQ(read(from).body["closing"]["coins"], "3.75");
    EXPECT_EQ(read("?to=2020-01-01T00:00:00Z").body["closing"]["coins"], "0");
    EXPECT_EQ(read("?to=2020-01-01T00:00:00Z").body["data"].size(), 0u);
    const Json future = read("?from=2999-01-01T00:00:00Z").body;
    EXPECT_EQ(future["opening"]["coins"], "3.75");
    EXPECT_EQ(future["closing"]["coins"], "3.75");

    const HttpReply csv = read("?format=csv&limit=2");
    EXPECT_EQ(csv.header("content-type"), "text/csv; charset=utf-8");
    EXPECT_EQ(csv.header("x-next-cursor"), first["next_cursor"].get<std::string>());
    EXPECT_EQ(
        csv.text.substr(0, csv.text.find("\r\n")).find("id,time,account,kind,amount,balance_before,balance_after,"),
        0u);
    EXPECT_NE(csv.text.find(",-1.5,5,3.5,"), std::string::npos) << csv.text;
    EXPECT_NE(csv.text.find("\"a loss, \"\"spilt\"\"\""), std::string::npos) << csv.text;
    EXPECT_NE(read("?format=csv").text.find(",'=prize"), std::string::npos) << "no formula";
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/ledger?format=csv&account=" + person.account).status, 200);
}

TEST(Statement, says_what_is_wrong_with_a_question) {
    const auto person = admind().new_person("");
    const std::string path = account_path(person) + "/statement";
    for (const char* query :
         {"?from=yesterday", "?to=2026-13-01T00:00:00Z", "?limit=0", "?limit=10001", "?format=xml"}) {
        EXPECT_EQ(admind().as_operator("GET", path + query).code(), "invalid_request") << query;
    }
    EXPECT_EQ(admind().as_operator("GET", path + "?cursor=x").code(), "invalid_cursor");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/accounts/999999999/statement").status, 404);
}

TEST(Refill, credits_what_is_due_now) {
    const auto person = admind().new_person("");
    set_limits(person, {{"max", "5"}, {"refresh", "1"}, {"starting", "1"}});
    // An hour passes: the account was last refilled three hours ago, in both stores (T12).
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const std::string hour = std::to_string(unix_ms_now() / 3'600'000 - 3);
    redis.command({"HSET", account_key(std::stoll(person.account)), "lrh", hour});
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/refill").status, 200);
    EXPECT_EQ(available(person), "4");
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/refill").status, 200);
    EXPECT_EQ(available(person), "4");
}

TEST(Me, shows_the_card_of_the_profile_page) {
    const auto person = admind().new_person("5");
    const HttpReply me = person.call("GET", "/api/v1/me");
    ASSERT_EQ(me.status, 200) << me.text;
    EXPECT_EQ(me.body["budget"]["available"], (Json{{"coins", "5"}, {"nano", "5000000000"}}));
    EXPECT_EQ(me.body["coins_used"], (Json{{"coins", "0"}, {"nano", "0"}}));
    EXPECT_EQ(me.body["tokens_used"]["total"], 0);
    EXPECT_TRUE(me.body["favorite_model"].is_null());
    EXPECT_EQ(me.body["groups"], Json::array()) << "`default` is everybody's";
    EXPECT_TRUE(me.body["budget"]["next_refill_at"].is_null()) << "no refill, no countdown";
    const HttpReply profile = person.call("GET", "/api/v1/me/profile");
    for (const char* part : {"site", "session", "me", "keys", "models"})
        EXPECT_TRUE(profile.body.contains(part)) << part;
    EXPECT_EQ(profile.body["me"]["id"], me.body["id"]);
}

}  // namespace
}  // namespace lumen::admind
