#include "admind/settings/live_settings.h"

#include <algorithm>

namespace lumen::admind {

namespace {

/// Gives `fresh` what `now` has of the keys that take a restart, and names those that differ.
std::vector<std::string> keep_old(const Settings& now, Settings& fresh) {
    std::vector<std::string> pending;
    const auto keep = [&](const char* name, const auto& old, auto& member) {
        if (old == member) return;
        member = old;
        if (std::find(pending.begin(), pending.end(), name) == pending.end()) pending.emplace_back(name);
    };
    const AppSettings& old = now.app;
    keep("app.listen", old.listen_host, fresh.app.listen_host);
    keep("app.listen", old.listen_port, fresh.app.listen_port);
    keep("app.secret_key", old.secret_key, fresh.app.secret_key);
    keep("app.encryption_key", old.encryption_key, fresh.app.encryption_key);
    keep("app.previous_encryption_key", old.previous_encryption_key, fresh.app.previous_encryption_key);
    keep("app.database.url", old.database_url, fresh.app.database_url);
    keep("app.database.pool_size", old.database_pool_size, fresh.app.database_pool_size);
    keep("app.database.pool_timeout", old.database_pool_timeout, fresh.app.database_pool_timeout);
    keep("app.debug", old.debug, fresh.app.debug);
    keep("redis.url", now.redis_url, fresh.redis_url);
    return pending;
}

}  // namespace

std::vector<std::string> restart_keys(const Settings& now, const Settings& fresh) {
    Settings copy = fresh;
    return keep_old(now, copy);
}

std::vector<std::string> LiveSettings::replace(Settings fresh) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> pending = keep_old(*current_, fresh);
    if (!fresh.app.debug) fresh.app.dev_user.reset();
    current_ = std::make_shared<const Settings>(std::move(fresh));
    return pending;
}

}  // namespace lumen::admind
