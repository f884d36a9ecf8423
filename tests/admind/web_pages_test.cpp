// What pages show of numbers and of other people's text: the forecast at fixed times, Markdown as safe HTML, avatars,
// and what is kept of other sites.
#include <gtest/gtest.h>

#include <random>
#include <type_traits>

#include "admind/people/avatar.h"
#include "admind/people/forecast.h"
#include "admind/people/kept_answers.h"
#include "admind/people/remote_pages.h"
#include "admind/text/markdown.h"

namespace lumen::admind {
namespace {

// B24: nothing but the escaping writer makes HTML of a text.
static_assert(!std::is_constructible_v<Html, std::string> && !std::is_constructible_v<Html, const char*>);
static_assert(!std::is_convertible_v<std::string, Html> && !std::is_assignable_v<Html&, std::string>);
static_assert(!std::is_convertible_v<Html, std::string>);

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kForecastAt = 1'764'115'200'000;  // 2025-11-26T00:00:00Z, on the hour
constexpr NanoCoins coins(double n) {
    return NanoCoins(static_cast<std::int64_t>(n * 1e9));
}

struct ForecastRow {
    const char* name;
    bool limited;
    double balance, refill;
    UseWindow day, week;
    Outlook outlook;
    std::int64_t hours;  ///< until it runs out
};
UseWindow day(double spent, std::int64_t requests, std::int64_t first_hours_ago) {
    return {24, coins(spent), requests, requests > 0 ? kForecastAt - first_hours_ago * kHour : 0};
}
UseWindow week(double spent, std::int64_t requests, std::int64_t first_hours_ago) {
    return {168, coins(spent), requests, requests > 0 ? kForecastAt - first_hours_ago * kHour : 0};
}

class ForecastTable : public testing::TestWithParam<ForecastRow> {};

TEST_P(ForecastTable, F4_F5_says_what_the_row_says) {
    const ForecastRow& row = GetParam();
    const Forecast result =
        forecast({row.limited, coins(row.balance), coins(row.refill), kForecastAt, row.day, row.week});
    EXPECT_EQ(result.outlook, row.outlook);
    EXPECT_EQ(result.runs_out_ms, row.hours == 0 ? 0 : kForecastAt + row.hours * kHour);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, ForecastTable,
    testing::Values(
        ForecastRow{"no_limit", false, 5, 0, day(24, 100, 20), week(24, 100, 20), Outlook::no_limit, 0},
        ForecastRow{"runs_out", true, 12, 0.5, day(24, 100, 20), week(24, 100, 20), Outlook::runs_out, 24},
        ForecastRow{"no_refill", true, 12, 0, day(24, 100, 20), week(24, 100, 20), Outlook::runs_out, 12},
        ForecastRow{"refill_covers", true, 12, 2, day(24, 100, 20), week(24, 100, 20), Outlook::refill_covers, 0},
        ForecastRow{"refill_equals_use", true, 12, 1, day(24, 100, 20), week(24, 100, 20), Outlook::refill_covers, 0},
        ForecastRow{"just_above_the_refill", true, 1, 0.999, day(24, 100, 20), week(24, 100, 20), Outlook::runs_out,
                    1000},
        ForecastRow{"ninety_days", true, 2160, 0, day(24, 100, 20), week(24, 100, 20), Outlook::runs_out, 2160},
        ForecastRow{"more_than_ninety_days", true, 2160.5, 0, day(24, 100, 20), week(24, 100, 20), Outlook::beyond, 0},
        ForecastRow{"largest_balance", true, 4'000'000, 0, day(24, 100, 20), week(24, 100, 20), Outlook::beyond, 0},
        ForecastRow{"exhausted", true, 0, 1, day(24, 100, 20), week(24, 100, 20), Outlook::exhausted, 0},
        ForecastRow{"below_zero", true, -3, 1, day(24, 100, 20), week(24, 100, 20), Outlook::exhausted, 0},
        ForecastRow{"no_use", true, 12, 1, day(0, 0, 0), week(0, 0, 0), Outlook::not_enough_use, 0},
        ForecastRow{"four_requests", true, 12, 0, day(24, 4, 20), week(24, 4, 20), Outlook::not_enough_use, 0},
        ForecastRow{"less_than_an_hour", true, 12, 0, day(24, 100, 0), week(24, 100, 0), Outlook::not_enough_use, 0},
        ForecastRow{"the_week_says_it", true, 12, 0, day(1, 4, 20), week(168, 50, 160), Outlook::runs_out, 12},
        ForecastRow{"free_models_only", true, 12, 0, day(0, 100, 20), week(0, 100, 20), Outlook::refill_covers, 0}),
    [](const auto& row) { return row.param.name; });

struct MarkdownRow {
    const char* name;
    const char* markdown;
    const char* html;
};
class MarkdownTable : public testing::TestWithParam<MarkdownRow> {};

TEST_P(MarkdownTable, D2_B17_B25_becomes_this_html) {
    EXPECT_EQ(render_markdown(GetParam().markdown).text(), GetParam().html);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, MarkdownTable,
    testing::Values(
        MarkdownRow{"text", "Answers *may* be **wrong**.", "<p>Answers <em>may</em> be <strong>wrong</strong>.</p>"},
        MarkdownRow{"link", "[a](https://example.org/?a=1&b=2)",
                    "<p><a href=\"https://example.org/?a=1&amp;b=2\">a</a></p>"},
        MarkdownRow{"script_link", "[a](javascript:alert(1))", "<p>a</p>"},
        MarkdownRow{"script_link_in_capitals", "[a](JaVaScRiPt:alert(1))", "<p>a</p>"},
        MarkdownRow{"data_link", "[a](data:text/html;base64,AAAA)", "<p>a</p>"},
        MarkdownRow{"relative_link", "[a](../up)", "<p>a</p>"},
        MarkdownRow{"picture", "![cat](https://example.org/c.png)",
                    "<p><a href=\"https://example.org/c.png\">[picture: cat]</a></p>"},
        MarkdownRow{"picture_in_a_link", "[![cat](https://a.org/c.png)](https://b.org)",
                    "<p><a href=\"https://b.org\">[picture: cat]</a></p>"},
        MarkdownRow{"raw_html", "<script>alert(1)</script>\n\ntext <b onclick=\"x\">bold</b>", "<p>text bold</p>"},
        MarkdownRow{"html_in_code", "`<img src=x onerror=alert(1)>`",
                    "<p><code>&lt;img src=x onerror=alert(1)&gt;</code></p>"},
        MarkdownRow{"quote_in_link", "[a](https://x.org/\"onmouseover=\"alert)",
                    "<p><a href=\"https://x.org/&quot;onmouseover=&quot;alert\">a</a></p>"},
        MarkdownRow{"table", "|a|b|\n|---|---|\n|1|2|",
                    "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody>"
                    "</table>"}),
    [](const auto& row) { return row.param.name; });

TEST(Markdown, B25_nothing_but_the_listed_elements_comes_out_of_random_text) {
    const std::string pieces[] = {"<",
                                  ">",
                                  "\"",
                                  "'",
                                  "&",
                                  "[",
                                  "](",
                                  ")",
                                  "!",
                                  "`",
                                  "```\n",
                                  "*",
                                  "_",
                                  "#",
                                  "\n",
                                  "|",
                                  "-",
                                  "javascript:",
                                  "https://x.org",
                                  "<script>",
                                  "<img src=x onerror=alert(1)>",
                                  "<a href=",
                                  "&#106;",
                                  "&lt;",
                                  "\0",
                                  " ",
                                  "x",
                                  "~~",
                                  "<!--",
                                  "\xF0\x9F"};
    std::mt19937 random(20251126);
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (auto n = random() % 24; n > 0; --n) text += pieces[random() % std::size(pieces)];
        const std::string html = render_markdown(text).text();
        for (std::size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
            const std::string tag = html.substr(at, html.find('>', at) - at + 1);
            const bool link = tag.rfind("<a href=\"http", 0) == 0 || tag.rfind("<a href=\"mailto:", 0) == 0;
            const bool plain = tag.find_first_of(" \"'=") == std::string::npos;
            ASSERT_TRUE(link || plain) << "round " << round << ": " << tag << " from " << text;
            ASSERT_TRUE(link || tag.find("script") == std::string::npos) << text;
        }
    }
}

TEST(Readme, D2_front_matter_is_left_out) {
    EXPECT_EQ(without_front_matter("---\nlicense: mit\n---\n# Model\n"), "# Model\n");
    EXPECT_EQ(without_front_matter("# Model\n---\n"), "# Model\n---\n");
    EXPECT_EQ(without_front_matter("---\nnever closed\n"), "---\nnever closed\n");
}

TEST(Readme, D2_only_model_pages_of_huggingface_have_an_address) {
    EXPECT_EQ(readme_address("https://huggingface.co/org/model"),
              "https://huggingface.co/org/model/raw/main/README.md");
    EXPECT_EQ(readme_address("https://huggingface.co/org/model/tree/main?x#y"),
              "https://huggingface.co/org/model/raw/main/README.md");
    for (const char* other :
         {"http://huggingface.co/org/model", "https://huggingface.co.evil.org/org/model", "https://huggingface.co/org",
          "https://huggingface.co@evil.org/org/model", "https://huggingface.co/../x", "https://huggingface.co/a b/c",
          "https://example.org/org/model", ""}) {
        EXPECT_EQ(readme_address(other), std::nullopt) << other;
    }
}

TEST(Avatar, P8_gravatars_name_is_the_hash_of_the_trimmed_lower_case_address) {
    // sha256sum of "myemailaddress@example.com", the example of Gravatar's documentation.
    EXPECT_EQ(gravatar_hash(" MyEmailAddress@example.com "),
              "84059b07d4be67b806386c0aad8070a23f18836bbaae342275dc0a83414c32ee");
}

TEST(Avatar, P9_initials_are_drawn_from_any_name_and_cannot_break_out) {
    EXPECT_NE(initials_picture("Ada Lovelace", "a@b.c").bytes.find(">AL</text>"), std::string::npos);
    EXPECT_NE(initials_picture("ada", "a@b.c").bytes.find(">A</text>"), std::string::npos);
    EXPECT_NE(initials_picture("Élodie Ørsted", "a@b.c").bytes.find(">ÉØ</text>"), std::string::npos);
    EXPECT_NE(initials_picture("<b> \"x", "a@b.c").bytes.find(">&lt;&quot;</text>"), std::string::npos);
}

TEST(Avatar, P9_only_pictures_are_shown_whatever_they_are_called) {
    EXPECT_EQ(picture_type("\x89PNG\r\n\x1a\n...."), "image/png");
    EXPECT_EQ(picture_type("\xFF\xD8\xFF\xE0"), "image/jpeg");
    EXPECT_EQ(picture_type("<svg xmlns=...>"), std::nullopt);
    EXPECT_EQ(picture_type(""), std::nullopt);
}

TEST(KeptAnswers, ask_once_while_fresh_also_after_a_failure) {
    using Clock = KeptAnswers<std::string>::Clock;
    int asked = 0;
    KeptAnswers<std::string> kept({}, [&](const std::string& key) -> std::optional<std::string> {
        ++asked;
        if (key == "gone") return std::nullopt;
        return key + "!";
    });
    const auto now = Clock::now();
    EXPECT_EQ(kept.get("a", now), "a!");
    EXPECT_EQ(kept.get("a", now + std::chrono::hours(23)), "a!");
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(kept.get("a", now + std::chrono::hours(25)), "a!");
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(kept.get("gone", now), std::nullopt);
    EXPECT_EQ(kept.get("gone", now + std::chrono::minutes(9)), std::nullopt);
    EXPECT_EQ(asked, 3);
    EXPECT_EQ(kept.get("gone", now + std::chrono::minutes(11)), std::nullopt);
    EXPECT_EQ(asked, 4);
}

TEST(KeptAnswers, hold_no_more_than_their_bound) {
    int asked = 0;
    KeptAnswersBounds bounds;
    bounds.most = 2;
    KeptAnswers<int> kept(bounds, [&](const std::string&) { return std::optional<int>(++asked); });
    const auto now = KeptAnswers<int>::Clock::now();
    kept.get("a", now);
    kept.get("b", now + std::chrono::seconds(1));
    kept.get("c", now + std::chrono::seconds(2));
    EXPECT_EQ(kept.get("b", now + std::chrono::seconds(3)), 2);
    EXPECT_EQ(kept.get("a", now + std::chrono::seconds(3)), 4);
}

}  // namespace
}  // namespace lumen::admind
