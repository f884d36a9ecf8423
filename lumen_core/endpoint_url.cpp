#include "lumen_core/endpoint_url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace lumen {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // of a DNS name
constexpr std::size_t kMaxPathBytes = 256;

/// Decimal without sign or leading zero, 1 to 65535; 0: not a port.
std::uint16_t port_of(std::string_view text) noexcept {
    if (text.empty() || text.front() == '0') return 0;
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    return error == std::errc{} && stop == end ? port : std::uint16_t{0};
}

using IpBytes = std::array<unsigned char, 16>;
static_assert(sizeof(in_addr) <= sizeof(IpBytes) && sizeof(in6_addr) == sizeof(IpBytes));

bool parse_ip(int family, std::string_view text, IpBytes& into) noexcept {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.empty() || text.size() >= terminated.size() || text.find('\0') != text.npos) return false;
    std::copy(text.begin(), text.end(), terminated.begin());
    return inet_pton(family, terminated.data(), into.data()) == 1;
}

bool parse_bracketed_ipv6(std::string_view text, IpBytes& into) noexcept {
    return text.size() > 2 && text.front() == '[' && text.back() == ']' &&
           parse_ip(AF_INET6, text.substr(1, text.size() - 2), into);
}

bool is_host_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= kMaxHostBytes && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_';
    });
}

bool is_path(std::string_view text) noexcept {
    return text.size() <= kMaxPathBytes && std::all_of(text.begin(), text.end(), [](char c) {
               return c > ' ' && c < '\x7f' && c != '?' && c != '#' && c != '"' && c != '\\';
           });
}

struct HostAndPort {
    std::string_view host;
    std::string_view port;  ///< empty: none was written
    bool has_colon = false;
};

HostAndPort split_port(std::string_view text) noexcept {
    const std::size_t after_host = !text.empty() && text.front() == '[' ? text.find(']') : 0;
    const std::size_t colon = after_host == text.npos ? text.npos : text.find(':', after_host);
    if (colon == text.npos) return {text, {}, false};
    return {text.substr(0, colon), text.substr(colon + 1), true};
}

bool take_prefix(std::string_view& text, std::string_view prefix) noexcept {
    if (text.substr(0, prefix.size()) != prefix) return false;
    text.remove_prefix(prefix.size());
    return true;
}

}  // namespace

std::optional<EndpointUrl> parse_endpoint_url(std::string_view url) {
    EndpointUrl parsed;
    parsed.https = take_prefix(url, "https://");
    if (!parsed.https && !take_prefix(url, "http://")) return std::nullopt;

    const std::size_t slash = std::min(url.find('/'), url.size());
    const HostAndPort authority = split_port(url.substr(0, slash));
    std::string_view path = url.substr(slash);
    while (!path.empty() && path.back() == '/') path.remove_suffix(1);

    IpBytes ipv6{};
    if (!is_host_name(authority.host) && !parse_bracketed_ipv6(authority.host, ipv6)) return std::nullopt;
    const std::uint16_t port = port_of(authority.port);
    if ((authority.has_colon && port == 0) || !is_path(path)) return std::nullopt;

    parsed.host = authority.host;
    if (authority.has_colon && port != (parsed.https ? 443 : 80)) parsed.host.append(":").append(authority.port);
    parsed.path_prefix = path;
    return parsed;
}

std::optional<EndpointAddress> parse_endpoint_address(std::string_view text) {
    const HostAndPort split = split_port(text);
    EndpointAddress address;
    address.port = port_of(split.port);
    if (address.port == 0) return std::nullopt;
    if (!parse_ip(AF_INET, split.host, address.ip)) {
        if (!parse_bracketed_ipv6(split.host, address.ip)) return std::nullopt;
        address.ipv6 = true;
    }
    address.text = text;
    return address;
}
}  // namespace lumen
