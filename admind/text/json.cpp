#include "admind/text/json.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace lumen::admind {

namespace {
constexpr int kDeepest = 16;
}

std::string to_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<Json> parse_json(std::string_view text) {
    bool too_deep = false;
    const auto bounded = [&](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kDeepest;
        return !too_deep;
    };
    Json json = Json::parse(text.begin(), text.end(), bounded, false);
    if (too_deep || json.is_discarded()) return std::nullopt;
    return json;
}

std::string text_member(const Json& object, const char* name) {
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>() : std::string();
}

Json coins_json(NanoCoins amount) {
    return {{"coins", format_coins(amount)}, {"nano", std::to_string(amount.nano())}};
}

Json coins_json(const std::optional<NanoCoins>& amount) {
    return amount ? coins_json(*amount) : Json(nullptr);
}

std::string utc_text(std::int64_t unix_ms) {
    std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
    std::int64_t milliseconds = unix_ms % 1000;
    if (milliseconds < 0) {
        milliseconds += 1000;
        --seconds;
    }
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[64];
    const int length =
        std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                      parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(milliseconds));
    return {text, static_cast<std::size_t>(length)};
}

Json utc_json(std::int64_t unix_ms) {
    return unix_ms == 0 ? Json(nullptr) : Json(utc_text(unix_ms));
}

Json id_json(std::int64_t id) {
    return std::to_string(id);
}

std::optional<std::int64_t> parse_id(std::string_view text) noexcept {
    std::int64_t id = 0;
    const char* end = text.data() + text.size();
    if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
    const auto [stop, error] = std::from_chars(text.data(), end, id);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return id;
}

std::int64_t unix_ms_now() noexcept {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

bool is_utf8(std::string_view text) noexcept {
    std::size_t i = 0;
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    while (i < text.size()) {
        const unsigned char lead = byte(i);
        std::size_t length = 1;
        unsigned code = lead;
        if (lead >= 0x80) {
            if (lead >= 0xF0 && lead < 0xF5)
                length = 4, code = lead & 0x07u;
            else if (lead >= 0xE0 && lead < 0xF0)
                length = 3, code = lead & 0x0Fu;
            else if (lead >= 0xC2 && lead < 0xE0)
                length = 2, code = lead & 0x1Fu;
            else
                return false;
        }
        if (i + length > text.size()) return false;
        for (std::size_t k = 1; k < length; ++k) {
            if ((byte(i + k) & 0xC0u) != 0x80u) return false;
            code = (code << 6) | (byte(i + k) & 0x3Fu);
        }
        const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
        if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
        i += length;
    }
    return true;
}

}  // namespace lumen::admind
