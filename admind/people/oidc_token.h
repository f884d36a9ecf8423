// ID tokens (OpenID Connect Core §3.1.3.7): signatures by RS256 and ES256, and every claim that binds a token to this
// site, this sign-in and this moment. Pure: keys and the clock come in.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "admind/text/json.h"

namespace lumen::admind {

/// A provider's public key.
struct ProviderKey {
    std::string id;  ///< `kid`; empty if it has none
    enum class Algorithm : std::uint8_t { rs256, es256 } algorithm = Algorithm::rs256;
    std::shared_ptr<EVP_PKEY> key;
};
/// The keys of a JWKS document that can sign ID tokens; others (encryption, small RSA, other curves) are left out.
std::vector<ProviderKey> provider_keys(const Json& jwks);

struct TokenExpectations {
    std::string issuer;
    std::string client_id;
    std::string nonce;
    std::string access_token;  ///< what at_hash, if there, must be of
    std::int64_t now_s = 0;    ///< Unix time
};

enum class TokenFault : std::uint8_t {
    malformed,
    algorithm,    ///< none, HS256 and whatever else is not signed by the provider's private key
    unknown_key,  ///< no key of that id and kind: the provider may have changed its keys
    signature,
    issuer,
    audience,
    authorized_party,
    expired,
    not_yet_valid,
    nonce,
    subject,
    access_token,
};
const char* token_fault_name(TokenFault fault) noexcept;

/// Clocks may differ by so much.
inline constexpr std::int64_t kClockSkewSeconds = 60;

/// The claims of a token that is all it must be.
std::variant<Json, TokenFault> verify_id_token(std::string_view token, const std::vector<ProviderKey>& keys,
                                               const TokenExpectations& expected);

}  // namespace lumen::admind
