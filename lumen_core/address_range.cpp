#include "lumen_core/address_range.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace lumen {
namespace {

constexpr std::size_t kMappedBits = 96;
constexpr std::size_t kMappedBytes = kMappedBits / 8;
constexpr std::array<std::uint8_t, kMappedBytes> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_mapped(const AddressBytes& address) noexcept {
    return std::equal(kMapped.begin(), kMapped.end(), address.begin());
}

/// Of byte `i`, the bits that belong to a prefix.
std::uint8_t mask_of(std::size_t i, std::size_t prefix) noexcept {
    if (prefix >= 8 * (i + 1)) return 0xff;
    if (prefix <= 8 * i) return 0;
    return static_cast<std::uint8_t>(0xff00U >> (prefix - 8 * i));
}

}  // namespace

bool AddressRange::contains(const AddressBytes& address) const noexcept {
    for (std::size_t i = 0; i < address.size(); ++i) {
        if ((address[i] & mask_of(i, prefix)) != network[i]) return false;
    }
    return true;
}

std::optional<AddressBytes> parse_address(std::string_view text) noexcept {
    char terminated[INET6_ADDRSTRLEN] = {};
    if (text.empty() || text.size() >= sizeof terminated) return std::nullopt;
    if (text.find('\0') != std::string_view::npos) return std::nullopt;  // what follows would be taken for nothing
    std::memcpy(terminated, text.data(), text.size());
    AddressBytes address{};
    if (inet_pton(AF_INET6, terminated, address.data()) == 1) return address;
    std::copy(kMapped.begin(), kMapped.end(), address.begin());
    if (inet_pton(AF_INET, terminated, address.data() + kMappedBytes) == 1) return address;
    return std::nullopt;
}

std::optional<AddressRange> parse_address_range(std::string_view text) noexcept {
    const std::size_t slash = std::min(text.find('/'), text.size());
    const auto address = parse_address(text.substr(0, slash));
    if (!address) return std::nullopt;
    const bool is_ipv4 = text.substr(0, slash).find(':') == std::string_view::npos;
    AddressRange range;
    if (slash < text.size()) {
        const std::string_view digits = text.substr(slash + 1);
        unsigned prefix = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
        const bool whole = error == std::errc() && end == digits.data() + digits.size();
        if (!whole || prefix > (is_ipv4 ? 32U : 128U)) return std::nullopt;
        range.prefix = static_cast<std::uint8_t>(prefix + (is_ipv4 ? kMappedBits : 0));
    }
    for (std::size_t i = 0; i < address->size(); ++i) {
        range.network[i] = static_cast<std::uint8_t>((*address)[i] & mask_of(i, range.prefix));
    }
    return range;
}

std::string address_range_text(const AddressRange& range) {
    char text[INET6_ADDRSTRLEN] = {};
    const bool is_ipv4 = range.prefix >= kMappedBits && is_mapped(range.network);
    inet_ntop(is_ipv4 ? AF_INET : AF_INET6, range.network.data() + (is_ipv4 ? kMappedBytes : 0), text, sizeof text);
    const std::size_t prefix = range.prefix - (is_ipv4 ? kMappedBits : 0);
    return std::string(text) + "/" + std::to_string(prefix);
}

}  // namespace lumen
