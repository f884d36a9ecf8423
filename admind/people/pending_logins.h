// Sign-ins under way: what was sent to the provider, kept here and bound to the browser that began (by a cookie), so
// that no answer can be replayed, made up, or brought to another browser.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admind/stores/redis_link.h"

namespace lumen::admind {

inline constexpr const char* kLoginCookie = "lumen_login";

struct PendingLogin {
    std::string nonce;
    std::string verifier;  ///< PKCE
    std::string next;      ///< a local path
};
struct NewPendingLogin {
    PendingLogin login;
    std::string state;
    std::string browser;    ///< value of the login cookie
    std::string challenge;  ///< PKCE, S256 of the verifier
};
/// `browser`: the cookie it has already, or empty. Throws RedisUnavailable, as the other.
NewPendingLogin begin_login(RedisLink& redis, const std::string& next, const std::string& browser);
/// Used up by the first who asks; nullopt: unknown, too old, or of another browser.
std::optional<PendingLogin> take_login(RedisLink& redis, const std::string& state, const std::string& browser);

}  // namespace lumen::admind
