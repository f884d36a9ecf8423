// The lumen.yaml that this process watches: what was found when it was last read, and writing it anew.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "admind/settings/settings.h"

namespace lumen::admind {

struct ConfigStatus {
    std::string hash;  ///< SHA-256 of the file's text as it was last read, in hex
    bool valid = false;
    std::int64_t read_ms = 0;
    std::vector<Finding> findings;
    std::vector<std::string> pending;  ///< changed keys that wait for a restart
};

/// Thread-safe.
class ConfigFile {
 public:
    ConfigFile(std::string path, Environment environment)
        : path_(std::move(path)), environment_(std::move(environment)) {}

    const std::string& path() const noexcept { return path_; }
    const Environment& environment() const noexcept { return environment_; }

    /// Reads the file, and notes what was found.
    SettingsResult load();
    void note_pending(std::vector<std::string> keys);
    ConfigStatus status() const;

    /// The text as it is now. Throws std::runtime_error if it cannot be read.
    std::string text() const;
    bool writable() const;
    /// Replaces the file whole: temporary file, fsync, rename; the old one stays as FILE.bak. Throws
    /// std::runtime_error.
    void save(std::string_view text) const;

 private:
    const std::string path_;
    const Environment environment_;
    mutable std::mutex mutex_;
    ConfigStatus status_;
};

std::string config_hash(std::string_view text);

}  // namespace lumen::admind
