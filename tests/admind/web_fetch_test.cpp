// Outgoing fetches: whom they may ask, and what they bring home.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "admind/people/outgoing_fetch.h"
#include "admind/rest/http_server.h"

namespace lumen::admind {
namespace {

class Server {
 public:
    explicit Server(std::function<HttpAnswer(const HttpRequest&)> answer)
        : http_("127.0.0.1", 0, [this, answer = std::move(answer)](const HttpRequest& request) {
              ++asked;
              return answer(request);
          }) {}
    std::string url(const std::string& path = "/") const {
        return "http://127.0.0.1:" + std::to_string(http_.port()) + path;
    }
    std::atomic<int> asked{0};

 private:
    HttpServer http_;
};

HttpAnswer text(int status, std::string body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    HttpAnswer answer;
    answer.status = status;
    answer.content_type = "text/plain";
    answer.body = std::move(body);
    answer.headers = std::move(headers);
    return answer;
}

FetchRules local_rules() {
    FetchRules rules;
    rules.hosts = {"127.0.0.1"};
    rules.addresses = FetchRules::Addresses::any;
    rules.schemes = FetchRules::Schemes::http_too;
    rules.timeout = std::chrono::seconds(20);
    return rules;
}

TEST(Fetch, brings_status_type_and_body) {
    Server server([](const HttpRequest& request) {
        return text(200, "hello " + request.path + " " + std::string(request.header("x-own")),
                    {{"Cache-Control", "max-age=60"}});
    });
    const Fetched fetched = fetch({server.url("/a"), {{"X-Own", "yes"}}}, local_rules());
    EXPECT_TRUE(fetched.ok()) << fetched.error;
    EXPECT_EQ(fetched.body, "hello /a yes");
    EXPECT_EQ(fetched.content_type, "text/plain");
    EXPECT_EQ(fetched.cache_control, "max-age=60");
}

TEST(Fetch, posts_forms) {
    Server server([](const HttpRequest& request) { return text(200, request.method + " " + request.body); });
    EXPECT_EQ(fetch({server.url(), {}, "a=b&c=d"}, local_rules()).body, "POST a=b&c=d");
}

TEST(Fetch, asks_no_host_that_is_not_listed) {
    Server server([](const HttpRequest&) { return text(200, ""); });
    FetchRules rules = local_rules();
    rules.hosts = {"huggingface.co", ".example.edu"};
    EXPECT_EQ(fetch({server.url()}, rules).error, "host not allowed");
    for (const char* url : {"http://example.edu/", "http://notexample.edu/", "http://huggingface.co.evil.org/",
                            "http://huggingface.co@127.0.0.1/", "file:///etc/passwd", "gopher://huggingface.co/"}) {
        EXPECT_FALSE(fetch({url}, rules).error.empty()) << url;
    }
    EXPECT_EQ(server.asked, 0);
}

TEST(Fetch, connects_to_no_private_address_whatever_its_name) {
    Server server([](const HttpRequest&) { return text(200, ""); });
    FetchRules rules = local_rules();
    rules.addresses = FetchRules::Addresses::public_only;
    rules.hosts = {"127.0.0.1", "localhost", "::1"};
    EXPECT_EQ(fetch({server.url()}, rules).error, "address not public");
    const std::string port = server.url().substr(server.url().rfind(':'));
    EXPECT_EQ(fetch({"http://localhost" + port}, rules).error, "address not public");
    EXPECT_EQ(server.asked, 0);
}

TEST(Fetch, speaks_https_unless_told_otherwise) {
    FetchRules rules = local_rules();
    rules.schemes = FetchRules::Schemes::https_only;
    EXPECT_EQ(fetch({"http://127.0.0.1:9/"}, rules).error, "not https");
}

TEST(Fetch, judges_each_redirect_anew) {
    Server target([](const HttpRequest& request) {
        return text(200, "reached " + std::string(request.header("authorization")));
    });
    std::string to = target.url("/there");
    Server first([&](const HttpRequest&) { return text(302, "", {{"Location", to}}); });
    FetchRules rules = local_rules();
    EXPECT_EQ(fetch({first.url()}, rules).status, 302) << "without leave a redirect is only an answer";
    rules.most_redirects = 1;
    EXPECT_EQ(fetch({first.url(), {{"Authorization", "Bearer secret"}}}, rules).body, "reached ")
        << "credentials stay with the host they were meant for";
    to = "http://localhost:9/";
    EXPECT_EQ(fetch({first.url()}, rules).error, "host not allowed");
    to = first.url();
    EXPECT_EQ(fetch({first.url()}, rules).error, "too many redirects");
    to = "//127.0.0.1/";
    EXPECT_EQ(fetch({first.url()}, rules).error, "redirected to nowhere");
}

TEST(Fetch, keeps_its_bounds_of_size_and_time) {
    Server large([](const HttpRequest&) { return text(200, std::string(5000, 'x')); });
    FetchRules rules = local_rules();
    rules.most_bytes = 4999;
    const Fetched fetched = fetch({large.url()}, rules);
    EXPECT_EQ(fetched.error, "larger than 4999 bytes");
    EXPECT_EQ(fetched.body, "");
    std::atomic<bool> done{false};
    Server slow([&](const HttpRequest&) {
        while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return text(200, "");
    });
    rules.timeout = std::chrono::milliseconds(200);
    const Fetched late = fetch({slow.url()}, rules);
    done = true;
    EXPECT_EQ(late.status, 0);
    EXPECT_FALSE(late.error.empty());
}

class PublicAddress : public ::testing::TestWithParam<std::pair<const char*, bool>> {};
TEST_P(PublicAddress, is_told_from_the_others) {
    EXPECT_EQ(is_public_address(GetParam().first), GetParam().second) << GetParam().first;
}
INSTANTIATE_TEST_SUITE_P(addresses, PublicAddress,
                         ::testing::Values(std::pair{"8.8.8.8", true}, std::pair{"2606:4700::1111", true},
                                           std::pair{"172.32.0.1", true}, std::pair{"127.0.0.1", false},
                                           std::pair{"10.1.2.3", false}, std::pair{"172.31.255.255", false},
                                           std::pair{"192.168.0.1", false}, std::pair{"169.254.169.254", false},
                                           std::pair{"100.64.0.1", false}, std::pair{"0.0.0.0", false},
                                           std::pair{"255.255.255.255", false}, std::pair{"::1", false},
                                           std::pair{"::", false}, std::pair{"fe80::1", false},
                                           std::pair{"fd00::1", false}, std::pair{"::ffff:127.0.0.1", false},
                                           std::pair{"2002:7f00:1::", false}, std::pair{"64:ff9b::7f00:1", false},
                                           std::pair{"2001:db8::1", false}, std::pair{"fe80::1%eth0", false},
                                           std::pair{"localhost", false}));

}  // namespace
}  // namespace lumen::admind
