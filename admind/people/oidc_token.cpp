#include "admind/people/oidc_token.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>

#include <optional>

#include "admind/text/base64url.h"

namespace lumen::admind {

namespace {

using Algorithm = ProviderKey::Algorithm;

constexpr std::size_t kLongestToken = std::size_t{64} * 1024;
constexpr std::size_t kMostKeys = 100;
constexpr int kLeastRsaBits = 2048;
constexpr std::size_t kCoordinateBytes = 32;
constexpr std::size_t kLongestSubject = 255;

template <auto Free>
struct Freed {
    template <class Thing>
    void operator()(Thing* thing) const noexcept {
        Free(thing);
    }
};
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using BigNumber = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

const unsigned char* octets(std::string_view bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::optional<std::string> bytes_of(const Json& object, const char* name) {
    const std::string text = text_member(object, name);
    return text.empty() ? std::nullopt : base64url_decoded(text);
}

std::shared_ptr<EVP_PKEY> key_from(const char* type, OSSL_PARAM_BLD* builder) {
    const Params params(OSSL_PARAM_BLD_to_param(builder));
    const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* key = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
        return nullptr;
    }
    return std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free);
}

std::shared_ptr<EVP_PKEY> rsa_key(const Json& jwk) {
    const auto modulus = bytes_of(jwk, "n");
    const auto exponent = bytes_of(jwk, "e");
    if (!modulus || !exponent || modulus->size() > 2048 || exponent->size() > 8) return nullptr;
    const BigNumber n(BN_bin2bn(octets(*modulus), static_cast<int>(modulus->size()), nullptr));
    const BigNumber e(BN_bin2bn(octets(*exponent), static_cast<int>(exponent->size()), nullptr));
    const ParamBuilder builder(OSSL_PARAM_BLD_new());
    if (!n || !e || !builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
        return nullptr;
    }
    auto key = key_from("RSA", builder.get());
    return key && EVP_PKEY_get_bits(key.get()) >= kLeastRsaBits ? key : nullptr;
}

std::shared_ptr<EVP_PKEY> p256_key(const Json& jwk) {
    const auto x = bytes_of(jwk, "x");
    const auto y = bytes_of(jwk, "y");
    if (text_member(jwk, "crv") != "P-256" || !x || !y || x->size() != kCoordinateBytes ||
        y->size() != kCoordinateBytes) {
        return nullptr;
    }
    const std::string point = '\x04' + *x + *y;
    const ParamBuilder builder(OSSL_PARAM_BLD_new());
    if (!builder || OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
        return nullptr;
    }
    return key_from("EC", builder.get());
}

/// JOSE writes r and s side by side; OpenSSL wants them in DER.
std::optional<std::string> der_signature(std::string_view raw) {
    if (raw.size() != 2 * kCoordinateBytes) return std::nullopt;
    const EcSignature signature(ECDSA_SIG_new());
    BigNumber r(BN_bin2bn(octets(raw), kCoordinateBytes, nullptr));
    BigNumber s(BN_bin2bn(octets(raw.substr(kCoordinateBytes)), kCoordinateBytes, nullptr));
    if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) return std::nullopt;
    r.release();
    s.release();
    unsigned char* der = nullptr;
    const int length = i2d_ECDSA_SIG(signature.get(), &der);
    if (length <= 0) return std::nullopt;
    std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
    OPENSSL_free(der);
    return out;
}

bool is_signed_by(const ProviderKey& key, std::string_view text, std::string_view raw_signature) {
    std::string signature(raw_signature);
    if (key.algorithm == Algorithm::es256) {
        auto der = der_signature(raw_signature);
        if (!der) return false;
        signature = std::move(*der);
    }
    const DigestContext context(EVP_MD_CTX_new());
    return context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.key.get()) == 1 &&
           EVP_DigestVerify(context.get(), octets(signature), signature.size(), octets(text), text.size()) == 1;
}

struct Parts {
    std::string_view signed_text;  ///< header and payload as they came
    Json header;
    Json payload;
    std::string signature;
};

std::optional<Json> decoded_object(std::string_view part) {
    const auto text = base64url_decoded(part);
    if (!text) return std::nullopt;
    auto json = parse_json(*text);
    return json && json->is_object() ? json : std::nullopt;
}

std::optional<Parts> split(std::string_view token) {
    if (token.size() > kLongestToken) return std::nullopt;
    const std::size_t first = token.find('.');
    const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
    if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return std::nullopt;
    auto header = decoded_object(token.substr(0, first));
    auto payload = decoded_object(token.substr(first + 1, second - first - 1));
    auto signature = base64url_decoded(token.substr(second + 1));
    if (!header || !payload || !signature) return std::nullopt;
    return Parts{token.substr(0, second), std::move(*header), std::move(*payload), std::move(*signature)};
}

std::optional<TokenFault> check_signature(const Parts& parts, const std::vector<ProviderKey>& keys) {
    const std::string name = text_member(parts.header, "alg");
    if (name != "RS256" && name != "ES256") return TokenFault::algorithm;
    // An extension that must be understood, and is not.
    if (parts.header.contains("crit")) return TokenFault::malformed;
    const Algorithm algorithm = name == "RS256" ? Algorithm::rs256 : Algorithm::es256;
    const std::string id = text_member(parts.header, "kid");
    bool tried = false;
    for (const ProviderKey& key : keys) {
        if (key.algorithm != algorithm || (!id.empty() && key.id != id)) continue;
        tried = true;
        if (is_signed_by(key, parts.signed_text, parts.signature)) return std::nullopt;
    }
    return tried ? TokenFault::signature : TokenFault::unknown_key;
}

/// One audience as text, or several as a list of texts.
bool audience_holds(const Json& claims, const std::string& client, bool& several) {
    const auto audience = claims.find("aud");
    if (audience == claims.end()) return false;
    if (audience->is_string()) return *audience == client;
    if (!audience->is_array()) return false;
    several = audience->size() > 1;
    bool found = false;
    for (const Json& one : *audience) {
        if (!one.is_string()) return false;
        found = found || one == client;
    }
    return found;
}

std::optional<TokenFault> check_parties(const Json& claims, const TokenExpectations& expected) {
    if (text_member(claims, "iss") != expected.issuer || expected.issuer.empty()) return TokenFault::issuer;
    bool several = false;
    if (!audience_holds(claims, expected.client_id, several)) return TokenFault::audience;
    const bool has_party = claims.contains("azp");
    if ((has_party && text_member(claims, "azp") != expected.client_id) || (several && !has_party)) {
        return TokenFault::authorized_party;
    }
    const std::string subject = text_member(claims, "sub");
    if (subject.empty() || subject.size() > kLongestSubject) return TokenFault::subject;
    return std::nullopt;
}

std::optional<std::int64_t> time_of(const Json& claims, const char* name) {
    constexpr double kLatest = 253'402'300'799;  // the year 9999
    const auto time = claims.find(name);
    if (time == claims.end() || !time->is_number()) return std::nullopt;
    const double seconds = time->get<double>();
    if (!(seconds >= 0 && seconds <= kLatest)) return std::nullopt;
    return static_cast<std::int64_t>(seconds);
}

std::optional<TokenFault> check_times(const Json& claims, std::int64_t now_s) {
    const auto expires = time_of(claims, "exp");
    const auto issued = time_of(claims, "iat");
    if (!expires || !issued) return TokenFault::malformed;
    if (now_s >= *expires + kClockSkewSeconds) return TokenFault::expired;
    if (*issued > now_s + kClockSkewSeconds) return TokenFault::not_yet_valid;
    if (!claims.contains("nbf")) return std::nullopt;
    const auto begins = time_of(claims, "nbf");
    if (!begins) return TokenFault::malformed;
    return *begins > now_s + kClockSkewSeconds ? std::optional(TokenFault::not_yet_valid) : std::nullopt;
}

/// The left half of the access token's hash (§3.1.3.6).
bool at_hash_fits(const Json& claims, const std::string& access_token) {
    if (!claims.contains("at_hash")) return true;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(octets(access_token), access_token.size(), digest);
    const std::string_view half(reinterpret_cast<const char*>(digest), sizeof digest / 2);
    return text_member(claims, "at_hash") == base64url_encoded(half);
}

}  // namespace

const char* token_fault_name(TokenFault fault) noexcept {
    switch (fault) {
        case TokenFault::malformed:
            return "malformed";
        case TokenFault::algorithm:
            return "algorithm";
        case TokenFault::unknown_key:
            return "unknown key";
        case TokenFault::signature:
            return "signature";
        case TokenFault::issuer:
            return "issuer";
        case TokenFault::audience:
            return "audience";
        case TokenFault::authorized_party:
            return "authorized party";
        case TokenFault::expired:
            return "expired";
        case TokenFault::not_yet_valid:
            return "not yet valid";
        case TokenFault::nonce:
            return "nonce";
        case TokenFault::subject:
            return "subject";
        case TokenFault::access_token:
            return "access token's hash";
    }
    return "malformed";
}

std::vector<ProviderKey> provider_keys(const Json& jwks) {
    std::vector<ProviderKey> keys;
    const auto list = jwks.find("keys");
    if (!jwks.is_object() || list == jwks.end() || !list->is_array()) return keys;
    for (const Json& jwk : *list) {
        if (!jwk.is_object() || keys.size() == kMostKeys) continue;
        const std::string use = text_member(jwk, "use");
        const std::string algorithm = text_member(jwk, "alg");
        if (!use.empty() && use != "sig") continue;
        ProviderKey key;
        key.id = text_member(jwk, "kid");
        if (text_member(jwk, "kty") == "RSA" && (algorithm.empty() || algorithm == "RS256")) {
            key.key = rsa_key(jwk);
        } else if (text_member(jwk, "kty") == "EC" && (algorithm.empty() || algorithm == "ES256")) {
            key.algorithm = Algorithm::es256;
            key.key = p256_key(jwk);
        }
        if (key.key) keys.push_back(std::move(key));
    }
    return keys;
}

std::variant<Json, TokenFault> verify_id_token(std::string_view token, const std::vector<ProviderKey>& keys,
                                               const TokenExpectations& expected) {
    auto parts = split(token);
    if (!parts) return TokenFault::malformed;
    if (const auto fault = check_signature(*parts, keys)) return *fault;
    if (const auto fault = check_parties(parts->payload, expected)) return *fault;
    if (const auto fault = check_times(parts->payload, expected.now_s)) return *fault;
    if (expected.nonce.empty() || text_member(parts->payload, "nonce") != expected.nonce) return TokenFault::nonce;
    if (!at_hash_fits(parts->payload, expected.access_token)) return TokenFault::access_token;
    return std::move(parts->payload);
}

}  // namespace lumen::admind
