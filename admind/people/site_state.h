// The few things of the leader's lumen.yaml that every drainer must agree on, and what open pages were told of it.
#pragma once

#include <pqxx/pqxx>

#include "admind/services.h"
#include "admind/settings/settings.h"

namespace lumen::admind {

/// Part of applying the file: from here on, notices are made by its threshold and for its ways.
void apply_site_state(pqxx::transaction_base& transaction, const Settings& settings);

/// Tells open pages of another announcement, and ends the streams of who became an administrator or is none any more
/// (spec/ui.md E4). Repeats harmlessly; what changed while no admind led is told when one does.
void tell_site_changes(const Services& services, const Settings& settings);

}  // namespace lumen::admind
