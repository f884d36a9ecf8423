// Every fetch to an address that somebody else named or may answer for: identity providers, avatars, READMEs, what a
// model server says of itself. One piece, so that no page can be made to ask this host's own network (SSRF).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lumen::admind {

/// What one kind of fetch may do.
struct FetchRules {
    /// Lower case: "host" is that host, ".domain" every host below it. Others are refused, redirects to them too.
    std::vector<std::string> hosts;
    /// Loopback, private, link-local and other addresses that are no public host's: only for servers an administrator
    /// put into lumen.yaml.
    enum class Addresses : std::uint8_t { public_only, any } addresses = Addresses::public_only;
    enum class Schemes : std::uint8_t { https_only, http_too } schemes = Schemes::https_only;
    int most_redirects = 0;  ///< each one is judged anew
    std::size_t most_bytes = std::size_t{1} << 20;
    std::chrono::milliseconds timeout{5000};  ///< for all of it, redirects included
};

struct FetchRequest {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers{};
    std::optional<std::string> form{};  ///< POST of application/x-www-form-urlencoded; never sent on by a redirect
    std::optional<std::string> body{};  ///< POST of these bytes; `headers` name their type. Likewise never sent on
};

struct Fetched {
    long status = 0;  ///< 0: there is no answer, see `error`
    std::string content_type;
    std::string body;
    std::string cache_control;
    std::string error;  ///< for logs: "host not allowed", "address not public", "larger than …", curl's words
    bool ok() const noexcept { return status >= 200 && status < 300; }
};

/// Never throws for what the other side does. Blocks for `timeout` at most.
Fetched fetch(const FetchRequest& request, const FetchRules& rules);

/// "10.0.0.1", "::1", "fe80::1%eth0", "169.254.169.254" … are not; a text that is no address is not either.
bool is_public_address(std::string_view address);

}  // namespace lumen::admind
