// Seals model servers' credentials for their way through Redis: whoever can read the catalogue cannot read them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lumen {

/// Longest credential that is sealed; longer ones do not unseal.
inline constexpr std::size_t kMaxCredentialBytes = 4096;

/// AES-256-GCM under HKDF-SHA256(installation secret, info "lumen catalogue v1"); base64 of nonce ‖ ciphertext ‖ tag.
/// `context` (the endpoint id as text) is authenticated too, so a credential cannot be moved to another endpoint.
/// The nonce is an HMAC of context and plain text under a key of its own: equal input gives equal output, so a
/// catalogue that did not change stays the same text, and a nonce never serves two different credentials. Throws
/// std::runtime_error if OpenSSL cannot do it, std::length_error above kMaxCredentialBytes.
std::string seal_credential(std::string_view installation_secret, std::string_view context, std::string_view plain);
std::optional<std::string> unseal_credential(std::string_view installation_secret, std::string_view context,
                                             std::string_view sealed);
/// The same under the secret in force, else under the one before it, if there is one (not empty).
std::optional<std::string> unseal_credential(std::string_view installation_secret, std::string_view previous_secret,
                                             std::string_view context, std::string_view sealed);

}  // namespace lumen
