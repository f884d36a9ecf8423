#include "lumen_core/cluster_slot.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace lumen {
namespace {

constexpr std::array<std::uint16_t, 256> crc16_table() noexcept {
    std::array<std::uint16_t, 256> table{};
    for (unsigned byte = 0; byte < table.size(); ++byte) {
        unsigned crc = byte << 8U;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U;
        table[byte] = static_cast<std::uint16_t>(crc);
    }
    return table;
}
constexpr std::array<std::uint16_t, 256> kCrc16 = crc16_table();

constexpr std::string_view kKeyless[] = {"INFO", "TIME",    "PING", "CONFIG", "SCAN", "PUBLISH",  "WAIT",
                                         "ROLE", "CLUSTER", "AUTH", "SCRIPT", "ACL",  "FLUSHALL", "DBSIZE"};

template <class Number>
bool take_number(std::string_view& text, Number& number) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

bool take(std::string_view& text, std::string_view prefix) noexcept {
    if (text.substr(0, prefix.size()) != prefix) return false;
    text.remove_prefix(prefix.size());
    return true;
}

}  // namespace

std::uint16_t cluster_slot(std::string_view key) noexcept {
    const std::size_t open = key.find('{');
    if (open != std::string_view::npos) {
        const std::size_t close = key.find('}', open + 1);
        if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
    }
    unsigned crc = 0;
    for (const char c : key) {
        crc = ((crc << 8U) & 0xFFFFU) ^ kCrc16[((crc >> 8U) ^ static_cast<unsigned char>(c)) & 0xFFU];
    }
    return static_cast<std::uint16_t>(crc % kClusterSlots);
}

std::string_view routing_key(std::string_view verb, std::string_view second, std::string_view fourth) noexcept {
    if (verb == "EVALSHA" || verb == "EVAL") return fourth;
    if (std::find(std::begin(kKeyless), std::end(kKeyless), verb) != std::end(kKeyless)) return {};
    return second;
}

std::optional<ClusterRedirection> parse_redirection(std::string_view error) noexcept {
    ClusterRedirection to;
    to.ask = take(error, "ASK ");
    if (!to.ask && !take(error, "MOVED ")) return std::nullopt;
    if (!take_number(error, to.slot) || to.slot >= kClusterSlots || !take(error, " ")) return std::nullopt;
    const std::size_t colon = error.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    to.host = error.substr(0, colon);
    if (to.host == "?") to.host = {};
    error.remove_prefix(colon + 1);
    if (!take_number(error, to.port) || !error.empty() || to.port == 0) return std::nullopt;
    return to;
}

bool is_cluster_pause(std::string_view error) noexcept {
    for (const std::string_view word : {"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"}) {
        if (error.substr(0, word.size()) == word) return true;
    }
    return false;
}

}  // namespace lumen
