// The sections of lumen.yaml that are large enough for a file of their own.
#pragma once

#include <vector>

#include "admind/settings.h"
#include "admind/settings_reader.h"

namespace lumen::admind {

/// defaults, groups, users, projects.
void read_people(Section& root, SettingsReport& report, Settings& settings);
/// models, with their prices and endpoints.
void read_models(Section& root, SettingsReport& report, Settings& settings);
/// What only the whole shows: names in lists that nothing has, free models, contradictions.
void cross_check(SettingsReport& report, Settings& settings);

}  // namespace lumen::admind
