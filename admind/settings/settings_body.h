// Bodies that state what lumen.yaml can state too (groups, models, endpoints, prices): read with the file's own
// readers, so that both have the same rules and the same words for what is wrong.
#pragma once

#include <optional>

#include "admind/settings/settings_reader.h"
#include "admind/text/http_message.h"

namespace lumen::admind {

class SettingsBody {
 public:
    explicit SettingsBody(const Json& body);

    /// The body as the section of a file. `${…}` in it is plain text.
    Section section();
    SettingsReport& report() noexcept { return report_; }
    /// 422 with all that was found, also what a file would only be warned of; nullopt: nothing was.
    std::optional<Problem> refusal();

 private:
    const Json& body_;
    const Environment no_environment_{};
    SettingsReport report_;
};

}  // namespace lumen::admind
