// Revocations that were done in Redis while the book was away: a fsynced local file, until the book has them (ledger.md
// 6.3). A revocation only absorbs, so doing it before it is recorded is safe; forgetting it would not be (I9).
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "lumen_core/ids.h"

namespace lumen::admind {

struct RevocationNote {
    AccountId account = 0;
    KeyId key = 0;
    friend bool operator==(const RevocationNote&, const RevocationNote&) = default;
};

/// Thread-safe within a process; each admind has a file of its own.
class RevocationNotes {
 public:
    explicit RevocationNotes(std::string path) : path_(std::move(path)) {}

    /// On disk when it returns. Throws std::runtime_error if it cannot be.
    void add(const RevocationNote& note);
    std::vector<RevocationNote> read() const;
    /// Removes those that the book has now.
    void remove(const std::vector<RevocationNote>& recorded);

 private:
    std::vector<RevocationNote> read_locked() const;
    std::string path_;
    mutable std::mutex mutex_;
};

}  // namespace lumen::admind
