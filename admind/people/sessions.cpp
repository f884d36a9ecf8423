#include "admind/people/sessions.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>

#include "admind/bounds.h"
#include "admind/ledger/live_updates.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kCookieDigits = 64;

std::string session_key(std::string_view cookie) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(cookie.data()), cookie.size(), digest);
    return kSessionPrefix + to_hex(digest, sizeof digest);
}

bool is_cookie_value(std::string_view text) {
    return text.size() == kCookieDigits && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

/// Redis forgets the session at its idle end; each use within moves that on, as far as its last end.
std::int64_t idle_end(std::int64_t now_ms, std::int64_t expires_ms) {
    return std::min(now_ms + std::chrono::milliseconds(kSessionIdle).count(), expires_ms);
}

std::int64_t number_of(const redisReply* reply) {
    const std::string_view text = reply_text(reply);
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

}  // namespace

std::array<std::uint8_t, 32> random_256() {
    std::array<std::uint8_t, 32> random;
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) throw std::runtime_error("no random numbers");
    return random;
}

std::string to_hex(const std::uint8_t* bytes, std::size_t count) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * count);
    for (std::size_t i = 0; i < count; ++i) {
        text += kHex[bytes[i] >> 4];
        text += kHex[bytes[i] & 15];
    }
    return text;
}

NewSession begin_session(RedisLink& redis, std::int64_t user, AccountId account, std::int64_t now_ms) {
    const auto random = random_256();
    NewSession session;
    session.cookie = to_hex(random.data(), random.size());
    session.expires_ms = now_ms + std::chrono::milliseconds(kSessionLife).count();
    const std::string key = session_key(session.cookie);
    redis.command({"HSET", key, "user", std::to_string(user), "account", std::to_string(account), "created",
                   std::to_string(now_ms), "expires", std::to_string(session.expires_ms), "used",
                   std::to_string(now_ms)});
    redis.command({"PEXPIREAT", key, std::to_string(idle_end(now_ms, session.expires_ms))});
    return session;
}

std::optional<Session> find_session(RedisLink& redis, std::string_view cookie, std::int64_t now_ms) {
    const std::string key = session_key(cookie);
    const RedisReply reply = redis.command({"HMGET", key, "user", "account", "created", "expires", "used"});
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 5) return std::nullopt;
    Session session;
    session.user = number_of(reply->element[0]);
    session.account = number_of(reply->element[1]);
    session.created_ms = number_of(reply->element[2]);
    session.expires_ms = number_of(reply->element[3]);
    const std::int64_t used_ms = number_of(reply->element[4]);
    if (session.user <= 0 || session.expires_ms <= now_ms || idle_end(used_ms, session.expires_ms) <= now_ms) {
        return std::nullopt;
    }
    // Not on every request: a page makes many.
    if (now_ms - used_ms >= std::chrono::milliseconds(kSessionNoted).count()) {
        redis.append({"HSET", key, "used", std::to_string(now_ms)});
        redis.append({"PEXPIREAT", key, std::to_string(idle_end(now_ms, session.expires_ms))});
        redis.next();
        redis.next();
    }
    return session;
}

void end_session(RedisLink& redis, std::string_view cookie, AccountId account) {
    const std::string key = session_key(cookie);
    redis.command({"DEL", key});
    LiveMessage message;
    message.ends_session = key.substr(std::string_view(kSessionPrefix).size());
    publish_live(redis, account, message);
}

void end_sessions_of(RedisLink& redis, std::int64_t user, AccountId account, std::int64_t now_ms) {
    // Longer than any session that it is about.
    redis.command({"SET", kSessionsSincePrefix + std::to_string(user), std::to_string(now_ms), "PX",
                   std::to_string(std::chrono::milliseconds(kSessionLife).count())});
    LiveMessage message;
    message.ends_all = true;
    publish_live(redis, account, message);
}

std::string cookie_value(std::string_view header, std::string_view name) {
    while (!header.empty()) {
        const std::size_t end = std::min(header.find(';'), header.size());
        std::string_view pair = header.substr(0, end);
        header.remove_prefix(std::min(end + 1, header.size()));
        while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
        const std::size_t equals = pair.find('=');
        if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
        const std::string_view value = pair.substr(equals + 1);
        if (is_cookie_value(value)) return std::string(value);
    }
    return "";
}

std::string set_cookie_header(std::string_view name, std::string_view value, bool secure,
                              std::int64_t max_age_seconds) {
    std::string header(name);
    header.append("=").append(value).append("; Path=/; Max-Age=").append(std::to_string(max_age_seconds));
    header += "; HttpOnly; SameSite=Lax";
    if (secure) header += "; Secure";
    return header;
}

}  // namespace lumen::admind
