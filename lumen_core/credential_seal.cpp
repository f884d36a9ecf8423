#include "lumen_core/credential_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

namespace lumen {
namespace {

constexpr std::string_view kKeyInfo = "lumen catalogue v1";
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
using DeriveContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;

const unsigned char* bytes_of(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) noexcept {
    return reinterpret_cast<unsigned char*>(text.data());
}
int length_of(std::string_view text) noexcept {
    return static_cast<int>(text.size());
}  // all bounded, see callers

/// The cipher's key and the key nonces are made with: one HKDF output, cut in two. Wiped when it goes.
class SealKeys {
 public:
    explicit SealKeys(std::string_view installation_secret) noexcept {
        const DeriveContext derive(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr), EVP_PKEY_CTX_free);
        std::size_t length = okm_.size();
        derived_ = derive && EVP_PKEY_derive_init(derive.get()) > 0 &&
                   EVP_PKEY_CTX_set_hkdf_md(derive.get(), EVP_sha256()) > 0 &&
                   EVP_PKEY_CTX_set1_hkdf_key(derive.get(), bytes_of(installation_secret),
                                              length_of(installation_secret)) > 0 &&
                   EVP_PKEY_CTX_add1_hkdf_info(derive.get(), bytes_of(kKeyInfo), length_of(kKeyInfo)) > 0 &&
                   EVP_PKEY_derive(derive.get(), okm_.data(), &length) > 0 && length == okm_.size();
    }
    ~SealKeys() { OPENSSL_cleanse(okm_.data(), okm_.size()); }
    SealKeys(const SealKeys&) = delete;
    SealKeys& operator=(const SealKeys&) = delete;

    bool derived() const noexcept { return derived_; }
    const unsigned char* cipher_key() const noexcept { return okm_.data(); }
    const unsigned char* nonce_key() const noexcept { return okm_.data() + kKeyBytes; }

 private:
    std::array<unsigned char, 2 * kKeyBytes> okm_{};
    bool derived_ = false;
};

std::string base64(std::string_view raw) {
    std::string text(4 * ((raw.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock adds a NUL
    const int length = EVP_EncodeBlock(bytes_of(text), bytes_of(raw), length_of(raw));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    std::string raw(text.size() / 4 * 3, '\0');
    const int length = EVP_DecodeBlock(bytes_of(raw), bytes_of(text), length_of(text));
    if (length < 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
    raw.resize(static_cast<std::size_t>(length) - padding);
    if (base64(raw) != text) return std::nullopt;  // EVP_DecodeBlock forgives space and stray bits; we do not
    return raw;
}

/// HMAC of the length of `context`, `context` and `plain`: no two pairs give the same input.
std::array<unsigned char, kNonceBytes> nonce_for(const SealKeys& keys, std::string_view context,
                                                 std::string_view plain) {
    std::string input = std::to_string(context.size());
    input.append(":").append(context).append(plain);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    const unsigned char* made = HMAC(EVP_sha256(), keys.nonce_key(), static_cast<int>(kKeyBytes), bytes_of(input),
                                     input.size(), digest.data(), nullptr);
    OPENSSL_cleanse(input.data(), input.size());
    if (made == nullptr) throw std::runtime_error("cannot seal a credential: HMAC failed");
    std::array<unsigned char, kNonceBytes> nonce{};
    std::copy_n(digest.begin(), nonce.size(), nonce.begin());
    return nonce;
}

}  // namespace

std::string seal_credential(std::string_view installation_secret, std::string_view context, std::string_view plain) {
    if (plain.size() > kMaxCredentialBytes) throw std::length_error("credential too long to seal");
    const SealKeys keys(installation_secret);
    if (!keys.derived()) throw std::runtime_error("cannot seal a credential: key derivation failed");
    const auto nonce = nonce_for(keys, context, plain);

    std::string sealed(kNonceBytes + plain.size() + kTagBytes, '\0');
    std::copy(nonce.begin(), nonce.end(), bytes_of(sealed));
    unsigned char* const cipher_text = bytes_of(sealed) + kNonceBytes;
    const Context cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int written = 0;
    int rest = 0;
    if (!cipher || EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, keys.cipher_key(), nonce.data()) != 1 ||
        EVP_EncryptUpdate(cipher.get(), nullptr, &written, bytes_of(context), length_of(context)) != 1 ||
        EVP_EncryptUpdate(cipher.get(), cipher_text, &written, bytes_of(plain), length_of(plain)) != 1 ||
        EVP_EncryptFinal_ex(cipher.get(), cipher_text + written, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(kTagBytes),
                            cipher_text + plain.size()) != 1) {
        throw std::runtime_error("cannot seal a credential: AES-256-GCM failed");
    }
    return base64(sealed);
}

std::optional<std::string> unseal_credential(std::string_view installation_secret, std::string_view context,
                                             std::string_view sealed) {
    constexpr std::size_t kMaxSealedBytes = 4 * ((kNonceBytes + kMaxCredentialBytes + kTagBytes + 2) / 3);
    if (sealed.size() > kMaxSealedBytes) return std::nullopt;
    auto raw = from_base64(sealed);
    if (!raw || raw->size() < kNonceBytes + kTagBytes) return std::nullopt;
    const SealKeys keys(installation_secret);
    if (!keys.derived()) return std::nullopt;

    std::string plain(raw->size() - kNonceBytes - kTagBytes, '\0');
    const unsigned char* const nonce = bytes_of(*raw);
    const unsigned char* const cipher_text = nonce + kNonceBytes;
    unsigned char* const tag = bytes_of(*raw) + kNonceBytes + plain.size();
    const Context cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    int written = 0;
    int rest = 0;
    if (!cipher || EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, keys.cipher_key(), nonce) != 1 ||
        EVP_DecryptUpdate(cipher.get(), nullptr, &written, bytes_of(context), length_of(context)) != 1 ||
        EVP_DecryptUpdate(cipher.get(), bytes_of(plain), &written, cipher_text, length_of(plain)) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(kTagBytes), tag) != 1 ||
        EVP_DecryptFinal_ex(cipher.get(), bytes_of(plain) + written, &rest) != 1) {
        return std::nullopt;
    }
    return plain;
}

std::optional<std::string> unseal_credential(std::string_view installation_secret, std::string_view previous_secret,
                                             std::string_view context, std::string_view sealed) {
    auto plain = unseal_credential(installation_secret, context, sealed);
    if (!plain && !previous_secret.empty()) plain = unseal_credential(previous_secret, context, sealed);
    return plain;
}

}  // namespace lumen
