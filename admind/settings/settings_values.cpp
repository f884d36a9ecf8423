#include "admind/settings/settings_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "lumen_core/limits.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostDecimals = 9;

bool all_digits(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<std::int64_t> whole(std::string_view text) {
    std::int64_t value = 0;
    const char* end = text.data() + text.size();
    if (text.empty() || !all_digits(text)) return std::nullopt;
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return value;
}

std::optional<std::int64_t> unit_seconds(std::string_view unit) {
    if (unit.size() > 1 && unit.back() == 's') unit.remove_suffix(1);
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 6> kUnits{
        {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"month", 30 * 86400}, {"year", 365 * 86400}}};
    for (const auto& [name, seconds] : kUnits) {
        if (name == unit) return seconds;
    }
    return std::nullopt;
}

std::optional<Rate> parse_rate(std::string_view text) {
    text = trimmed(text);
    std::vector<std::string_view> words;
    const bool slash = text.find('/') != std::string_view::npos;
    while (!text.empty()) {
        const std::size_t end = text.find_first_of(slash ? " /" : " ");
        if (end != 0) words.push_back(text.substr(0, end));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    if (!slash) {
        if (words.size() < 3 || words[1] != "per") return std::nullopt;
        words.erase(words.begin() + 1);
    }
    std::int64_t multiple = 1;
    if (words.size() == 3) {
        const auto given = whole(words[1]);
        if (!given || *given < 1 || *given > 1000) return std::nullopt;
        multiple = *given;
        words.erase(words.begin() + 1);
    }
    if (words.size() != 2) return std::nullopt;
    const auto count = whole(words[0]);
    const auto unit = unit_seconds(words[1]);
    if (!count || *count < 1 || *count > kMostPerRate || !unit || multiple * *unit > kMostPerRate) return std::nullopt;
    return Rate{*count, std::chrono::seconds{multiple * *unit}};
}

}  // namespace

AmountResult parse_amount(std::string_view text) {
    const std::string not_decimal = "expected decimal, got \"" + std::string(text.substr(0, 64)) + "\"";
    std::string_view rest = text;
    const bool negative = !rest.empty() && rest.front() == '-';
    if (negative || (!rest.empty() && rest.front() == '+')) rest.remove_prefix(1);
    const std::size_t point = rest.find('.');
    std::string_view integral = rest.substr(0, point);
    const std::string_view decimals = point == std::string_view::npos ? std::string_view{} : rest.substr(point + 1);
    if ((integral.empty() && decimals.empty()) || !all_digits(integral) || !all_digits(decimals)) {
        return {std::nullopt, not_decimal};
    }
    std::string_view significant = decimals;
    while (!significant.empty() && significant.back() == '0') significant.remove_suffix(1);
    if (significant.size() > kMostDecimals) return {std::nullopt, "at most 9 decimal places"};
    while (integral.size() > 1 && integral.front() == '0') integral.remove_prefix(1);

    std::string canonical = integral.empty() ? "0" : std::string(integral);
    if (!significant.empty()) canonical.append(".").append(significant);
    const bool zero = canonical == "0";
    if (negative && !zero) canonical.insert(0, "-");
    const auto amount = parse_coins(canonical);
    if (!amount) return {std::nullopt, "out of range"};
    return {amount, ""};
}

std::optional<std::vector<Rate>> parse_rates(std::string_view text) {
    std::vector<Rate> rates;
    text = trimmed(text);
    if (text.empty()) return rates;
    while (true) {
        const std::size_t end = text.find(';');
        const auto rate = parse_rate(text.substr(0, end));
        if (!rate || rates.size() == 2) return std::nullopt;
        rates.push_back(*rate);
        if (end == std::string_view::npos) return rates;
        text.remove_prefix(end + 1);
    }
}

std::optional<std::int64_t> parse_utc_time(std::string_view text) {
    // YYYY-MM-DDTHH:MM[:SS[.fff]]Z
    if (text.size() < 17 || text.size() > 30 || text.back() != 'Z') return std::nullopt;
    if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':')
        return std::nullopt;
    std::tm parts{};
    const auto year = whole(text.substr(0, 4));
    const auto month = whole(text.substr(5, 2));
    const auto day = whole(text.substr(8, 2));
    const auto hour = whole(text.substr(11, 2));
    const auto minute = whole(text.substr(14, 2));
    if (!year || !month || !day || !hour || !minute) return std::nullopt;
    std::string_view rest = text.substr(16, text.size() - 17);
    std::int64_t second = 0;
    std::int64_t milliseconds = 0;
    if (!rest.empty()) {
        if (rest[0] != ':' || rest.size() < 3) return std::nullopt;
        const auto given = whole(rest.substr(1, 2));
        if (!given) return std::nullopt;
        second = *given;
        rest.remove_prefix(3);
        if (!rest.empty()) {
            if (rest[0] != '.' || rest.size() < 2 || !all_digits(rest.substr(1))) return std::nullopt;
            std::string fraction(rest.substr(1, 3));
            fraction.resize(3, '0');
            milliseconds = *whole(fraction);
        }
    }
    if (*year < 1970 || hour > 23 || minute > 59 || second > 59) return std::nullopt;
    parts.tm_year = static_cast<int>(*year) - 1900;
    parts.tm_mon = static_cast<int>(*month) - 1;
    parts.tm_mday = static_cast<int>(*day);
    parts.tm_hour = static_cast<int>(*hour);
    parts.tm_min = static_cast<int>(*minute);
    parts.tm_sec = static_cast<int>(second);
    const std::tm asked = parts;
    const std::time_t seconds = timegm(&parts);
    // timegm carries 31 February over into March; such a date is not a time.
    if (parts.tm_mon != asked.tm_mon || parts.tm_mday != asked.tm_mday) return std::nullopt;
    return static_cast<std::int64_t>(seconds) * 1000 + milliseconds;
}

std::optional<WebUrl> parse_web_url(std::string_view text) {
    WebUrl url;
    if (text.substr(0, 8) == "https://") {
        url.https = true;
        text.remove_prefix(8);
    } else if (text.substr(0, 7) == "http://") {
        text.remove_prefix(7);
    } else {
        return std::nullopt;
    }
    const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (!printable || text.find_first_of("?#@\"\\<>") != std::string_view::npos) return std::nullopt;

    const std::size_t slash = text.find('/');
    std::string_view authority = text.substr(0, slash);
    std::string_view path = slash == std::string_view::npos ? std::string_view{} : text.substr(slash);
    while (!path.empty() && path.back() == '/') path.remove_suffix(1);
    url.path = path;
    url.port = url.https ? 443 : 80;

    std::string_view port;
    if (!authority.empty() && authority.front() == '[') {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) return std::nullopt;
        url.host = authority.substr(1, close - 1);
        port = authority.substr(close + 1);
    } else {
        const std::size_t colon = authority.find(':');
        url.host = authority.substr(0, colon);
        if (colon != std::string_view::npos) port = authority.substr(colon);
    }
    if (url.host.empty() || url.host.size() > 253) return std::nullopt;
    if (!port.empty()) {
        const auto number = port[0] == ':' ? whole(port.substr(1)) : std::nullopt;
        if (!number || *number < 1 || *number > 65535) return std::nullopt;
        url.port = static_cast<std::uint16_t>(*number);
    }
    return url;
}

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
    std::optional<std::string> best;
    std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
    std::vector<std::size_t> row;
    for (const std::string& candidate : candidates) {
        row.resize(candidate.size() + 1);
        for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
        for (std::size_t i = 1; i <= word.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j <= candidate.size(); ++j) {
                const std::size_t above = row[j];
                row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1)});
                diagonal = above;
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = candidate;
        }
    }
    return best;
}

std::string normalised_email(std::string_view text) {
    std::string email(trimmed(text));
    std::transform(email.begin(), email.end(), email.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return email;
}

bool is_email(std::string_view text) noexcept {
    const std::size_t at = text.find('@');
    if (at == std::string_view::npos || at == 0 || at > 64 || text.size() > 254) return false;
    const std::string_view domain = text.substr(at + 1);
    if (domain.empty() || domain.front() == '.' || domain.back() == '.') return false;
    return std::all_of(text.begin(), text.end(),
                       [](char c) {
                           return c > ' ' && c < '\x7f' &&
                                  std::string_view("\"(),:;<>[]\\`'").find(c) == std::string_view::npos;
                       }) &&
           domain.find('@') == std::string_view::npos;
}

}  // namespace lumen::admind
