#include "lumen_core/account_bucket.h"

namespace lumen {

std::string bucket_key(Bucket bucket, const char* name) {
    std::string key = "{b000}:";
    key[2] = static_cast<char>('0' + bucket / 100);
    key[3] = static_cast<char>('0' + bucket / 10 % 10);
    key[4] = static_cast<char>('0' + bucket % 10);
    return key += name;
}

std::string account_key(AccountId account) {
    return bucket_key(account_bucket(account), "a:") += std::to_string(account);
}

std::string api_key_key(AccountId account, KeyId key) {
    return bucket_key(account_bucket(account), "k:") += std::to_string(key);
}

}  // namespace lumen
