#include "admind/people/pending_logins.h"

#include <openssl/sha.h>

#include "admind/bounds.h"
#include "admind/people/sessions.h"
#include "admind/text/base64url.h"
#include "admind/text/json.h"

namespace lumen::admind {

namespace {

std::string digest_of(std::string_view text) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    return std::string(reinterpret_cast<const char*>(digest), sizeof digest);
}

std::string random_text() {
    const auto random = random_256();
    return to_hex(random.data(), random.size());
}

std::string login_key(std::string_view state) {
    return "lumen:login:" + base64url_encoded(digest_of(state));
}

std::string member(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

NewPendingLogin begin_login(RedisLink& redis, const std::string& next, const std::string& browser) {
    NewPendingLogin begun;
    begun.state = random_text();
    begun.browser = browser.empty() ? random_text() : browser;
    begun.login = {random_text(), random_text(), next};
    begun.challenge = base64url_encoded(digest_of(begun.login.verifier));
    const Json kept{{"browser", base64url_encoded(digest_of(begun.browser))},
                    {"nonce", begun.login.nonce},
                    {"verifier", begun.login.verifier},
                    {"next", next}};
    redis.command({"SET", login_key(begun.state), to_text(kept), "EX", std::to_string(kLoginLife.count())});
    return begun;
}

std::optional<PendingLogin> take_login(RedisLink& redis, const std::string& state, const std::string& browser) {
    if (state.empty() || browser.empty()) return std::nullopt;
    const RedisReply reply = redis.command({"GETDEL", login_key(state)});
    const auto kept = parse_json(reply_text(reply.get()));
    if (!kept || !kept->is_object()) return std::nullopt;
    if (member(*kept, "browser") != base64url_encoded(digest_of(browser))) return std::nullopt;
    return PendingLogin{member(*kept, "nonce"), member(*kept, "verifier"), member(*kept, "next")};
}

}  // namespace lumen::admind
