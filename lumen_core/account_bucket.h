// Which of the 256 buckets an account or a key hash lives in, and the Redis keys there (ledger.md §3).
#pragma once

#include <cstdint>
#include <string>

#include "lumen_core/api_key.h"
#include "lumen_core/ids.h"

namespace lumen {

inline constexpr int kBuckets = 256;

/// 0…255. All keys of a bucket share the hash tag `{bNNN}`, so one bucket is one slot of a Redis Cluster.
using Bucket = std::uint8_t;

inline Bucket account_bucket(AccountId account) noexcept {
    return static_cast<Bucket>(account % kBuckets);
}
inline Bucket lookup_bucket(const KeyHash& hash) noexcept {
    return hash[0];
}

/// `{b007}:meta`, `{b007}:kh`, `{b007}:a:ACC`, `{b007}:k:KEY`, `{b007}:holds`, `{b007}:events`, `{b007}:done0|1`.
std::string bucket_key(Bucket bucket, const char* name);
std::string account_key(AccountId account);
std::string api_key_key(AccountId account, KeyId key);

}  // namespace lumen
