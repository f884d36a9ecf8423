// What notices say, and that no name of a person's or project's becomes more than text in them.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <sstream>

#include "admind/people/notice_texts.h"
#include "admind/text/json.h"

namespace lumen::admind {
namespace {

DueNotice some_notice() {
    DueNotice notice;
    notice.delivery_id = "5f0c52d6-97a1-4d5e-8a4f-0a4c4c1c6f01";
    notice.kind = "low_balance";
    notice.at_ms = 1'764'140'400'000;  // 2025-11-26T07:00:00Z
    notice.account = 7;
    notice.user = 3;
    notice.user_name = "Ada Lovelace";
    notice.user_email = "ada@example.edu";
    notice.balance = NanoCoins(950'000'000);
    notice.limit = NanoCoins(5'000'000'000);
    return notice;
}

Settings some_settings() {
    Settings settings;
    settings.app.name = "Lumen";
    settings.app.public_url = "https://lumen.example.edu:8443/base";
    settings.notices.mail.from = "lumen@example.edu";
    return settings;
}

std::string headers_of(const std::string& text) {
    return text.substr(0, text.find("\r\n\r\n"));
}

/// Unfolded.
std::vector<std::string> header_lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(headers_of(text) + "\r\n");
    for (std::string line; std::getline(in, line);) {
        EXPECT_EQ(line.back(), '\r');
        line.pop_back();
        EXPECT_LE(line.size(), 78u) << line;
        if (!line.empty() && line.front() == ' ')
            lines.back() += line;
        else
            lines.push_back(line);
    }
    return lines;
}

std::string header(const std::string& text, const std::string& name) {
    std::string value;
    int found = 0;
    for (const std::string& line : header_lines(text)) {
        if (line.compare(0, name.size() + 2, name + ": ") != 0) continue;
        value = line.substr(name.size() + 2);
        ++found;
    }
    EXPECT_EQ(found, 1) << name;
    return value;
}

TEST(NoticeMail, plain_names_stay_readable) {
    const std::string text = mail_text(notice_mail(some_notice(), some_settings()));
    EXPECT_EQ(header(text, "Date"), "Wed, 26 Nov 2025 07:00:00 +0000");
    EXPECT_EQ(header(text, "From"), "Lumen <lumen@example.edu>");
    EXPECT_EQ(header(text, "To"), "Ada Lovelace <ada@example.edu>");
    EXPECT_EQ(header(text, "Message-ID"), "<5f0c52d6-97a1-4d5e-8a4f-0a4c4c1c6f01@lumen.example.edu>");
    EXPECT_EQ(header(text, "Auto-Submitted"), "auto-generated");
}

class NoticeNames : public ::testing::TestWithParam<const char*> {};

TEST_P(NoticeNames, add_no_header_and_no_recipient) {
    DueNotice notice = some_notice();
    const std::size_t lines = header_lines(mail_text(notice_mail(notice, some_settings()))).size();
    notice.user_name = GetParam();
    notice.project = GetParam();
    Settings settings = some_settings();
    settings.app.name = GetParam();
    const std::string text = mail_text(notice_mail(notice, settings));
    EXPECT_EQ(header_lines(text).size(), lines);
    const std::string to = header(text, "To");
    EXPECT_EQ(to.substr(to.rfind(' ')), " <ada@example.edu>");
    EXPECT_EQ(to.find('@'), to.rfind('@'));
    for (const char c : text) EXPECT_TRUE(c == '\r' || c == '\n' || (c >= ' ' && c < '\x7f'));
}

INSTANTIATE_TEST_SUITE_P(hostile, NoticeNames,
                         ::testing::Values("a\r\nBcc: eve@evil.org", "a\nBcc: eve@evil.org", "x <eve@evil.org>, y",
                                           "\"quoted\" name", "=?utf-8?Q?already?=", "Zoë Ångström-Łukasiewicz",
                                           "李小龍李小龍李小龍李小龍李小龍李小龍李小龍李小龍李小龍李小龍李小龍",
                                           "\xff\xfe", "a\tb"));

std::string base64_decoded(const std::string& text) {
    std::string bytes(text.size(), '\0');
    const int length =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    const auto padding = static_cast<std::size_t>(std::count(text.begin(), text.end(), '='));
    bytes.resize(static_cast<std::size_t>(length) - padding);
    return bytes;
}

TEST(NoticeMail, long_names_are_cut_between_characters) {
    DueNotice notice = some_notice();
    notice.user_name = "x";
    for (int i = 0; i < 60; ++i) notice.user_name += "ß";
    const std::string to = header(mail_text(notice_mail(notice, some_settings())), "To");
    std::istringstream words(to.substr(0, to.rfind(' ')));
    std::string whole;
    for (std::string word; words >> word;) {
        EXPECT_LE(word.size(), 75u);
        ASSERT_EQ(word.substr(0, 10), "=?utf-8?B?");
        const std::string part = base64_decoded(word.substr(10, word.size() - 12));
        EXPECT_TRUE(is_utf8(part)) << word;
        whole += part;
    }
    EXPECT_EQ(whole, notice.user_name);
}

TEST(NoticeWebhook, is_signed_as_standard_webhooks_are) {
    // The vector of the specification's own libraries.
    const SettingsResult result = read_settings(
        "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu}\n"
        "notices: {webhook: {url: 'https://h.example.edu/in', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}\n",
        {{"DATABASE_URL", "postgresql://lumen@/lumen"},
         {"LUMEN_SECRET_KEY", "0123456789abcdef0123456789abcdef"},
         {"LUMEN_ENCRYPTION_KEY", "0123456789abcdef0123456789abcdef"}});
    ASSERT_TRUE(result.settings.has_value());
    DueNotice notice = some_notice();
    notice.delivery_id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const auto headers =
        webhook_headers(notice, R"({"test": 2432232314})", result.settings->notices.webhook_secret, 1'614'265'330'000);
    EXPECT_EQ(headers[1].second, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    EXPECT_EQ(headers[2].second, "1614265330");
    EXPECT_EQ(headers[3].second, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(NoticeWebhook, says_whose_wallet_it_is) {
    DueNotice notice = some_notice();
    const Json own = parse_json(webhook_body(notice)).value();
    EXPECT_EQ(own["type"], "wallet.low_balance");
    EXPECT_EQ(own["data"]["account"], (Json{{"id", "7"}, {"type", "user"}, {"name", nullptr}}));
    EXPECT_EQ(own["data"]["balance"]["coins"], "0.95");
    notice.project = "bot";
    EXPECT_EQ(parse_json(webhook_body(notice)).value()["data"]["account"]["name"], "bot");
}

}  // namespace
}  // namespace lumen::admind
