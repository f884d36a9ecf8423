// Base64 in the alphabet of URLs without padding (RFC 4648 §5), as tokens and keys of OpenID Connect are written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lumen::admind {

std::string base64url_encoded(std::string_view bytes);
/// Strict: no padding, no other characters, no bits left over.
std::optional<std::string> base64url_decoded(std::string_view text);

}  // namespace lumen::admind
