// NCSA Lumen's database as it is published: what an import reads of it, in one consistent look, changing nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "lumen_core/money.h"

namespace lumen::admind {

struct NcsaLimits {
    std::int64_t max_nano = 0;  ///< -2: unlimited
    NanoCoins refresh;
    NanoCoins starting;
    bool from_config = false;  ///< its config.yaml states them
};

/// Names of models; a default of its own.
struct NcsaAccess {
    std::optional<bool> allows_by_default;
    std::vector<std::string> allowed;
    std::vector<std::string> blocked;
    bool said() const noexcept { return allows_by_default || !allowed.empty() || !blocked.empty(); }
};

struct NcsaGroup {
    std::int64_t id = 0;
    std::string name;
    std::string description;
    bool active = true;
    std::optional<NcsaLimits> limits;
    NcsaAccess access;
};

struct NcsaEntity {
    std::int64_t id = 0;
    bool project = false;
    std::string email;  ///< of a user; lower case
    std::string name;
    bool active = true;
    std::string created_at;  ///< timestamptz text
    std::optional<NcsaLimits> limits;
    std::optional<NanoCoins> balance;
    NcsaAccess access;
    std::int64_t conversations = 0;
    // of a project
    std::int64_t owner = 0;              ///< an entity; 0: none
    std::vector<std::int64_t> managers;  ///< entities, the owner among them
};

struct NcsaMembership {
    std::int64_t group = 0;
    std::int64_t entity = 0;
    bool from_config = false;  ///< by its config.yaml, rules included
};

struct NcsaKey {
    std::int64_t id = 0;
    std::int64_t entity = 0;
    std::string name;
    std::string hash_hex;
    std::string hint;
    bool active = true;
    std::string created_at;
    std::string last_used_at;  ///< empty: never
    std::int64_t requests = 0;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
    NanoCoins cost;
};

struct NcsaConsent {
    std::int64_t entity = 0;
    std::string model;
    std::string at;
};

/// A quarter of an hour of an entity's requests to a model by one source; the rest that its log no longer has counts as
/// one at the entity's beginning.
struct NcsaUsage {
    std::int64_t entity = 0;
    std::string model;
    bool chat = false;
    std::string slot;
    std::int64_t requests = 0;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
    NanoCoins cost;
    std::string last_at;
};

struct NcsaData {
    std::vector<NcsaGroup> groups;
    std::vector<NcsaEntity> entities;
    std::vector<NcsaMembership> memberships;
    std::vector<NcsaKey> keys;
    std::vector<NcsaConsent> consents;
    std::vector<NcsaUsage> usage;
    std::vector<std::string> models;
};

/// Throws std::runtime_error if the database is not one of NCSA Lumen's current version, pqxx::failure otherwise.
NcsaData read_ncsa(const std::string& database_url);

}  // namespace lumen::admind
