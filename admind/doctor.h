// `lumen-admind doctor`: looks at everything around Lumen that an operator can get wrong, and says what to do about it.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "admind/settings/settings.h"

namespace lumen::admind {

struct Diagnosis {
    enum class State : std::uint8_t { ok, warning, failed };
    State state = State::ok;
    std::string part;    ///< what was looked at: "postgres", "redis", "gate" …
    std::string found;   ///< never holds a secret
    std::string advice;  ///< what to do; empty when there is nothing
};

/// Looks at files, Postgres, Redis, the gate behind `app.public_url` and the model servers. Changes nothing. Whatever
/// is away is a finding, not an exception. `path`: of the configuration that `settings` came from.
std::vector<Diagnosis> examine(const Settings& settings, const std::string& path);

/// Prints them, one a line; 0 when none failed, else 1.
int run_doctor(const Settings& settings, const std::string& path, std::ostream& out);

}  // namespace lumen::admind
