#include "lumen_core/caller_identity.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>
#include <stdexcept>

#include "lumen_core/api_key.h"

namespace lumen {
namespace {

/// Separates this use of the secret from its others: no API key contains a line end.
constexpr std::string_view kContext = "lumen caller identity v1\n";
constexpr std::string_view kSignature = "; signature=";

std::string signature_of(std::string_view secret, std::string_view claims, std::string_view path) {
    std::string text{kContext};
    text.append(path).append("\n").append(claims);
    KeyHash hash{};
    unsigned length = 0;
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes, text.size(), hash.data(), &length) ==
            nullptr ||
        length != hash.size()) {
        throw std::runtime_error("HMAC-SHA256 failed");
    }
    return key_hash_hex(hash);
}

/// Takes `name=NUMBER` off the front of `text`.
bool take_number(std::string_view& text, std::string_view name, std::int64_t& number) noexcept {
    if (text.substr(0, name.size()) != name) return false;
    text.remove_prefix(name.size());
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || number < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    return true;
}

}  // namespace

std::string sign_caller_identity(std::string_view installation_secret, const CallerIdentity& identity,
                                 std::string_view path) {
    std::string claims = "account=" + std::to_string(identity.account) + "; key=" + std::to_string(identity.key) +
                         "; at=" + std::to_string(identity.at_ms);
    const std::string signature = signature_of(installation_secret, claims, path);
    return claims.append(kSignature).append(signature);
}

std::optional<CallerIdentity> verify_caller_identity(std::string_view installation_secret, std::string_view header,
                                                     std::string_view path, std::int64_t now_ms) {
    const std::size_t end = header.rfind(kSignature);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view claims = header.substr(0, end);
    const std::string_view given = header.substr(end + kSignature.size());
    const std::string wanted = signature_of(installation_secret, claims, path);
    if (given.size() != wanted.size() || CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) != 0) {
        return std::nullopt;
    }
    CallerIdentity identity;
    std::string_view rest = claims;
    if (!take_number(rest, "account=", identity.account) || !take_number(rest, "; key=", identity.key) ||
        !take_number(rest, "; at=", identity.at_ms) || !rest.empty()) {
        return std::nullopt;
    }
    const std::int64_t age_ms = now_ms - identity.at_ms;
    if (age_ms > kCallerIdentityLifeMs || age_ms < -kCallerIdentityLifeMs) return std::nullopt;
    return identity;
}

}  // namespace lumen
