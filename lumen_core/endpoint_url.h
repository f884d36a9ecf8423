// Where a model server is: its URL as the operator wrote it, and the addresses it was resolved to.
#pragma once

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

/// "127.0.0.1:8000" or "[::1]:8000", port 1 to 65535: what can be connected to without asking a name server.
bool is_address_with_port(std::string_view address) noexcept;

}  // namespace lumen
