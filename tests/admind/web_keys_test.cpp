// API keys: P31–P43 and P50–P53 as far as they are REST.
#include <gtest/gtest.h>

#include <set>

#include "lumen_core/account_bucket.h"
#include "lumen_core/api_key.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

std::string keys_path(const PrivateAdmind::Browser& person) {
    return "/api/v1/admin/accounts/" + person.account + "/keys";
}

HttpReply draft_of(const PrivateAdmind::Browser& person) {
    HttpReply reply = person.call("POST", "/api/v1/me/keys/draft");
    EXPECT_EQ(reply.status, 201) << reply.text;
    return reply;
}

HttpReply save(const PrivateAdmind::Browser& person, const HttpReply& draft, const std::string& name = "my-script") {
    return person.call("POST", "/api/v1/me/keys", {{"draft_id", draft.body["draft_id"]}, {"name", name}});
}

/// What the gate would be told by `lookup`; empty: it knows no such key.
std::string lookup(const std::string& secret) {
    const KeyHash hash = hash_api_key(PrivateAdmind::kSecret, secret);
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    LookupCall call(hash);
    return redis.call(call);
}

TEST(Keys, have_our_form_and_a_hint_of_four_and_four) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    const auto key = draft.body["key"].get<std::string>();
    EXPECT_EQ(api_key_form(key), KeyForm::own);
    EXPECT_EQ(draft.body["hint"], key.substr(0, 4) + "…" + key.substr(key.size() - 4));
}

TEST(Keys, a_draft_cannot_authenticate_and_a_saved_key_can) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    const auto secret = draft.body["key"].get<std::string>();
    EXPECT_EQ(lookup(secret), "NOKEY");
    const HttpReply saved = save(person, draft);
    ASSERT_EQ(saved.status, 201) << saved.text;
    EXPECT_EQ(lookup(secret), "OK " + person.account + " " + saved.body["id"].get<std::string>());
}

TEST(Keys, a_thousand_are_all_on_the_profile_and_one_more_is_refused_until_one_is_deleted) {
    const auto person = admind().new_person();
    const HttpReply own = save(person, draft_of(person), "mine");
    ASSERT_EQ(own.status, 201) << own.text;
    admind().execute("insert into api_keys (account_id, name, hint, key_hash) select " + person.account +
                     ", 'key ' || n, 'sk_A…9xYz', sha256(('" + person.account +
                     " ' || n)::bytea) from generate_series(2, 1000) n");
    const Json keys = person.call("GET", "/api/v1/me/profile").body["keys"];
    EXPECT_EQ(keys["data"].size(), 1000u);
    EXPECT_TRUE(keys["next_cursor"].is_null());
    std::set<std::string> names;
    for (const Json& key : keys["data"]) names.insert(key["name"].get<std::string>());
    EXPECT_EQ(names.size(), 1000u) << "none twice";

    const HttpReply saved = save(person, draft_of(person), "one more");
    EXPECT_EQ(saved.status, 409) << saved.text;
    EXPECT_EQ(saved.code(), "too_many_keys");
    EXPECT_EQ(admind().as_operator("POST", keys_path(person), {{"name", "one more"}}).code(), "too_many_keys");
    ASSERT_EQ(person.call("DELETE", "/api/v1/me/keys/" + own.body["id"].get<std::string>()).status, 204);
    EXPECT_EQ(save(person, draft_of(person), "one more").status, 201);
    admind().execute("delete from api_keys where name like 'key %' and account_id = " + person.account);
}

TEST(Keys, a_new_draft_replaces_the_old_one) {
    const auto person = admind().new_person();
    const HttpReply first = draft_of(person);
    const HttpReply second = draft_of(person);
    EXPECT_NE(first.body["key"], second.body["key"]);
    EXPECT_EQ(save(person, first).code(), "draft_expired");
    EXPECT_EQ(save(person, second).status, 201);
}

TEST(Keys, drafts_end_by_discard_by_save_and_by_time) {
    const auto person = admind().new_person();
    const HttpReply discarded = draft_of(person);
    const std::string path = "/api/v1/me/keys/draft/" + discarded.body["draft_id"].get<std::string>();
    EXPECT_EQ(person.call("DELETE", path).status, 204);
    EXPECT_EQ(person.call("DELETE", path).status, 204);
    EXPECT_EQ(save(person, discarded).status, 410);

    const HttpReply used = draft_of(person);
    EXPECT_EQ(save(person, used).status, 201);
    EXPECT_EQ(save(person, used).status, 410);

    const HttpReply late = draft_of(person);
    admind().execute("update key_drafts set expires_at = now() where account_id = " + person.account);
    EXPECT_EQ(save(person, late).code(), "draft_expired");
}

TEST(Keys, a_draft_ends_with_the_installation_secret_it_was_made_under) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    admind().execute("update key_drafts set secret_id = '0123456789abcdef' where account_id = " + person.account);
    EXPECT_EQ(save(person, draft).code(), "draft_expired") << "or it would be a key that never works";
}

TEST(Keys, a_draft_is_nobody_elses) {
    const auto person = admind().new_person();
    const auto other = admind().new_person();
    const HttpReply draft = draft_of(person);
    EXPECT_EQ(save(other, draft).status, 410);
    EXPECT_EQ(other.call("DELETE", "/api/v1/me/keys/draft/" + draft.body["draft_id"].get<std::string>()).status, 204);
    EXPECT_EQ(save(person, draft).status, 201);
}

TEST(Keys, the_secret_is_in_exactly_one_answer_and_in_no_store) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    const auto secret = draft.body["key"].get<std::string>();
    std::string answers = save(person, draft).text;
    for (const char* path : {"/api/v1/me", "/api/v1/me/profile", "/api/v1/me/keys?deleted=true", "/api/v1/session"}) {
        answers += person.call("GET", path).text;
    }
    answers += admind().as_operator("GET", keys_path(person)).text;
    answers += admind().as_operator("GET", "/api/v1/admin/users/" + std::to_string(person.user)).text;
    EXPECT_EQ(answers.find(secret), std::string::npos);
    for (const char* table : {"api_keys", "key_drafts", "idempotency_keys", "audit_log"}) {
        const auto found =
            admind().row(std::string("select count(*) from ") + table + " t where t::text like '%" + secret + "%'");
        EXPECT_EQ(found[0], "0") << table;
    }
}

TEST(Keys, names_are_trimmed_bounded_and_without_control_characters) {
    const auto person = admind().new_person();
    const auto name_of = [&](const std::string& name) {
        HttpReply reply = save(person, draft_of(person), name);
        return reply.status == 201 ? reply.body["name"].get<std::string>() : reply.code();
    };
    EXPECT_EQ(name_of("  spaced  "), "spaced");
    EXPECT_EQ(name_of(std::string(64, 'x')), std::string(64, 'x'));
    EXPECT_EQ(name_of(std::string(65, 'x')), "validation_failed");
    EXPECT_EQ(name_of("   "), "validation_failed");
    EXPECT_EQ(name_of("a\nb"), "validation_failed");
    EXPECT_EQ(name_of("\u0085"), "validation_failed");
    const std::string nasty = "\"><img src=x onerror=alert(1)>\u202e";
    EXPECT_EQ(name_of(nasty), nasty);
    std::string sixty_four;
    for (int i = 0; i < 64; ++i) sixty_four += "é";
    EXPECT_EQ(name_of(sixty_four), sixty_four) << "characters count, not bytes";
    EXPECT_EQ(name_of("twice"), "twice");
    EXPECT_EQ(name_of("twice"), "twice") << "equal names are allowed (P37)";
}

TEST(Keys, a_refused_save_leaves_the_draft) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    EXPECT_EQ(save(person, draft, "").status, 422);
    EXPECT_EQ(save(person, draft, "better").status, 201);
}

TEST(Keys, a_fresh_key_shows_zeros_and_never) {
    const auto person = admind().new_person();
    const HttpReply saved = save(person, draft_of(person));
    EXPECT_EQ(saved.body["requests"], 0);
    EXPECT_EQ(saved.body["tokens"], 0);
    EXPECT_EQ(saved.body["coins"], (Json{{"coins", "0"}, {"nano", "0"}}));
    EXPECT_TRUE(saved.body["last_used_at"].is_null());
    EXPECT_TRUE(saved.body["deleted_at"].is_null());
    EXPECT_FALSE(saved.body.contains("key"));
}

TEST(Keys, deleting_is_final_repeatable_and_keeps_the_history) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    const auto id = save(person, draft).body["id"].get<std::string>();
    admind().execute("insert into key_totals (key_id, account_id, requests, tokens_in, tokens_out, spent) values (" +
                     id + ", " + person.account + ", 3, 10, 5, 12345)");
    EXPECT_EQ(person.call("DELETE", "/api/v1/me/keys/" + id).status, 204);
    EXPECT_EQ(person.call("DELETE", "/api/v1/me/keys/" + id).status, 204);
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const RedisReply state = redis.command({"HGET", api_key_key(std::stoll(person.account), std::stoll(id)), "st"});
    EXPECT_EQ(reply_text(state.get()), "2");
    EXPECT_TRUE(person.call("GET", "/api/v1/me/keys").body["data"].empty());
    const Json shown = person.call("GET", "/api/v1/me/keys?deleted=true").body["data"][0];
    EXPECT_FALSE(shown["deleted_at"].is_null());
    EXPECT_EQ(shown["requests"], 3);
    EXPECT_EQ(shown["tokens"], 15);
    EXPECT_EQ(shown["coins"]["coins"], "0.000012345");
    // What the test wrote past the ledger must not look like drift to others.
    admind().execute("delete from key_totals where key_id = " + id);
}

TEST(Keys, another_persons_key_is_not_there) {
    const auto person = admind().new_person();
    const auto other = admind().new_person();
    const auto id = save(person, draft_of(person)).body["id"].get<std::string>();
    EXPECT_EQ(other.call("DELETE", "/api/v1/me/keys/" + id).status, 404);
    EXPECT_EQ(other.call("DELETE", "/api/v1/me/keys/nonsense").status, 404);
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys").body["data"].size(), 1u);
}

TEST(Keys, lists_sort_search_and_page_without_gaps) {
    const auto person = admind().new_person();
    std::vector<std::string> ids;
    for (const char* name : {"beta", "Alpha", "gamma", "alpha", "delta"}) {
        ids.push_back(save(person, draft_of(person), name).body["id"].get<std::string>());
    }
    const auto walk = [&](const std::string& sort) {
        std::string names;
        std::string cursor;
        for (int page = 0; page < 10; ++page) {
            const HttpReply reply = person.call("GET", "/api/v1/me/keys?limit=2&count=true&sort=" + sort + cursor);
            EXPECT_EQ(reply.status, 200) << reply.text;
            EXPECT_EQ(reply.body["total"], 5);
            for (const Json& key : reply.body["data"]) names += key["name"].get<std::string>() + " ";
            if (reply.body["next_cursor"].is_null()) break;
            cursor = "&cursor=" + reply.body["next_cursor"].get<std::string>();
        }
        return names;
    };
    EXPECT_EQ(walk("name"), "Alpha alpha beta delta gamma ");
    EXPECT_EQ(walk("-name"), "gamma delta beta Alpha alpha ");
    EXPECT_EQ(walk("-last_used_at"), "beta Alpha gamma alpha delta ") << "never used ones are last, by id";
    EXPECT_EQ(walk("coins"), "beta Alpha gamma alpha delta ");
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys?q=ALPH").body["data"].size(), 2u);
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys?q=%25").body["data"].size(), 0u) << "a percent sign is only itself";
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys?sort=hint").code(), "invalid_sort");
}

TEST(Keys, a_cursor_of_another_order_is_refused) {
    const auto person = admind().new_person();
    for (int i = 0; i < 2; ++i) save(person, draft_of(person));
    const auto cursor = person.call("GET", "/api/v1/me/keys?limit=1").body["next_cursor"].get<std::string>();
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys?limit=1&cursor=" + cursor).status, 200);
    EXPECT_EQ(person.call("GET", "/api/v1/me/keys?limit=1&sort=-name&cursor=" + cursor).code(), "invalid_cursor");
}

TEST(Keys, administrators_make_list_and_delete_keys_of_any_account) {
    const auto person = admind().new_person();
    const HttpReply made = admind().as_operator("POST", keys_path(person),
                                                {{"name", "service"},
                                                 {"expires_at", "2199-01-01T00:00:00Z"},
                                                 {"budget", {{"coins", "5"}, {"period", "week"}}}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(api_key_form(made.body["key"].get<std::string>()), KeyForm::own);
    EXPECT_EQ(made.body["budget"], (Json{{"coins", "5"}, {"period", "week"}}));
    EXPECT_EQ(made.body["expires_at"], "2199-01-01T00:00:00.000Z");
    EXPECT_NE(lookup(made.body["key"].get<std::string>()), "NOKEY");
    EXPECT_EQ(admind().as_operator("GET", keys_path(person)).body["data"].size(), 1u);

    const std::string path = keys_path(person) + "/" + made.body["id"].get<std::string>();
    const HttpReply blind = admind().call("DELETE", path, admind().operator_headers());
    EXPECT_EQ(blind.status, 428);
    EXPECT_EQ(blind.code(), "precondition_required");
    Headers stale = admind().operator_headers();
    stale.emplace_back("If-Match", "\"1-0\"");
    EXPECT_EQ(admind().call("DELETE", path, stale).code(), "precondition_failed");
    const HttpReply account = admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account);
    Headers current = admind().operator_headers();
    current.emplace_back("If-Match", account.header("etag"));
    EXPECT_EQ(admind().call("DELETE", path, current).status, 204);
    EXPECT_EQ(admind().row("select count(*) from audit_log where action = 'key.delete' and target = 'account:" +
                           person.account + "'")[0],
              "1");
}

TEST(Keys, wishes_that_make_no_sense_are_refused_field_by_field) {
    const auto person = admind().new_person();
    const HttpReply reply = admind().as_operator(
        "POST", keys_path(person),
        {{"expires_at", "2001-01-01T00:00:00Z"}, {"budget", {{"coins", "-1"}, {"period", "decade"}, {"extra", 1}}}});
    EXPECT_EQ(reply.status, 422);
    std::set<std::string> paths;
    for (const Json& error : reply.body["errors"]) paths.insert(error["path"].get<std::string>());
    EXPECT_EQ(paths, (std::set<std::string>{"name", "expires_at", "budget.coins", "budget.period", "budget.extra"}));
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/accounts/999999/keys", {{"name", "k"}}).status, 404);
}

// ---- changes

struct TermRow {
    const char* name;
    Json sent;
    Json shown;
    const char* columns;  ///< of the key's row
    std::vector<std::string> stored;
};
void PrintTo(const TermRow& row, std::ostream* out) {
    *out << row.name;
}

class KeyTermsTable : public ::testing::TestWithParam<TermRow> {};

TEST_P(KeyTermsTable, are_set_at_save_or_later_shown_as_stored_and_taken_back_by_null) {
    const TermRow& row = GetParam();
    const auto person = admind().new_person();
    const auto stored = [&](const std::string& id) {
        return admind().row(std::string("select ") + row.columns + " from api_keys where id = " + id);
    };
    Json body{{"draft_id", draft_of(person).body["draft_id"]}, {"name", "with terms"}};
    body[row.name] = row.sent;
    const HttpReply saved = person.call("POST", "/api/v1/me/keys", body);
    ASSERT_EQ(saved.status, 201) << saved.text;
    EXPECT_EQ(saved.body[row.name], row.shown);
    EXPECT_EQ(stored(saved.body["id"].get<std::string>()), row.stored);

    const HttpReply plain = save(person, draft_of(person));
    const std::string path = "/api/v1/me/keys/" + plain.body["id"].get<std::string>();
    EXPECT_TRUE(plain.body[row.name].empty()) << plain.text;
    const HttpReply changed = person.call("PATCH", path, {{row.name, row.sent}});
    ASSERT_EQ(changed.status, 200) << changed.text;
    EXPECT_EQ(changed.body[row.name], row.shown);
    EXPECT_EQ(changed.body["name"], "my-script") << "what is not named stays";
    EXPECT_EQ(stored(plain.body["id"].get<std::string>()), row.stored);
    const HttpReply taken_back = person.call("PATCH", path, {{row.name, nullptr}});
    EXPECT_EQ(taken_back.body[row.name], plain.body[row.name]);
}

INSTANTIATE_TEST_SUITE_P(
    spec_rest_2, KeyTermsTable,
    ::testing::Values(
        TermRow{"models", {"plain", "asks"}, {"asks", "plain"}, "array_length(models, 1), policy_id > 0", {"2", "t"}},
        TermRow{"allowed_ips",
                {"192.0.2.9/24", "::1"},
                {"192.0.2.0/24", "::1/128"},
                "array_to_string(allowed_ips, ' '), policy_id > 0",
                {"192.0.2.0/24 ::1/128", "t"}},
        TermRow{"rpm", 5, 5, "own_requests_per_minute, request_rates", {"5", "5/60"}},
        TermRow{"tpm", 1000, 1000, "own_tokens_per_minute, token_rates", {"1000", "1000/60"}},
        TermRow{"concurrency", 2, 2, "concurrency", {"2"}},
        TermRow{"expires_at",
                "2199-01-01T00:00:00Z",
                "2199-01-01T00:00:00.000Z",
                "expires_at at time zone 'UTC'",
                {"2199-01-01 00:00:00"}},
        TermRow{"budget",
                {{"coins", "2.5"}, {"period", "day"}},
                {{"coins", "2.5"}, {"period", "day"}},
                "cap, cap_len, cap_start is null",
                {"2500000000", "24:00:00", "f"}}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Keys, a_keys_own_rate_never_passes_the_sites) {
    const auto person = admind().new_person();
    const HttpReply saved = save(person, draft_of(person));
    const auto id = saved.body["id"].get<std::string>();
    person.call("PATCH", "/api/v1/me/keys/" + id, {{"rpm", 500'000'000}});
    EXPECT_EQ(admind().row("select request_rates from api_keys where id = " + id)[0], "100000/60");
}

TEST(Keys, are_renamed_paused_and_resumed_until_they_are_deleted) {
    const auto person = admind().new_person();
    const HttpReply saved = save(person, draft_of(person));
    const auto id = saved.body["id"].get<std::string>();
    const std::string path = "/api/v1/me/keys/" + id;
    const auto state = [&] {
        RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
        return std::string(
            reply_text(redis.command({"HGET", api_key_key(std::stoll(person.account), std::stoll(id)), "st"}).get()));
    };
    EXPECT_EQ(person.call("PATCH", path, {{"name", " renamed "}}).body["name"], "renamed");
    EXPECT_EQ(person.call("PATCH", path, {{"name", ""}}).status, 422);
    const HttpReply paused = person.call("PATCH", path, {{"paused", true}});
    EXPECT_EQ(paused.body["paused"], true);
    EXPECT_EQ(paused.body["name"], "renamed");
    EXPECT_EQ(state(), "3");
    EXPECT_EQ(person.call("PATCH", path, {{"paused", false}}).body["paused"], false);
    EXPECT_EQ(state(), "1");
    EXPECT_EQ(person.call("PATCH", path, Json::object()).status, 200) << "nothing to change is no error";
    EXPECT_EQ(person.call("PATCH", path, {{"colour", 1}}).status, 422);
    EXPECT_EQ(admind().new_person().call("PATCH", path, {{"paused", true}}).status, 404) << "P53";
    EXPECT_EQ(person.call("DELETE", path).status, 204);
    EXPECT_EQ(person.call("PATCH", path, {{"paused", false}}).status, 404) << "deleted is for ever";
    EXPECT_EQ(state(), "2");
}

TEST(Keys, a_keys_policy_is_published_before_the_key_names_it) {
    const auto person = admind().new_person();
    const HttpReply saved = save(person, draft_of(person));
    const auto id = saved.body["id"].get<std::string>();
    person.call("PATCH", "/api/v1/me/keys/" + id, {{"models", {"plain"}}, {"allowed_ips", {"10.0.0.0/8"}}});
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const auto told = redis.command({"HGET", api_key_key(std::stoll(person.account), std::stoll(id)), "pol"});
    const auto text = redis.command({"GET", kCatalogueKey});
    const CatalogueResult published = parse_catalogue(reply_text(text.get()), PrivateAdmind::kSecret);
    ASSERT_TRUE(published.catalogue) << published.error;
    const CataloguePolicy* policy = published.catalogue->policy(std::stoll(std::string(reply_text(told.get()))));
    ASSERT_NE(policy, nullptr);
    EXPECT_EQ(policy->verdict(published.catalogue->find("plain")->id), Verdict::allowed);
    EXPECT_EQ(policy->verdict(published.catalogue->find("asks")->id), Verdict::blocked);
    EXPECT_TRUE(policy->allows(*parse_address("10.1.2.3")));
    EXPECT_FALSE(policy->allows(*parse_address("11.1.2.3")));
}

TEST(Keys, a_list_of_models_tells_nothing_about_hidden_ones) {
    const auto person = admind().new_person();
    const HttpReply draft = draft_of(person);
    const auto refused = [&](const char* model) {
        Json body{{"draft_id", draft.body["draft_id"]}, {"name", "k"}, {"models", {"plain", model}}};
        HttpReply reply = person.call("POST", "/api/v1/me/keys", body);
        EXPECT_EQ(reply.status, 422);
        return reply.body["errors"];
    };
    EXPECT_EQ(refused("hidden"), refused("nonsense"));
    EXPECT_EQ(refused("hidden")[0]["path"], "models[1]");
    EXPECT_EQ(refused("hidden")[0]["code"], "unknown_model");
}

TEST(Keys, a_cap_of_another_period_counts_from_now_and_one_of_another_size_goes_on) {
    const auto person = admind().new_person();
    const auto id = save(person, draft_of(person)).body["id"].get<std::string>();
    const auto put = [&](const char* coins, const char* period) {
        const Json budget{{"coins", coins}, {"period", period}};
        EXPECT_EQ(person.call("PATCH", "/api/v1/me/keys/" + id, {{"budget", budget}}).status, 200);
        return admind().row("select cap_start from api_keys where id = " + id)[0];
    };
    const std::string first = put("1", "day");
    EXPECT_EQ(put("2", "day"), first);
    EXPECT_NE(put("2", "week"), first);
}

TEST(Keys, terms_that_make_no_sense_are_refused_field_by_field) {
    const auto person = admind().new_person();
    const auto id = save(person, draft_of(person)).body["id"].get<std::string>();
    const HttpReply reply = person.call("PATCH", "/api/v1/me/keys/" + id,
                                        {{"models", Json::array()},
                                         {"allowed_ips", {"10.0.0.0/8", "somewhere"}},
                                         {"rpm", 0},
                                         {"tpm", "many"},
                                         {"concurrency", -1},
                                         {"expires_at", "2001-01-01T00:00:00Z"}});
    EXPECT_EQ(reply.status, 422);
    std::set<std::string> paths;
    for (const Json& error : reply.body["errors"]) paths.insert(error["path"].get<std::string>());
    EXPECT_EQ(paths, (std::set<std::string>{"models", "allowed_ips[1]", "rpm", "tpm", "concurrency", "expires_at"}));
}

TEST(Keys, the_hidden_key_of_web_chat_is_not_there) {
    const auto person = admind().new_person();
    admind().execute("insert into api_keys (account_id, kind) values (" + person.account + ", 'chat')");
    const auto id = admind().row("select id from api_keys where kind = 'chat' and account_id = " + person.account)[0];
    EXPECT_TRUE(person.call("GET", "/api/v1/me/keys").body["data"].empty());
    EXPECT_EQ(person.call("PATCH", "/api/v1/me/keys/" + id, {{"paused", true}}).status, 404);
    EXPECT_EQ(person.call("DELETE", "/api/v1/me/keys/" + id).status, 404);
    EXPECT_EQ(admind().row("select state from api_keys where id = " + id)[0], "1");
}

}  // namespace
}  // namespace lumen::admind
