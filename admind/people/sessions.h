// Browser sessions: a random cookie, and a hash in Redis under its SHA-256 (design.md §3). The cookie itself is stored
// nowhere; rights are read from the book on every request. A session ends when it was not used for kSessionIdle, and
// after kSessionLife in any case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

struct Session {
    std::int64_t user = 0;
    AccountId account = 0;
    std::int64_t created_ms = 0;
    std::int64_t expires_ms = 0;  ///< at the latest
};

struct NewSession {
    std::string cookie;  ///< the value, for Set-Cookie only
    std::int64_t expires_ms = 0;
};
/// Throws RedisUnavailable; so do the others.
NewSession begin_session(RedisLink& redis, std::int64_t user, AccountId account, std::int64_t now_ms);
/// The session; looking for it is using it.
std::optional<Session> find_session(RedisLink& redis, std::string_view cookie, std::int64_t now_ms);
/// Also ends its live streams.
void end_session(RedisLink& redis, std::string_view cookie, AccountId account);
/// All that a user began before now: the book says so by itself (users.sessions_since), this tells the gates, whose
/// live streams end.
void end_sessions_of(RedisLink& redis, std::int64_t user, AccountId account, std::int64_t now_ms);

/// That cookie's value in a Cookie header; empty if it is not there or not of our form.
std::string cookie_value(std::string_view cookie_header, std::string_view name);
/// `secure` for every site that is reached by https.
std::string set_cookie_header(std::string_view name, std::string_view value, bool secure, std::int64_t max_age_seconds);

/// 256 bits from the system's generator.
std::array<std::uint8_t, 32> random_256();
std::string to_hex(const std::uint8_t* bytes, std::size_t count);

}  // namespace lumen::admind
