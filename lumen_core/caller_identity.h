// Who is calling, as the gate tells admind: in a header that only a holder of the installation secret can make.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lumen_core/ids.h"

namespace lumen {

/// The header's name, in lower case. Clients' own copies never pass the gate.
inline constexpr const char* kCallerIdentityHeader = "x-lumen-identity";
/// A header older than this, or as much from the future, is refused: one that was seen somewhere is soon worth nothing.
inline constexpr std::int64_t kCallerIdentityLifeMs = 60'000;

struct CallerIdentity {
    AccountId account = 0;
    KeyId key = 0;
    std::int64_t at_ms = 0;  ///< Unix time it was made at
};

/// `account=1; key=2; at=1764000000000; signature=<64 hex digits>`: HMAC-SHA256 of what precedes and of `path`, under
/// a key derived from the installation secret. `path` is the one asked for, without its query: a header that was made
/// for one call is none for another.
std::string sign_caller_identity(std::string_view installation_secret, const CallerIdentity& identity,
                                 std::string_view path);
/// nullopt: not made by us, not for that path, or not now.
std::optional<CallerIdentity> verify_caller_identity(std::string_view installation_secret, std::string_view header,
                                                     std::string_view path, std::int64_t now_ms);

}  // namespace lumen
