#include "lumen_core/api_key.h"

// Each request hashes one short key, of which the ways around SHA-256 through EVP would take as long as the work
// itself.
#define OPENSSL_API_COMPAT 0x10100000L  // SHA256_Update and its like are called deprecated since

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <stdexcept>

namespace lumen {
namespace {

constexpr std::string_view kBase62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kKeyPrefix = "sk_";
constexpr std::string_view kOperatorPrefix = "lop_";
constexpr std::size_t kSecretDigits = 43;   // 62^43 > 2^256
constexpr std::size_t kChecksumDigits = 6;  // 62^6 > 2^32
constexpr std::size_t kHintMinBytes = 16;   // of a shorter key, first and last 4 would be too much to show

constexpr std::array<std::uint32_t, 256> make_crc_table() noexcept {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t rest = i;
        for (int bit = 0; bit < 8; ++bit) rest = (rest & 1U) != 0 ? 0xEDB88320U ^ (rest >> 1U) : rest >> 1U;
        table[i] = rest;
    }
    return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

/// CRC-32 as IEEE 802.3 and zlib have it.
std::uint32_t crc32(std::string_view bytes) noexcept {
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : bytes) crc = kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFFU] ^ (crc >> 8U);
    return ~crc;
}

std::array<char, kChecksumDigits> checksum_digits(std::string_view what_precedes) noexcept {
    std::array<char, kChecksumDigits> digits{};
    std::uint32_t rest = crc32(what_precedes);
    for (std::size_t i = kChecksumDigits; i-- > 0; rest /= 62) digits[i] = kBase62[rest % 62];
    return digits;
}

void append_base62(std::string& out, std::array<std::uint8_t, 32> number) {
    std::array<char, kSecretDigits> digits{};
    for (std::size_t i = kSecretDigits; i-- > 0;) {
        std::uint32_t remainder = 0;
        for (std::uint8_t& byte : number) {
            const std::uint32_t part = remainder << 8U | byte;
            byte = static_cast<std::uint8_t>(part / 62);
            remainder = part % 62;
        }
        digits[i] = kBase62[remainder];
    }
    out.append(digits.data(), digits.size());
}

std::string make_secret(std::string_view prefix, const std::array<std::uint8_t, 32>& random) {
    std::string secret;
    secret.reserve(prefix.size() + kSecretDigits + kChecksumDigits);
    secret += prefix;
    append_base62(secret, random);
    const std::array<char, kChecksumDigits> checksum = checksum_digits(secret);
    secret.append(checksum.data(), checksum.size());
    return secret;
}

constexpr std::array<bool, 256> kAlphanumeric = [] {
    std::array<bool, 256> is{};
    for (const char c : kBase62) is[static_cast<unsigned char>(c)] = true;
    return is;
}();

bool is_alphanumeric(char c) noexcept {
    return kAlphanumeric[static_cast<unsigned char>(c)];
}

bool has_shape(std::string_view key, std::string_view prefix) noexcept {
    return key.size() == prefix.size() + kSecretDigits + kChecksumDigits && key.substr(0, prefix.size()) == prefix &&
           std::all_of(key.begin() + static_cast<std::ptrdiff_t>(prefix.size()), key.end(), is_alphanumeric);
}

}  // namespace

std::string make_api_key(const std::array<std::uint8_t, 32>& random) {
    return make_secret(kKeyPrefix, random);
}

std::string make_operator_token(const std::array<std::uint8_t, 32>& random) {
    return make_secret(kOperatorPrefix, random);
}

KeyForm api_key_form(std::string_view key) noexcept {
    if (key.empty() || key.size() > kMaxApiKeyBytes) return KeyForm::malformed;
    if (!has_shape(key, kKeyPrefix)) {
        const bool plain = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7f'; });
        if (!plain) return KeyForm::malformed;
        return has_shape(key, kOperatorPrefix) ? KeyForm::broken : KeyForm::foreign;
    }

    const std::string_view checksum = key.substr(key.size() - kChecksumDigits);
    const std::array<char, kChecksumDigits> expected = checksum_digits(key.substr(0, key.size() - kChecksumDigits));
    return checksum == std::string_view{expected.data(), expected.size()} ? KeyForm::own : KeyForm::broken;
}

// HMAC (RFC 2104): H((K ^ opad) ‖ H((K ^ ipad) ‖ text)). The states after the first blocks depend on the secret alone.
struct KeyHasher::Contexts {
    SHA256_CTX inner;
    SHA256_CTX outer;

    Contexts() = default;
    Contexts(const Contexts&) = delete;
    Contexts& operator=(const Contexts&) = delete;
    ~Contexts() {
        OPENSSL_cleanse(&inner, sizeof inner);
        OPENSSL_cleanse(&outer, sizeof outer);
    }
};

KeyHasher::KeyHasher(std::string_view installation_secret) : contexts_(std::make_unique<Contexts>()) {
    constexpr std::size_t kBlockBytes = 64;  // of SHA-256
    std::array<std::uint8_t, kBlockBytes> block{};
    if (installation_secret.size() > kBlockBytes) {
        SHA256(reinterpret_cast<const unsigned char*>(installation_secret.data()), installation_secret.size(),
               block.data());
    } else {
        std::copy(installation_secret.begin(), installation_secret.end(), block.begin());
    }
    const auto begin = [&block](SHA256_CTX& context, std::uint8_t pad) {
        std::array<std::uint8_t, kBlockBytes> padded{};
        std::transform(block.begin(), block.end(), padded.begin(),
                       [pad](std::uint8_t byte) { return static_cast<std::uint8_t>(byte ^ pad); });
        const bool begun = SHA256_Init(&context) == 1 && SHA256_Update(&context, padded.data(), padded.size()) == 1;
        OPENSSL_cleanse(padded.data(), padded.size());
        if (!begun) throw std::runtime_error("SHA-256 is not to be had from OpenSSL");
    };
    begin(contexts_->inner, 0x36);
    begin(contexts_->outer, 0x5c);
    OPENSSL_cleanse(block.data(), block.size());
}

KeyHasher::~KeyHasher() = default;

KeyHash KeyHasher::hash(std::string_view key) noexcept {
    KeyHash hash{};
    SHA256_CTX work = contexts_->inner;
    SHA256_Update(&work, key.data(), key.size());
    SHA256_Final(hash.data(), &work);  // leaves nothing of the key in `work`
    work = contexts_->outer;
    SHA256_Update(&work, hash.data(), hash.size());
    SHA256_Final(hash.data(), &work);
    return hash;
}

KeyHash hash_api_key(std::string_view installation_secret, std::string_view key) {
    return KeyHasher(installation_secret).hash(key);
}

std::string_view key_hash_bytes(const KeyHash& hash) noexcept {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string installation_secret_id(std::string_view installation_secret) {
    constexpr std::size_t kDigits = 16;
    return key_hash_hex(hash_api_key(installation_secret, "lumen installation secret\n")).substr(0, kDigits);
}

std::string key_hash_hex(const KeyHash& hash) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string hex;
    hex.reserve(2 * hash.size());
    for (const std::uint8_t byte : hash) {
        hex += kHex[byte >> 4U];
        hex += kHex[byte & 0x0FU];
    }
    return hex;
}

std::optional<KeyHash> key_hash_of_hex(std::string_view hex) noexcept {
    constexpr std::string_view kDigits = "0123456789abcdef";
    KeyHash hash{};
    if (hex.size() != 2 * hash.size() || hex.find_first_not_of(kDigits) != std::string_view::npos) return std::nullopt;
    for (std::size_t i = 0; i < hash.size(); ++i) {
        hash[i] = static_cast<std::uint8_t>(kDigits.find(hex[2 * i]) << 4 | kDigits.find(hex[2 * i + 1]));
    }
    return hash;
}

std::string api_key_hint(std::string_view key) {
    std::string hint{key.substr(0, 4)};
    hint += "…";
    if (key.size() >= kHintMinBytes) hint += key.substr(key.size() - 4);
    return hint;
}

std::string_view strip_final_newline(std::string_view secret) noexcept {
    if (!secret.empty() && secret.back() == '\n') {
        secret.remove_suffix(1);
        if (!secret.empty() && secret.back() == '\r') secret.remove_suffix(1);
    }
    return secret;
}

}  // namespace lumen
