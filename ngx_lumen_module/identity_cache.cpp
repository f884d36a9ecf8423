#include "ngx_lumen_module/identity_cache.h"

#include <array>
#include <cstring>

namespace lumen {
namespace {

struct Entry {
    KeyHash hash;
    Identity identity;  ///< account 0: empty
};

/// Entries that may hold the same hash; the oldest write among them gives way, so no list of uses is needed.
constexpr std::size_t kWays = 4;
constexpr std::size_t kSets = kCachedIdentities / kWays;
static_assert((kSets & (kSets - 1)) == 0, "a set is found by masking the hash");

struct Set {
    std::array<Entry, kWays> entries;
    std::size_t oldest;
};

// Zero pages until used. A hash is keyed (HMAC), so nobody outside can choose where it falls.
std::array<Set, kSets> sets;

Set& set_of(const KeyHash& hash) noexcept {
    std::uint32_t bits = 0;
    std::memcpy(&bits, hash.data() + hash.size() - sizeof(bits), sizeof(bits));
    return sets[bits & (kSets - 1)];
}

Entry* find_entry(Set& set, const KeyHash& hash) noexcept {
    for (Entry& entry : set.entries) {
        if (entry.identity.account != 0 && entry.hash == hash) return &entry;
    }
    return nullptr;
}

}  // namespace

const Identity* find_identity(const KeyHash& hash) noexcept {
    const Entry* entry = find_entry(set_of(hash), hash);
    return entry != nullptr ? &entry->identity : nullptr;
}

void remember_identity(const KeyHash& hash, const Identity& identity) noexcept {
    Set& set = set_of(hash);
    Entry* entry = find_entry(set, hash);
    if (entry == nullptr) {
        entry = &set.entries[set.oldest];
        set.oldest = (set.oldest + 1) % kWays;
    }
    *entry = {hash, identity};
}

void forget_identities() noexcept {
    for (Set& set : sets) {
        for (Entry& entry : set.entries) {
            if (entry.identity.account != 0) entry = {};  // pages that were never used stay so
        }
    }
}

}  // namespace lumen
