// What this worker knows of keys: whose a key hash is (immutable) and which policies account and key had last
// (believed, and checked by every auth and admit). Whether a key is alive is never kept (promise 3, I9).
#pragma once

#include "lumen_core/api_key.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen {

/// Keys kept per worker, 64 bytes each; more keys than this in use cost a lookup now and then, nothing else.
inline constexpr std::size_t kCachedIdentities = 65'536;

/// Null: not known here. The pointer is good until the next remember_identity.
const Identity* find_identity(const KeyHash& hash) noexcept;
void remember_identity(const KeyHash& hash, const Identity& identity) noexcept;
/// Each key costs one more lookup then, and nothing else.
void forget_identities() noexcept;

}  // namespace lumen
