// Signing in, who may call what, and what every answer carries.
#include <gtest/gtest.h>

#include "admind/bounds.h"
#include "admind/people/sessions.h"
#include "admind/rest/routes.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

const Headers kFromOurPage{{"Sec-Fetch-Site", "same-origin"}};

std::string cookie_of(const HttpReply& reply) {
    const std::string header = reply.header("set-cookie");
    const std::size_t begin = header.find('=') + 1;
    return header.substr(begin, header.find(';') - begin);
}

TEST(Session, dev_user_signs_in_and_out) {
    const HttpReply in = admind().call("POST", "/api/v1/devlogin", kFromOurPage);
    ASSERT_EQ(in.status, 303) << in.text;
    EXPECT_EQ(in.header("location"), "/profile");
    const std::string set_cookie = in.header("set-cookie");
    for (const char* attribute : {"HttpOnly", "SameSite=Lax", "Secure", "Path=/"}) {
        EXPECT_NE(set_cookie.find(attribute), std::string::npos) << set_cookie;
    }
    const PrivateAdmind::Browser browser{&admind(), cookie_of(in), 0, ""};
    const HttpReply session = browser.call("GET", "/api/v1/session");
    EXPECT_EQ(session.body["user"]["email"], PrivateAdmind::kDevUser);
    EXPECT_EQ(session.body["is_admin"], true);

    const HttpReply out = browser.call("POST", "/api/v1/logout");
    EXPECT_EQ(out.status, 303);
    EXPECT_EQ(browser.call("GET", "/api/v1/me").status, 401);
    EXPECT_TRUE(browser.call("GET", "/api/v1/session").body["user"].is_null());
}

TEST(Session, devlogin_is_for_this_host_only) {
    for (const char* elsewhere : {"203.0.113.9", "127.0.0.1, 203.0.113.9", "nonsense"}) {
        Headers headers = kFromOurPage;
        headers.emplace_back("X-Forwarded-For", elsewhere);
        EXPECT_EQ(admind().call("POST", "/api/v1/devlogin", headers).status, 404) << elsewhere;
    }
    Headers through_our_proxy = kFromOurPage;
    through_our_proxy.emplace_back("X-Forwarded-For", "127.0.0.1");
    EXPECT_EQ(admind().call("POST", "/api/v1/devlogin", through_our_proxy).status, 303);
}

TEST(Session, login_leads_only_to_local_paths) {
    const auto next = [](const std::string& wanted) {
        return admind().call("GET", "/api/v1/login?next=" + wanted, {}).header("location");
    };
    EXPECT_EQ(next("/chat%3Fa=1"), "/sign-in?next=/chat%3Fa%3D1");
    for (const char* elsewhere : {"https://evil.example", "//evil.example", "/%5Cevil.example", "chat", "/a%0d%0ab"}) {
        EXPECT_EQ(next(elsewhere), "/sign-in?next=/profile") << elsewhere;
    }
    EXPECT_EQ(admind().call("GET", "/api/v1/login", {}).status, 302);
}

TEST(Session, the_cookie_is_stored_nowhere) {
    const auto person = admind().new_person();
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const RedisReply keys = redis.command({"KEYS", "*"});
    for (std::size_t i = 0; i < keys->elements; ++i) {
        const std::string key(reply_text(keys->element[i]));
        EXPECT_EQ(key.find(person.cookie), std::string::npos);
    }
}

TEST(Session, sessions_end_by_themselves) {
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const NewSession session = begin_session(redis, 1, 1, 1'000);
    EXPECT_TRUE(
        find_session(redis, session.cookie, session.expires_ms - 1).has_value() ||
        !find_session(redis, session.cookie, 2'000).has_value());  // Redis itself may have dropped it: it is old
    EXPECT_FALSE(find_session(redis, session.cookie, session.expires_ms).has_value());
}

TEST(Session, ends_when_it_was_not_used_for_two_days_and_after_a_week_in_any_case) {
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    constexpr std::int64_t kHour = 3'600'000;
    const std::int64_t now = unix_ms_now();
    const auto idle = std::chrono::milliseconds(kSessionIdle).count();
    const NewSession unused = begin_session(redis, 1, 1, now);
    EXPECT_TRUE(find_session(redis, unused.cookie, now + idle - 1).has_value());
    const NewSession forgotten = begin_session(redis, 1, 1, now);
    EXPECT_FALSE(find_session(redis, forgotten.cookie, now + idle).has_value());
    const NewSession used = begin_session(redis, 1, 1, now);
    for (std::int64_t at = now; at < used.expires_ms; at += idle - kHour) {
        EXPECT_TRUE(find_session(redis, used.cookie, at).has_value()) << "each use moves the idle end on";
    }
    EXPECT_FALSE(find_session(redis, used.cookie, used.expires_ms).has_value()) << "but not beyond the last one";
}

// B20, for every route that changes anything and every way a request can come from elsewhere.
TEST(CrossSiteRequests, no_unsafe_route_takes_them) {
    const auto person = admind().new_person();
    const Headers elsewhere[] = {
        {{"Sec-Fetch-Site", "cross-site"}}, {{"Origin", "https://evil.example"}}, {{"Origin", "null"}}, {}};
    for (const Route& route : routes()) {
        if (route.method == "GET") continue;
        std::string path(route.pattern);
        for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{')) {
            path.replace(at, path.find('}') - at + 1, "1");
        }
        for (Headers headers : elsewhere) {
            headers.emplace_back("Cookie", std::string(kSessionCookie) + "=" + person.cookie);
            const HttpReply reply = admind().call(std::string(route.method), path, headers);
            EXPECT_EQ(reply.code(), "csrf_rejected") << route.method << " " << path;
        }
    }
    EXPECT_EQ(person.call("GET", "/api/v1/me").status, 200) << "not even the sign-out";
}

struct OriginRow {
    const char* name;
    Headers headers;
    int status;
};
void PrintTo(const OriginRow& row, std::ostream* out) {
    *out << row.name;
}

class CrossSite : public ::testing::TestWithParam<OriginRow> {};

// B20, with a route by cookie and one for anyone.
TEST_P(CrossSite, unsafe_requests_are_let_through_only_from_our_pages) {
    const auto person = admind().new_person();
    Headers headers = GetParam().headers;
    headers.emplace_back("Cookie", std::string(kSessionCookie) + "=" + person.cookie);
    const HttpReply draft = admind().call("POST", "/api/v1/me/keys/draft", headers);
    EXPECT_EQ(draft.status, GetParam().status == 200 ? 201 : 403) << draft.text;
    if (GetParam().status != 200) {
        EXPECT_EQ(draft.code(), "csrf_rejected");
    }
    const HttpReply login = admind().call("POST", "/api/v1/devlogin", GetParam().headers);
    EXPECT_EQ(login.status, GetParam().status == 200 ? 303 : 403);
    EXPECT_EQ(admind().call("GET", "/api/v1/me", headers).status, 200) << "reading needs no origin";
}

INSTANTIATE_TEST_SUITE_P(
    spec_ui_B20, CrossSite,
    ::testing::Values(OriginRow{"same_origin", {{"Sec-Fetch-Site", "same-origin"}}, 200},
                      OriginRow{"cross_site", {{"Sec-Fetch-Site", "cross-site"}}, 403},
                      OriginRow{"same_site_is_not_same_origin", {{"Sec-Fetch-Site", "same-site"}}, 403},
                      OriginRow{"none_is_typed_by_hand", {{"Sec-Fetch-Site", "none"}}, 403},
                      OriginRow{"fetch_metadata_wins_over_origin",
                                {{"Sec-Fetch-Site", "cross-site"}, {"Origin", PrivateAdmind::kPublicUrl}},
                                403},
                      OriginRow{"our_origin", {{"Origin", PrivateAdmind::kPublicUrl}}, 200},
                      OriginRow{"another_origin", {{"Origin", "https://evil.example"}}, 403},
                      OriginRow{"another_port", {{"Origin", "https://lumen.example.edu:444"}}, 403},
                      OriginRow{"null_origin", {{"Origin", "null"}}, 403}, OriginRow{"missing", {}, 403}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Callers, every_route_refuses_strangers) {
    for (const Route& route : routes()) {
        if (route.who == Who::anyone || route.who == Who::visitor) continue;
        std::string path(route.pattern);
        for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{')) {
            path.replace(at, path.find('}') - at + 1, "1");
        }
        const HttpReply reply = admind().call(std::string(route.method), path, kFromOurPage);
        EXPECT_EQ(reply.status, 401) << route.method << " " << path;
        EXPECT_EQ(reply.code(), "unauthenticated");
    }
}

TEST(Callers, persons_are_no_administrators) {
    const auto person = admind().new_person();
    for (const Route& route : routes()) {
        if (route.who != Who::admin && route.who != Who::token_admin) continue;
        std::string path(route.pattern);
        for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{')) {
            path.replace(at, path.find('}') - at + 1, "1");
        }
        const HttpReply reply = person.call(std::string(route.method), path);
        EXPECT_EQ(reply.status, 403) << route.method << " " << path;
        EXPECT_EQ(reply.code(), "forbidden");
    }
}

TEST(Callers, api_keys_open_nothing_here) {
    const auto person = admind().new_person();
    const HttpReply key =
        admind().as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys", {{"name", "k"}});
    const HttpReply reply =
        admind().call("GET", "/api/v1/me", {{"Authorization", "Bearer " + key.body["key"].get<std::string>()}});
    EXPECT_EQ(reply.status, 401);
}

TEST(Callers, operators_are_not_persons_and_their_cookies_are_ignored) {
    const auto person = admind().new_person();
    Headers headers = admind().operator_headers();
    headers.emplace_back("Cookie", std::string(kSessionCookie) + "=" + person.cookie);
    const HttpReply reply = admind().call("GET", "/api/v1/me", headers);
    EXPECT_EQ(reply.status, 403);
    EXPECT_EQ(reply.code(), "operator_not_allowed");
}

TEST(Callers, scopes_rise_from_read_to_write_to_admin) {
    const auto token = [](const char* scope) -> Headers {
        const HttpReply made =
            admind().as_operator("POST", "/api/v1/admin/operator-tokens", {{"name", "t"}, {"scope", scope}});
        EXPECT_EQ(made.status, 201);
        return {{"Authorization", "Bearer " + made.body["token"].get<std::string>()}};
    };
    const Headers read = token("read");
    const Headers write = token("write");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users", read).status, 200);
    const HttpReply refused = admind().call("POST", "/api/v1/admin/refill", read);
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(refused.code(), "insufficient_scope");
    Headers with_key = write;
    with_key.emplace_back("Idempotency-Key", "scopes-1");
    EXPECT_EQ(admind().call("POST", "/api/v1/admin/refill", with_key).status, 200);
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/operator-tokens", write).code(), "insufficient_scope");
}

TEST(Callers, a_token_is_shown_once_and_ends_when_revoked) {
    const HttpReply made =
        admind().as_operator("POST", "/api/v1/admin/operator-tokens", {{"name", "t"}, {"scope", "read"}});
    const auto secret = made.body["token"].get<std::string>();
    const Headers headers{{"Authorization", "Bearer " + secret}};
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/models", headers).status, 200);
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/operator-tokens").text.find(secret), std::string::npos);
    const std::string path = "/api/v1/admin/operator-tokens/" + made.body["id"].get<std::string>();
    EXPECT_EQ(admind().as_operator("DELETE", path).status, 204);
    EXPECT_EQ(admind().as_operator("DELETE", path).status, 204);
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/models", headers).status, 401);
}

TEST(Callers, an_expired_token_ends_by_itself) {
    const HttpReply made =
        admind().as_operator("POST", "/api/v1/admin/operator-tokens",
                             {{"name", "t"}, {"scope", "read"}, {"expires_at", "2199-01-01T00:00:00Z"}});
    const Headers headers{{"Authorization", "Bearer " + made.body["token"].get<std::string>()}};
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/models", headers).status, 200);
    admind().execute("update operator_tokens set expires_at = now() where id = " + made.body["id"].get<std::string>());
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/models", headers).status, 401);
}

// ---- conventions

TEST(Conventions, every_answer_has_an_id_and_is_not_stored) {
    std::string before;
    for (const char* path : {"/healthz", "/api/v1/site", "/api/v1/me", "/nowhere"}) {
        const HttpReply reply = admind().call("GET", path, {});
        EXPECT_EQ(reply.header("cache-control"), "no-store") << path;
        EXPECT_EQ(reply.header("x-request-id").size(), 36u) << path;
        EXPECT_NE(reply.header("x-request-id"), before);
        before = reply.header("x-request-id");
    }
}

TEST(Conventions, problems_are_of_rfc_9457) {
    const HttpReply reply = admind().call("GET", "/api/v1/me", {});
    EXPECT_EQ(reply.header("content-type"), "application/problem+json");
    for (const char* member : {"type", "title", "status", "detail", "code", "request_id"}) {
        EXPECT_TRUE(reply.body.contains(member)) << member;
    }
    EXPECT_EQ(reply.body["request_id"], reply.header("x-request-id"));
}

TEST(Conventions, unknown_paths_and_wrong_methods) {
    EXPECT_EQ(admind().call("GET", "/api/v1/nothing", {}).code(), "not_found");
    EXPECT_EQ(admind().call("GET", "/api/v1/me/", {}).code(), "not_found");
    const HttpReply reply = admind().call("PUT", "/api/v1/me/keys", {});
    EXPECT_EQ(reply.status, 405);
    EXPECT_EQ(reply.header("allow"), "GET, POST");
}

HttpReply post_user(const std::string& content_type, const std::string& body) {
    Headers headers = admind().operator_headers();
    headers.emplace_back("Idempotency-Key", "conventions");
    headers.emplace_back("Content-Type", content_type);
    return admind().call("POST", "/api/v1/admin/users", headers, body);
}

TEST(Conventions, bodies_are_json_small_and_known) {
    EXPECT_EQ(post_user("text/plain", "{}").code(), "unsupported_media_type");
    EXPECT_EQ(post_user("application/json", "{").code(), "invalid_request");
    EXPECT_EQ(post_user("application/json", "{\"name\":\"\xff\"}").code(), "invalid_request");
    EXPECT_EQ(post_user("application/json", std::string(100, '[')).code(), "invalid_request");
    EXPECT_EQ(post_user("application/json", std::string(kMaxBodyBytes + 1, ' ')).code(), "request_too_large");
    const HttpReply unknown =
        post_user("application/json; charset=utf-8", R"({"email":"a@b.edu","name":"A","colour":1})");
    EXPECT_EQ(unknown.status, 422);
    EXPECT_EQ(unknown.body["errors"][0]["path"], "colour");
    EXPECT_EQ(unknown.body["errors"][0]["code"], "unknown_field");
}

TEST(Conventions, a_query_that_is_not_text_is_refused) {
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?q=%ff", admind().operator_headers()).code(), "invalid_request");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?q=%00", admind().operator_headers()).code(), "invalid_request");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?limit=0", admind().operator_headers()).code(),
              "invalid_request");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?limit=201", admind().operator_headers()).code(),
              "invalid_request");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?sort=shoe", admind().operator_headers()).code(),
              "invalid_sort");
    EXPECT_EQ(admind().call("GET", "/api/v1/admin/users?cursor=x", admind().operator_headers()).code(),
              "invalid_cursor");
}

TEST(Site, says_what_pages_need_and_no_secret) {
    const HttpReply reply = admind().call("GET", "/api/v1/site", {});
    EXPECT_EQ(reply.status, 200);
    for (const char* member : {"name", "tagline", "theme", "announcement", "support", "links", "version"}) {
        EXPECT_TRUE(reply.body.contains(member)) << member;
    }
    EXPECT_EQ(reply.text.find(PrivateAdmind::kSecret), std::string::npos);
}

TEST(Root, machines_get_health_readiness_and_metrics) {
    EXPECT_EQ(admind().call("GET", "/healthz", {}).status, 200);
    const HttpReply ready = admind().call("GET", "/readyz", {});
    EXPECT_EQ(ready.status, 200);
    for (const char* part : {"database", "redis", "migrations", "buckets", "settings"})
        EXPECT_EQ(ready.body[part], "ok") << part;
    EXPECT_EQ(admind().call("GET", "/metrics", {}).status, 401);
    EXPECT_EQ(admind().call("GET", "/metrics", {{"Authorization", "Bearer wrong"}}).status, 401);
    const HttpReply metrics = admind().call("GET", "/metrics", {{"Authorization", "Bearer metrics-token"}});
    EXPECT_EQ(metrics.status, 200);
    for (const char* name : {"lumen_ledger_lag_seconds", "lumen_ledger_pending", "lumen_reconcile_drift_coins",
                             "lumen_refills_total", "lumen_job_runs_total{job=\"apply_settings\"}"}) {
        EXPECT_NE(metrics.text.find(name), std::string::npos) << name;
    }
}

}  // namespace
}  // namespace lumen::admind
