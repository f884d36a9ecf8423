#include "lumen_core/live_message.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace lumen {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;

constexpr std::array<std::string_view, 3> kKindNames{"key", "model", "notice"};

std::string_view kind_name(LiveEventKind kind) noexcept {
    return kKindNames[static_cast<std::size_t>(kind)];
}

std::optional<LiveEventKind> kind_of_name(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kKindNames.size(); ++i) {
        if (kKindNames[i] == name) return static_cast<LiveEventKind>(i);
    }
    return std::nullopt;
}

std::string coins_json(NanoCoins amount) {
    return R"({"coins":")" + format_coins(amount) + R"(","nano":")" + std::to_string(amount.nano()) + R"("})";
}

std::string coins_or_null(bool known, NanoCoins amount) {
    return known ? coins_json(amount) : std::string("null");
}

/// "2026-01-31T09:11:05.123Z", in quotes; of times from 1970 on. The date by Howard Hinnant's civil_from_days: years
/// begin in March, so that the odd day is a year's last.
std::string time_json(std::int64_t unix_ms) {
    constexpr std::int64_t kDayMs = 24 * kHourMs;
    const std::int64_t days = unix_ms / kDayMs + 719'468;  // since 0000-03-01
    const std::int64_t day_ms = unix_ms % kDayMs;
    const std::int64_t era = days / 146'097;
    const std::int64_t day_of_era = days % 146'097;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
    const std::int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    std::array<char, 64> text;
    const int length = std::snprintf(text.data(), text.size(), "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
                                     static_cast<int>(year), static_cast<int>(month), static_cast<int>(day),
                                     static_cast<int>(day_ms / kHourMs), static_cast<int>(day_ms / 60'000 % 60),
                                     static_cast<int>(day_ms / 1'000 % 60), static_cast<int>(day_ms % 1'000));
    return {text.data(), static_cast<std::size_t>(length)};
}

std::string_view next_word(std::string_view& text) noexcept {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
}

bool read_totals(simdjson::dom::element element, LiveTotals& totals) {
    std::string_view used;
    if (element["used"].get(used) != simdjson::SUCCESS || element["in"].get(totals.tokens_in) != simdjson::SUCCESS ||
        element["out"].get(totals.tokens_out) != simdjson::SUCCESS) {
        return false;
    }
    const std::optional<NanoCoins> amount = parse_nano(used);
    totals.used = amount.value_or(NanoCoins{});
    return amount.has_value();
}

bool read_events(simdjson::dom::array events, LiveMessage& message) {
    for (const simdjson::dom::element element : events) {
        std::string_view name;
        simdjson::dom::object data;
        if (element["event"].get(name) != simdjson::SUCCESS || element["data"].get(data) != simdjson::SUCCESS ||
            message.events.size() == kMaxLiveEvents) {
            return false;
        }
        // Minified: a line break inside would end the event's data.
        if (const auto kind = kind_of_name(name)) message.events.push_back({*kind, simdjson::minify(data)});
    }
    return true;
}

}  // namespace

std::string live_message_text(const LiveMessage& message) {
    std::string text = "{";
    const auto member = [&text](std::string_view name) -> std::string& {
        if (text.size() > 1) text += ',';
        return text.append("\"").append(name).append("\":");
    };
    if (message.totals) {
        member("totals") += R"({"used":")" + std::to_string(message.totals->used.nano()) + R"(","in":)" +
                            std::to_string(message.totals->tokens_in) + R"(,"out":)" +
                            std::to_string(message.totals->tokens_out) + "}";
    }
    if (!message.events.empty()) {
        std::string& out = member("events") += '[';
        for (const LiveEvent& event : message.events) {
            if (out.back() == '}') out += ',';
            out.append(R"({"event":")").append(kind_name(event.kind)).append(R"(","data":)");
            out.append(event.data).append("}");
        }
        out += ']';
    }
    if (message.ends_all) member("end") += "true";
    if (!message.ends_session.empty()) member("end_session") += '"' + message.ends_session + '"';
    return text + "}";
}

std::optional<LiveMessage> parse_live_message(std::string_view text) {
    if (text.size() > kMaxLiveMessageBytes) return std::nullopt;
    simdjson::dom::parser parser;
    simdjson::dom::element document;
    LiveMessage message;
    if (parser.parse(text.data(), text.size()).get(document) != simdjson::SUCCESS || !document.is_object()) {
        return std::nullopt;
    }
    simdjson::dom::element totals;
    if (document["totals"].get(totals) == simdjson::SUCCESS && !read_totals(totals, message.totals.emplace())) {
        return std::nullopt;
    }
    simdjson::dom::array events;
    if (document["events"].get(events) == simdjson::SUCCESS && !read_events(events, message)) return std::nullopt;
    if (document["end"].get(message.ends_all) != simdjson::SUCCESS) message.ends_all = false;
    std::string_view session;
    if (document["end_session"].get(session) == simdjson::SUCCESS) {
        if (session.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
        message.ends_session = session;
    }
    return message;
}

std::optional<LiveWallet> parse_live_wallet(std::string_view text) noexcept {
    const std::optional<NanoCoins> balance = parse_nano(next_word(text));
    const std::optional<NanoCoins> held = parse_nano(next_word(text));
    const std::string_view limit = next_word(text);
    const std::optional<NanoCoins> rate = parse_nano(next_word(text));
    const std::string_view unlimited = next_word(text);
    const std::string_view state = next_word(text);
    if (!balance || !held || !rate) return std::nullopt;
    LiveWallet wallet;
    wallet.balance = *balance;
    wallet.held = *held;
    wallet.limit = parse_nano(limit);  // `-` is none
    wallet.rate = *rate;
    wallet.unlimited = unlimited == "1";
    wallet.active = state == "1";
    return wallet;
}

std::string balance_event_data(const LiveWallet& wallet, const std::optional<LiveTotals>& totals, std::int64_t now_ms) {
    const bool counts = !wallet.unlimited && wallet.limit.has_value();
    const bool blocked = counts && *wallet.limit == NanoCoins(0);
    const bool refills = counts && !blocked && wallet.rate > NanoCoins(0);
    const char* state = wallet.unlimited ? "unlimited" : !wallet.limit ? "none" : blocked ? "blocked" : "limited";
    // |balance| and held are at most M each, so their difference fits.
    const NanoCoins free(wallet.balance.nano() - wallet.held.nano());
    std::string data = R"({"state":")" + std::string(state) + R"(","balance":)";
    data += coins_or_null(counts, wallet.balance) + R"(,"held":)" + coins_or_null(counts, wallet.held);
    data += R"(,"free":)" + coins_or_null(counts, free);
    data += R"(,"limit":)" + coins_or_null(counts, wallet.limit.value_or(NanoCoins{}));
    data += R"(,"rate":)" + coins_or_null(refills, wallet.rate);
    data += R"(,"next_refill_at":)" + (refills ? time_json((now_ms / kHourMs + 1) * kHourMs) : "null");
    data += R"(,"used":)" + (totals ? coins_json(totals->used) : "null") + R"(,"tokens":)";
    if (totals) {
        data += R"({"input":)" + std::to_string(totals->tokens_in) + R"(,"output":)" +
                std::to_string(totals->tokens_out) + R"(,"total":)" +
                std::to_string(totals->tokens_in + totals->tokens_out) + "}";
    } else {
        data += "null";
    }
    return data;
}

std::string balance_event(std::string_view data, std::int64_t now_ms) {
    std::string event = "event: balance\nid: " + live_event_id(data) + "\ndata: ";
    return event.append(data).append(R"(,"now":)").append(time_json(now_ms)).append("}\n\n");
}

std::string live_event_id(std::string_view balance_data) {
    std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a: states are compared, not protected
    for (const char c : balance_data) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    std::array<char, 17> hex;
    std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(hash));
    return {hex.data(), 16};
}

std::string live_event(const LiveEvent& event) {
    std::string text = "event: ";
    return text.append(kind_name(event.kind)).append("\ndata: ").append(event.data).append("\n\n");
}

}  // namespace lumen
