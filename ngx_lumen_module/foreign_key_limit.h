// Keys of a form that is not ours cannot be told from noise without a lookup, so guessing them is limited by address.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// Lookups of unknown foreign keys that one client address (IPv6: /64) may cause in each worker.
inline constexpr std::int64_t kForeignLookupEveryMs = 200;
inline constexpr std::int64_t kForeignLookupBurst = 50;
/// Addresses remembered per worker; two that fall together share an allowance.
inline constexpr std::size_t kLimitedAddresses = 4'096;

/// Counts one lookup. 0: it may go on; else: wait this many ms.
std::int64_t foreign_lookup_wait_ms(const sockaddr* client) noexcept;

}  // namespace lumen
