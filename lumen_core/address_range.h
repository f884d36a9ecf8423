// Ranges of IP addresses (CIDR) that a key may be used from.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lumen {

/// An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d.
using AddressBytes = std::array<std::uint8_t, 16>;

inline constexpr std::size_t kMaxAddressRanges = 64;  ///< of one key

struct AddressRange {
    AddressBytes network{};     ///< bits beyond the prefix are 0
    std::uint8_t prefix = 128;  ///< of the 128 bits; an IPv4 range's is 96 longer than it is written
    bool contains(const AddressBytes& address) const noexcept;
};

/// "192.0.2.0/24", "2001:db8::/32", or one address.
std::optional<AddressRange> parse_address_range(std::string_view text) noexcept;
/// The one text of a range: "192.0.2.0/24", "203.0.113.7/32".
std::string address_range_text(const AddressRange& range);
std::optional<AddressBytes> parse_address(std::string_view text) noexcept;

}  // namespace lumen
