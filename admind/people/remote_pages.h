// What pages show of other sites: avatars and READMEs. Fetched from exactly two hosts, bounded and kept; what cannot be
// had is not there.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admind/people/avatar.h"
#include "admind/people/kept_answers.h"
#include "admind/text/html.h"

namespace lumen::admind {

/// Address of the README of a model on Hugging Face; nullopt: `url` is no page of a model there.
std::optional<std::string> readme_address(std::string_view url);

class RemotePages {
 public:
    /// The other sites, for tests to stand in.
    struct Sites {
        KeptAnswers<Picture>::Fetch avatar;  ///< by gravatar_hash()
        KeptAnswers<Html>::Fetch readme;     ///< by readme_address()
    };
    RemotePages();
    explicit RemotePages(Sites sites);

    /// nullopt: no picture, or none within a second.
    std::optional<Picture> gravatar(std::string_view email);
    /// `model_url` as lumen.yaml has it.
    std::optional<Html> readme(std::string_view model_url);

 private:
    KeptAnswers<Picture> avatars_;
    KeptAnswers<Html> readmes_;
};

}  // namespace lumen::admind
