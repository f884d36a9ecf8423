#include "ngx_lumen_module/rehash_report.h"

#include <array>
#include <string>

#include "ngx_lumen_module/identity_cache.h"
#include "ngx_lumen_module/redis_client.h"

namespace lumen {
namespace {

constexpr ngx_msec_t kReportAnewMs = 60'000;
ngx_msec_t forgotten_at = 0;

}  // namespace

void report_rehash(const MainConf& conf, AccountId account, KeyId key, const KeyHash& hash) {
    const std::string field = std::to_string(account) + ":" + std::to_string(key);
    const std::string value = std::string(view(conf.secret_id)) + ":" + key_hash_hex(hash);
    const std::array<std::string_view, 4> command{"HSET", kRehashKey, field, value};
    redis_command(
        RedisLane::requests, command.data(), static_cast<int>(command.size()), conf.redis_timeout_ms,
        [](void*, RedisResult, std::string_view) {}, nullptr);
}

void report_rehashes_anew() noexcept {
    if (ngx_current_msec - forgotten_at < kReportAnewMs) return;
    forgotten_at = ngx_current_msec;
    forget_identities();
}

}  // namespace lumen
