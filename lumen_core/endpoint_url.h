// Where a model server is: its URL as the operator wrote it, and the addresses it was resolved to.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lumen {

struct EndpointUrl {
    bool https = false;
    std::string host;         ///< with its port unless that is the default; IPv6 in brackets
    std::string path_prefix;  ///< "/v1", or empty; no slash at its end
};

/// `http://host[:port][/path]` or https. User, query and fragment are refused, and so is every byte that could end a
/// header line or a request line, since both parts are written into requests.
std::optional<EndpointUrl> parse_endpoint_url(std::string_view url);

/// An address as written, and taken apart.
struct EndpointAddress {
    std::string text;
    bool ipv6 = false;
    std::array<unsigned char, 16> ip{};  ///< in network order; of IPv4 the first four
    std::uint16_t port = 0;
};

/// "127.0.0.1:8000" or "[::1]:8000", port 1 to 65535: what can be connected to without asking a name server.
std::optional<EndpointAddress> parse_endpoint_address(std::string_view text);

}  // namespace lumen
