// The sections of lumen.yaml that are large enough for a file of their own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "admind/settings/settings.h"
#include "admind/settings/settings_reader.h"

namespace lumen::admind {

/// defaults, groups, users, projects.
void read_people(Section& root, SettingsReport& report, Settings& settings);
/// models, with their prices and endpoints.
void read_models(Section& root, SettingsReport& report, Settings& settings);
/// notices.
void read_notices(Section& root, Settings& settings);
/// What only the whole shows: names in lists that nothing has, free models, contradictions.
void cross_check(SettingsReport& report, Settings& settings);

/// One group's section; `defaults` fills in what it leaves out of its coins.
GroupSettings read_group(Section section, SettingsReport& report, const std::string& name, const BudgetRule& defaults);
/// One model's section. What it is called is the caller's business, as files and REST name it in other places.
ModelSettings read_model(Section& section, SettingsReport& report, const std::string& default_ack);
bool is_model_name(const std::string& name);
/// The `endpoints` of a section.
std::vector<EndpointSettings> read_endpoints(Section& model, SettingsReport& report, const std::string& model_name);

/// What of a price is written; what is not follows another meter, or is free.
struct WrittenPrice {
    std::optional<NanoCoins> input, cached, cache_write, output, reasoning, characters, audio_hour, image, request;
};
WrittenPrice read_meters(Section& section);

/// What is written in `change` takes the place of what was.
void overlay(WrittenPrice& base, const WrittenPrice& change);
void overlay(Price& base, const WrittenPrice& change);

}  // namespace lumen::admind
