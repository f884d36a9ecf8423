// While the installation secret is rotated: admind, which does not know keys, is told the new hash of one that was
// found under the secret before (lumen_core/catalogue.h, kRehashKey).
#pragma once

#include "lumen_core/ids.h"
#include "ngx_lumen_module/conf.h"

namespace lumen {

/// Once per worker and key, as its identity is remembered from then on.
void report_rehash(const MainConf& conf, AccountId account, KeyId key, const KeyHash& hash);
/// Forgets the identities each minute: a report that was lost (or Redis with it) is made again at the key's next use.
void report_rehashes_anew() noexcept;

}  // namespace lumen
