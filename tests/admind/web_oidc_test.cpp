// ID tokens: what a good one must be, and each forgery by its name. Tokens are signed here with keys made here.
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <cstring>
#include <functional>
#include <memory>

#include "admind/people/claimed_person.h"
#include "admind/people/oidc_token.h"
#include "admind/settings/claim_rules.h"
#include "admind/text/base64url.h"

namespace lumen::admind {
namespace {

constexpr std::int64_t kTokenSeenAt = 1'800'000'000;

std::string big_number(EVP_PKEY* key, const char* name, int length) {
    BIGNUM* number = nullptr;
    EVP_PKEY_get_bn_param(key, name, &number);
    std::string bytes(static_cast<std::size_t>(length > 0 ? length : BN_num_bytes(number)), '\0');
    BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    BN_free(number);
    return base64url_encoded(bytes);
}

/// A provider's key pair and how it signs.
struct Signer {
    std::string id;
    std::string algorithm;
    std::shared_ptr<EVP_PKEY> key;

    Json jwk() const {
        if (algorithm == "RS256") {
            return {{"kty", "RSA"},
                    {"kid", id},
                    {"use", "sig"},
                    {"n", big_number(key.get(), OSSL_PKEY_PARAM_RSA_N, 0)},
                    {"e", big_number(key.get(), OSSL_PKEY_PARAM_RSA_E, 0)}};
        }
        return {{"kty", "EC"},
                {"kid", id},
                {"crv", "P-256"},
                {"x", big_number(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32)},
                {"y", big_number(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32)}};
    }

    std::string sign(const std::string& text) const {
        EVP_MD_CTX* context = EVP_MD_CTX_new();
        EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key.get());
        std::size_t length = 0;
        const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
        EVP_DigestSign(context, nullptr, &length, bytes, text.size());
        std::string signature(length, '\0');
        EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length, bytes, text.size());
        signature.resize(length);
        EVP_MD_CTX_free(context);
        return algorithm == "RS256" ? signature : side_by_side(signature);
    }

    static std::string side_by_side(const std::string& der) {
        const auto* at = reinterpret_cast<const unsigned char*>(der.data());
        ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
        std::string raw(64, '\0');
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), reinterpret_cast<unsigned char*>(raw.data()), 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
        ECDSA_SIG_free(signature);
        return raw;
    }
};

Signer rsa_signer(const std::string& id, unsigned bits = 2048) {
    return {id, "RS256", std::shared_ptr<EVP_PKEY>(EVP_RSA_gen(bits), EVP_PKEY_free)};
}
Signer p256_signer(const std::string& id) {
    return {id, "ES256", std::shared_ptr<EVP_PKEY>(EVP_EC_gen("P-256"), EVP_PKEY_free)};
}

const Signer& rsa() {
    static const Signer signer = rsa_signer("rsa-1");
    return signer;
}
const Signer& p256() {
    static const Signer signer = p256_signer("ec-1");
    return signer;
}

Json good_claims() {
    return {{"iss", "https://id.example.edu"}, {"aud", "lumen"},     {"sub", "ada"}, {"nonce", "the-nonce"},
            {"exp", kTokenSeenAt + 3600},      {"iat", kTokenSeenAt}};
}

TokenExpectations expectations() {
    return {"https://id.example.edu", "lumen", "the-nonce", "the-access-token", kTokenSeenAt};
}

std::string unsigned_part(const Json& header, const Json& claims) {
    return base64url_encoded(header.dump()) + "." + base64url_encoded(claims.dump());
}

std::string token_of(const Signer& signer, const Json& claims, Json header = Json::object()) {
    if (!header.contains("alg")) header["alg"] = signer.algorithm;
    if (!header.contains("kid")) header["kid"] = signer.id;
    const std::string text = unsigned_part(header, claims);
    return text + "." + base64url_encoded(signer.sign(text));
}

std::vector<ProviderKey> published_keys() {
    return provider_keys({{"keys", {rsa().jwk(), p256().jwk()}}});
}

std::string outcome(const std::string& token, const std::vector<ProviderKey>& keys = published_keys(),
                    const TokenExpectations& expected = expectations()) {
    const auto result = verify_id_token(token, keys, expected);
    const auto* fault = std::get_if<TokenFault>(&result);
    return fault == nullptr ? "good" : token_fault_name(*fault);
}

std::string with(const std::function<void(Json&)>& change) {
    Json claims = good_claims();
    change(claims);
    return token_of(rsa(), claims);
}

TEST(IdToken, is_good_by_rs256_and_by_es256) {
    EXPECT_EQ(published_keys().size(), 2u);
    EXPECT_EQ(outcome(token_of(rsa(), good_claims())), "good");
    EXPECT_EQ(outcome(token_of(p256(), good_claims())), "good");
}

/// HS256 with the provider's public key as the secret: the classic confusion of the two kinds of algorithm.
std::string signed_with_the_public_key() {
    BIO* memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(memory, rsa().key.get());
    char* pem = nullptr;
    const long length = BIO_get_mem_data(memory, &pem);
    const std::string text = unsigned_part({{"alg", "HS256"}, {"kid", "rsa-1"}}, good_claims());
    unsigned char mac[32];
    HMAC(EVP_sha256(), pem, static_cast<int>(length), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         mac, nullptr);
    BIO_free(memory);
    return text + "." + base64url_encoded({reinterpret_cast<const char*>(mac), sizeof mac});
}

std::string changed_after_signing() {
    const std::string token = token_of(rsa(), good_claims());
    Json claims = good_claims();
    claims["sub"] = "somebody-else";
    const std::string header = token.substr(0, token.find('.'));
    return header + "." + base64url_encoded(claims.dump()) + token.substr(token.rfind('.'));
}

struct ForgeryRow {
    const char* name;
    std::function<std::string()> token;
    const char* fault;
};
void PrintTo(const ForgeryRow& row, std::ostream* out) {
    *out << row.name;
}

class Forgeries : public ::testing::TestWithParam<ForgeryRow> {};

TEST_P(Forgeries, are_refused_for_what_is_wrong_with_them) {
    EXPECT_EQ(outcome(GetParam().token()), GetParam().fault);
}

INSTANTIATE_TEST_SUITE_P(
    of_an_id_token, Forgeries,
    ::testing::Values(
        ForgeryRow{"signed_by_somebody_else", [] { return token_of(rsa_signer("rsa-1"), good_claims()); }, "signature"},
        ForgeryRow{"es256_signed_by_somebody_else", [] { return token_of(p256_signer("ec-1"), good_claims()); },
                   "signature"},
        ForgeryRow{"claims_changed_after_signing", changed_after_signing, "signature"},
        ForgeryRow{"signature_cut_off",
                   [] {
                       std::string token = token_of(rsa(), good_claims());
                       return token.substr(0, token.rfind('.') + 1);
                   },
                   "signature"},
        ForgeryRow{"alg_none",
                   [] {
                       return unsigned_part({{"alg", "none"}}, good_claims()) + ".";
                   },
                   "algorithm"},
        ForgeryRow{"alg_missing",
                   [] {
                       return unsigned_part({{"kid", "rsa-1"}}, good_claims()) + "." + base64url_encoded("x");
                   },
                   "algorithm"},
        ForgeryRow{"hs256_with_the_public_key", signed_with_the_public_key, "algorithm"},
        ForgeryRow{"rs256_header_on_an_es256_key",
                   [] {
                       return token_of(p256(), good_claims(), {{"alg", "RS256"}});
                   },
                   "unknown key"},
        ForgeryRow{"key_id_nobody_published", [] { return token_of(rsa_signer("rsa-9"), good_claims()); },
                   "unknown key"},
        ForgeryRow{"extension_that_must_be_understood",
                   [] {
                       return token_of(rsa(), good_claims(), {{"crit", {"b64"}}, {"b64", false}});
                   },
                   "malformed"},
        ForgeryRow{"another_issuer", [] { return with([](Json& c) { c["iss"] = "https://evil.example"; }); }, "issuer"},
        ForgeryRow{"issuer_with_a_slash", [] { return with([](Json& c) { c["iss"] = "https://id.example.edu/"; }); },
                   "issuer"},
        ForgeryRow{"another_audience", [] { return with([](Json& c) { c["aud"] = "other"; }); }, "audience"},
        ForgeryRow{"audience_missing", [] { return with([](Json& c) { c.erase("aud"); }); }, "audience"},
        ForgeryRow{"several_audiences_without_azp", [] { return with([](Json& c) {
                                                             c["aud"] = {"lumen", "other"};
                                                         }); },
                   "authorized party"},
        ForgeryRow{"azp_is_another", [] { return with([](Json& c) { c["azp"] = "other"; }); }, "authorized party"},
        ForgeryRow{"expired", [] { return with([](Json& c) { c["exp"] = kTokenSeenAt - kClockSkewSeconds; }); },
                   "expired"},
        ForgeryRow{"never_expires", [] { return with([](Json& c) { c.erase("exp"); }); }, "malformed"},
        ForgeryRow{"issued_in_the_future",
                   [] { return with([](Json& c) { c["iat"] = kTokenSeenAt + kClockSkewSeconds + 1; }); },
                   "not yet valid"},
        ForgeryRow{"not_before_later",
                   [] { return with([](Json& c) { c["nbf"] = kTokenSeenAt + kClockSkewSeconds + 1; }); },
                   "not yet valid"},
        ForgeryRow{"another_nonce", [] { return with([](Json& c) { c["nonce"] = "other"; }); }, "nonce"},
        ForgeryRow{"nonce_missing", [] { return with([](Json& c) { c.erase("nonce"); }); }, "nonce"},
        ForgeryRow{"subject_missing", [] { return with([](Json& c) { c.erase("sub"); }); }, "subject"},
        ForgeryRow{"of_another_access_token",
                   [] { return with([](Json& c) { c["at_hash"] = base64url_encoded("sixteen bytes!!!"); }); },
                   "access token's hash"},
        ForgeryRow{"no_token", [] { return std::string(); }, "malformed"},
        ForgeryRow{"two_parts",
                   [] {
                       return unsigned_part({{"alg", "RS256"}}, good_claims());
                   },
                   "malformed"},
        ForgeryRow{"four_parts", [] { return token_of(rsa(), good_claims()) + ".x"; }, "malformed"},
        ForgeryRow{"padded", [] { return token_of(rsa(), good_claims()) + "="; }, "malformed"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(IdToken, allows_for_clocks_that_differ_by_a_minute) {
    EXPECT_EQ(outcome(with([](Json& c) { c["exp"] = kTokenSeenAt - kClockSkewSeconds + 1; })), "good");
    EXPECT_EQ(outcome(with([](Json& c) { c["iat"] = kTokenSeenAt + kClockSkewSeconds; })), "good");
}

TEST(IdToken, may_name_several_audiences_if_we_are_the_authorized_party) {
    EXPECT_EQ(outcome(with([](Json& c) {
                  c["aud"] = {"other", "lumen"};
                  c["azp"] = "lumen";
              })),
              "good");
}

TEST(IdToken, binds_the_access_token_that_came_with_it) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>("the-access-token"), 16, digest);
    const std::string half(reinterpret_cast<const char*>(digest), 16);
    EXPECT_EQ(outcome(with([&](Json& c) { c["at_hash"] = base64url_encoded(half); })), "good");
}

TEST(IdToken, an_empty_nonce_is_never_expected) {
    TokenExpectations expected = expectations();
    expected.nonce.clear();
    EXPECT_EQ(outcome(with([](Json& c) { c["nonce"] = ""; }), published_keys(), expected), "nonce");
}

TEST(ProviderKeys, only_those_that_may_sign_are_taken) {
    Json small = rsa_signer("small", 1024).jwk();
    Json encrypts = rsa().jwk();
    encrypts["use"] = "enc";
    Json other_algorithm = rsa().jwk();
    other_algorithm["alg"] = "RS512";
    Json other_curve = p256().jwk();
    other_curve["crv"] = "P-384";
    Json broken = p256().jwk();
    broken["x"] = broken["y"];
    const Json secret{{"kty", "oct"}, {"k", "c2VjcmV0"}};
    EXPECT_TRUE(provider_keys({{"keys", {small, encrypts, other_algorithm, other_curve, broken, secret, 7}}}).empty());
    EXPECT_TRUE(provider_keys(Json::array()).empty());
    EXPECT_TRUE(provider_keys({{"keys", "none"}}).empty());
}

TEST(ProviderKeys, a_token_without_a_key_id_is_tried_with_each_key) {
    const Signer second = rsa_signer("rsa-2");
    const auto keys = provider_keys({{"keys", {rsa().jwk(), second.jwk()}}});
    const std::string text = unsigned_part({{"alg", "RS256"}}, good_claims());
    EXPECT_EQ(outcome(text + "." + base64url_encoded(second.sign(text)), keys), "good");
}

TEST(Base64url, is_strict_both_ways) {
    for (const std::string bytes : {"", "f", "fo", "foo", "foob", "\xff\xfe\xfd"}) {
        EXPECT_EQ(base64url_decoded(base64url_encoded(bytes)), bytes);
    }
    for (const char* text : {"Zg==", "Zh", "Z", "Zm9v!", "Zm 9v", "+/"}) EXPECT_FALSE(base64url_decoded(text)) << text;
}

// ---- claims and the rules about them (spec/rest.md §5)

struct RuleRow {
    const char* name;
    ClaimRule rule;
    bool matches;
};
void PrintTo(const RuleRow& row, std::ostream* out) {
    *out << row.name;
}

class GroupRules : public ::testing::TestWithParam<RuleRow> {};

TEST_P(GroupRules, match_as_the_spec_says) {
    const Json claims{{"affiliation", "staff@illinois.edu;member@illinois.edu"},
                      {"member_of", {"cn=staff", "cn=staff-admins"}},
                      {"org", {{"unit", {{"name", "NCSA"}}}}},
                      {"org.unit.name", "by that very name"},
                      {"level", "3"},
                      {"verified", true},
                      {"nothing", nullptr}};
    EXPECT_EQ(rule_matches(GetParam().rule, claims), GetParam().matches);
}

INSTANTIATE_TEST_SUITE_P(
    spec_rest_5, GroupRules,
    ::testing::Values(RuleRow{"text_contains", {"affiliation", "staff@illinois.edu", {}}, true},
                      RuleRow{"text_contains_is_case_sensitive", {"affiliation", "Staff@", {}}, false},
                      RuleRow{"text_equals_is_the_whole", {"affiliation", {}, "staff@illinois.edu"}, false},
                      RuleRow{"text_equals", {"affiliation", {}, "staff@illinois.edu;member@illinois.edu"}, true},
                      RuleRow{"list_contains_an_element", {"member_of", "cn=staff", {}}, true},
                      RuleRow{"list_contains_no_part_of_one", {"member_of", "cn=sta", {}}, false},
                      RuleRow{"list_equals_an_element", {"member_of", {}, "cn=staff-admins"}, true},
                      RuleRow{"both_need_both", {"affiliation", "staff", "nonsense"}, false},
                      RuleRow{"both_matching", {"member_of", "cn=staff", "cn=staff-admins"}, true},
                      RuleRow{"claim_name_before_path", {"org.unit.name", {}, "by that very name"}, true},
                      RuleRow{"dotted_path", {"org.unit", {}, "NCSA"}, false},
                      RuleRow{"absent", {"no_such_claim", "", {}}, false},
                      RuleRow{"absent_path", {"org.unit.floor", "x", {}}, false},
                      RuleRow{"null_is_absent", {"nothing", {}, "null"}, false},
                      RuleRow{"no_field", {"", "staff", {}}, false},
                      RuleRow{"no_matcher", {"affiliation", {}, {}}, false},
                      RuleRow{"empty_matcher_could_match_everybody", {"affiliation", "", {}}, false}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(GroupRules, all_of_a_groups_rules_must_match_and_none_match_nobody) {
    const Json claims{{"a", "1"}, {"deep", {{"er", "2"}}}};
    EXPECT_TRUE(rules_match({{"a", {}, "1"}, {"deep.er", {}, "2"}}, claims));
    EXPECT_FALSE(rules_match({{"a", {}, "1"}, {"deep.er", {}, "3"}}, claims));
    EXPECT_FALSE(rules_match({}, claims));
}

TEST(ClaimedPerson, has_an_address_in_lower_case_and_the_best_name_there_is) {
    EXPECT_EQ(claimed_person({{"email", " Ada@Example.EDU "}}).email, "ada@example.edu");
    EXPECT_EQ(claimed_person({{"email", "ada@example.edu"}}).name, "ada");
    EXPECT_EQ(claimed_person({{"email", "a@b.edu"}, {"preferred_username", "ada"}}).name, "ada");
    EXPECT_EQ(claimed_person({{"email", "a@b.edu"}, {"given_name", "Ada"}, {"family_name", "L"}}).name, "Ada L");
    EXPECT_EQ(claimed_person({{"email", "a@b.edu"}, {"name", "  Ada\nLovelace "}}).name, "AdaLovelace");
    EXPECT_TRUE(claimed_person({{"email", "no address"}}).email.empty());
    EXPECT_TRUE(claimed_person({{"email", {"a@b.edu"}}}).email.empty());
    EXPECT_EQ(claimed_person({{"email", "a@b.edu"}, {"name", std::string(199, 'x') + "é"}}).name.size(), 199u);
}

TEST(ClaimedPerson, an_address_is_unverified_only_if_the_provider_says_so) {
    EXPECT_FALSE(claimed_person({{"email", "a@b.edu"}}).email_unverified);
    EXPECT_FALSE(claimed_person({{"email", "a@b.edu"}, {"email_verified", true}}).email_unverified);
    EXPECT_TRUE(claimed_person({{"email", "a@b.edu"}, {"email_verified", false}}).email_unverified);
    EXPECT_TRUE(claimed_person({{"email", "a@b.edu"}, {"email_verified", "false"}}).email_unverified);
}

}  // namespace
}  // namespace lumen::admind
