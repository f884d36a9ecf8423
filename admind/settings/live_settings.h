// The settings in force: an immutable snapshot that a reload replaces. Who uses it takes one snapshot for one unit of
// work.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admind/settings/settings.h"

namespace lumen::admind {

/// Keys that differ and take a restart (spec/config.md, R).
std::vector<std::string> restart_keys(const Settings& now, const Settings& fresh);

class LiveSettings {
 public:
    explicit LiveSettings(Settings settings) : current_(std::make_shared<const Settings>(std::move(settings))) {}

    std::shared_ptr<const Settings> current() const {
        const std::lock_guard lock(mutex_);
        return current_;
    }

    /// What needs a restart (spec/config.md, R) keeps its old value; the names of those that differ are given back.
    std::vector<std::string> replace(Settings fresh);

 private:
    mutable std::mutex mutex_;
    std::shared_ptr<const Settings> current_;
};

}  // namespace lumen::admind
