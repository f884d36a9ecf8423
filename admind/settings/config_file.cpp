#include "admind/settings/config_file.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "admind/text/json.h"

namespace lumen::admind {

namespace {

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Written and on disk, with the mode of the file it will replace: a secret stays as closed as it was.
void write_durably(const std::string& path, std::string_view text, mode_t mode) {
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) fail("cannot write " + path);
    bool good = fchmod(file, mode) == 0;
    while (good && !text.empty()) {
        const ssize_t written = write(file, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        good = written > 0;
        if (good) text.remove_prefix(static_cast<std::size_t>(written));
    }
    good = good && fsync(file) == 0;
    close(file);
    if (good) return;
    unlink(path.c_str());
    fail("cannot write " + path);
}

void sync_folder(const std::string& folder) {
    const int directory = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    fsync(directory);
    close(directory);
}

}  // namespace

std::string config_hash(std::string_view text) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string hex;
    for (const unsigned char byte : digest) {
        hex += kHex[byte >> 4];
        hex += kHex[byte & 15];
    }
    return hex;
}

std::string ConfigFile::text() const {
    std::ifstream file(path_, std::ios::binary);
    if (!file) throw std::runtime_error(path_ + " cannot be read");
    std::string text(kMaxSettingsBytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) throw std::runtime_error(path_ + " cannot be read");
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

SettingsResult ConfigFile::load() {
    SettingsResult result;
    ConfigStatus status;
    try {
        const std::string now = text();
        status.hash = config_hash(now);
        result = read_settings(now, environment_);
    } catch (const std::exception&) {
        result.findings = {{Finding::Severity::error, path_, "cannot be read"}};
    }
    status.valid = result.settings.has_value();
    status.read_ms = unix_ms_now();
    status.findings = result.findings;
    const std::lock_guard lock(mutex_);
    status.pending = status_.pending;
    status_ = std::move(status);
    return result;
}

void ConfigFile::note_pending(std::vector<std::string> keys) {
    const std::lock_guard lock(mutex_);
    status_.pending = std::move(keys);
}

ConfigStatus ConfigFile::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

bool ConfigFile::writable() const {
    return access(path_.c_str(), W_OK) == 0 && access(folder_of(path_).c_str(), W_OK) == 0;
}

void ConfigFile::save(std::string_view fresh) const {
    struct stat old {};
    if (stat(path_.c_str(), &old) != 0) fail("cannot look at " + path_);
    write_durably(path_ + ".bak", text(), old.st_mode & 0777);
    const std::string temporary = path_ + ".new";
    write_durably(temporary, fresh, old.st_mode & 0777);
    // A file that belongs to another user stays theirs where we may say so; else it is ours, and as closed.
    if (chown(temporary.c_str(), old.st_uid, old.st_gid) != 0) errno = 0;
    if (std::rename(temporary.c_str(), path_.c_str()) != 0) fail("cannot replace " + path_);
    sync_folder(folder_of(path_));
}

}  // namespace lumen::admind
