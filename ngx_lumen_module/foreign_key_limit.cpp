#include "ngx_lumen_module/foreign_key_limit.h"

#include <algorithm>
#include <array>

namespace lumen {
namespace {

constexpr std::size_t kIpv6NetworkBytes = 8;

// Theoretical arrival times (GCRA), in ngx_current_msec; 0: never seen.
std::array<std::int64_t, kLimitedAddresses> arrivals;

std::string_view network_of(const sockaddr* client) noexcept {
    if (client->sa_family == AF_INET) {
        const auto* address = &reinterpret_cast<const sockaddr_in*>(client)->sin_addr;
        return {reinterpret_cast<const char*>(address), sizeof(*address)};
    }
    if (client->sa_family == AF_INET6) {
        const auto* address = &reinterpret_cast<const sockaddr_in6*>(client)->sin6_addr;
        return {reinterpret_cast<const char*>(address), kIpv6NetworkBytes};
    }
    return {};  // a local socket: one allowance for all
}

std::size_t place_of(std::string_view network) noexcept {
    // Seeded, or an outsider could choose whose allowance to use up.
    static const auto seed = static_cast<std::uint32_t>(ngx_random());
    std::array<u_char, sizeof(seed) + sizeof(in6_addr)> bytes{};
    std::copy_n(reinterpret_cast<const u_char*>(&seed), sizeof(seed), bytes.begin());
    std::copy(network.begin(), network.end(), bytes.begin() + sizeof(seed));
    return ngx_murmur_hash2(bytes.data(), sizeof(seed) + network.size()) % kLimitedAddresses;
}

}  // namespace

std::int64_t foreign_lookup_wait_ms(const sockaddr* client) noexcept {
    const auto now_ms = static_cast<std::int64_t>(ngx_current_msec);
    std::int64_t& arrival = arrivals[place_of(network_of(client))];
    const std::int64_t next = std::max(arrival, now_ms) + kForeignLookupEveryMs;
    const std::int64_t early_ms = next - now_ms - kForeignLookupBurst * kForeignLookupEveryMs;
    if (early_ms > 0) return early_ms;
    arrival = next;
    return 0;
}

}  // namespace lumen
