// API keys: their form, their checksum, their keyed hash. The secret itself is stored nowhere.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lumen {

/// Longest key of any form that is looked up.
inline constexpr std::size_t kMaxApiKeyBytes = 128;

using KeyHash = std::array<std::uint8_t, 32>;

enum class KeyForm {
    own,        ///< `sk_` + 43 base62 + 6 base62 of CRC-32 that verifies
    broken,     ///< exactly the shape of ours with a wrong checksum, or an operator token: refused without any lookup
    foreign,    ///< another system's key, e.g. NCSA's: looked up, rate-limited per address
    malformed,  ///< empty, longer than kMaxApiKeyBytes, or with bytes that are not visible ASCII
};

/// `sk_` + 256 random bits in base62 (43 digits, zero-padded, big endian) + CRC-32 (IEEE) of what precedes (6 digits).
std::string make_api_key(const std::array<std::uint8_t, 32>& random);
/// `lop_` + the same body: an operator token. Never accepted under /v1.
std::string make_operator_token(const std::array<std::uint8_t, 32>& random);

KeyForm api_key_form(std::string_view key) noexcept;

/// HMAC-SHA256(installation secret, key): NCSA Lumen's key hash, as raw bytes.
KeyHash hash_api_key(std::string_view installation_secret, std::string_view key);
/// A name for the secret that tells nothing of it: 16 hex digits. No key has that text, so no key's hash is it.
std::string installation_secret_id(std::string_view installation_secret);

/// The same hash with the secret's half of the work done once: for a gate that hashes a key on every request. Not
/// thread-safe. A copy of a process (fork) may go on using its own.
class KeyHasher {
 public:
    explicit KeyHasher(std::string_view installation_secret);
    KeyHasher(const KeyHasher&) = delete;
    KeyHasher& operator=(const KeyHasher&) = delete;
    ~KeyHasher();
    KeyHash hash(std::string_view key) noexcept;

 private:
    struct Contexts;
    std::unique_ptr<Contexts> contexts_;
};

std::string_view key_hash_bytes(const KeyHash& hash) noexcept;
std::string key_hash_hex(const KeyHash& hash);
/// 64 digits as key_hash_hex writes them; else nothing.
std::optional<KeyHash> key_hash_of_hex(std::string_view hex) noexcept;

/// First 4 + `…` + last 4 characters; keys shorter than 16 characters show only their first 4.
std::string api_key_hint(std::string_view key);

/// One final newline (`\n` or `\r\n`) is not part of an installation secret; the same rule in the gate and in admind.
std::string_view strip_final_newline(std::string_view secret) noexcept;

}  // namespace lumen
