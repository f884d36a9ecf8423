#include "admind/live_settings.h"

namespace lumen::admind {

namespace {

template <typename Value>
void keep(const char* name, const Value& old, Value& fresh, std::vector<std::string>& pending) {
    if (old == fresh) return;
    fresh = old;
    pending.emplace_back(name);
}

}  // namespace

std::vector<std::string> LiveSettings::replace(Settings fresh) {
    std::vector<std::string> pending;
    const std::lock_guard lock(mutex_);
    const AppSettings& old = current_->app;
    keep("app.listen", old.listen_host, fresh.app.listen_host, pending);
    keep("app.listen", old.listen_port, fresh.app.listen_port, pending);
    keep("app.secret_key", old.secret_key, fresh.app.secret_key, pending);
    keep("app.encryption_key", old.encryption_key, fresh.app.encryption_key, pending);
    keep("app.database.url", old.database_url, fresh.app.database_url, pending);
    keep("app.database.pool_size", old.database_pool_size, fresh.app.database_pool_size, pending);
    keep("app.database.pool_timeout", old.database_pool_timeout, fresh.app.database_pool_timeout, pending);
    keep("app.debug", old.debug, fresh.app.debug, pending);
    if (!fresh.app.debug) fresh.app.dev_user.reset();
    keep("redis.url", current_->redis_url, fresh.redis_url, pending);
    current_ = std::make_shared<const Settings>(std::move(fresh));
    return pending;
}

}  // namespace lumen::admind
