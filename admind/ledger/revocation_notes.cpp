#include "admind/ledger/revocation_notes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace lumen::admind {

namespace {

/// Writes `text` to `path` and waits until it is on disk.
void write_synced(const std::string& path, int mode, const std::string& text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0600);
    // A line is shorter than any pipe or page: one write takes all of it, or fails.
    const bool written =
        file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(file) == 0;
    if (file >= 0) ::close(file);
    if (!written) throw std::runtime_error("cannot note a revocation in " + path);
}

std::string line_of(const RevocationNote& note) {
    return std::to_string(note.account) + " " + std::to_string(note.key) + "\n";
}

}  // namespace

void RevocationNotes::add(const RevocationNote& note) {
    std::lock_guard lock(mutex_);
    write_synced(path_, O_APPEND, line_of(note));
}

std::vector<RevocationNote> RevocationNotes::read() const {
    std::lock_guard lock(mutex_);
    return read_locked();
}

std::vector<RevocationNote> RevocationNotes::read_locked() const {
    std::vector<RevocationNote> notes;
    std::ifstream file(path_);
    for (RevocationNote note; file >> note.account >> note.key;) notes.push_back(note);
    return notes;
}

void RevocationNotes::remove(const std::vector<RevocationNote>& recorded) {
    std::lock_guard lock(mutex_);
    std::string left;
    for (const RevocationNote& note : read_locked()) {
        if (std::find(recorded.begin(), recorded.end(), note) == recorded.end()) left += line_of(note);
    }
    // A crash in between leaves the old file: its notes are recorded once more, which changes nothing.
    write_synced(path_ + ".new", O_TRUNC, left);
    if (::rename((path_ + ".new").c_str(), path_.c_str()) != 0) throw std::runtime_error("cannot replace " + path_);
}

}  // namespace lumen::admind
