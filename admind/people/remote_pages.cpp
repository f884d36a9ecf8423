#include "admind/people/remote_pages.h"

#include <algorithm>

#include "admind/people/outgoing_fetch.h"
#include "admind/text/markdown.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMaxPictureBytes = std::size_t{128} * 1024;
constexpr std::chrono::milliseconds kPictureDeadline{1000};  // P9
constexpr std::chrono::milliseconds kReadmeDeadline{5000};
constexpr KeptAnswersBounds kAvatars{512, 4, std::chrono::hours{24}, std::chrono::minutes{10}};
constexpr KeptAnswersBounds kReadmes{128, 4, std::chrono::hours{6}, std::chrono::minutes{10}};

/// GET of an https address on that host and no other. nullopt: anything but a 200 with a body within the bound.
std::optional<std::string> get(const std::string& address, const char* host, std::size_t most,
                               std::chrono::milliseconds deadline) {
    FetchRules rules;
    rules.hosts = {host};
    rules.most_bytes = most;
    rules.timeout = deadline;
    Fetched fetched = fetch({address}, rules);
    if (fetched.status != 200) return std::nullopt;
    return std::move(fetched.body);
}

std::optional<Picture> fetch_gravatar(const std::string& hash) {
    auto bytes = get("https://gravatar.com/avatar/" + hash + "?s=160&r=g&d=404", "gravatar.com", kMaxPictureBytes,
                     kPictureDeadline);
    const auto type = bytes ? picture_type(*bytes) : std::nullopt;
    if (!type) return std::nullopt;
    return Picture{*type, std::move(*bytes)};
}

std::optional<Html> fetch_readme(const std::string& address) {
    const auto markdown = get(address, "huggingface.co", kMaxMarkdownBytes, kReadmeDeadline);
    if (!markdown) return std::nullopt;
    return render_markdown(without_front_matter(*markdown));
}

bool is_part(std::string_view part) {
    return !part.empty() && part.size() <= 96 && part.front() != '.' &&
           std::all_of(part.begin(), part.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.';
           });
}

}  // namespace

std::optional<std::string> readme_address(std::string_view url) {
    constexpr std::string_view kSite = "https://huggingface.co/";
    if (url.substr(0, kSite.size()) != kSite) return std::nullopt;
    const std::string_view path = url.substr(kSite.size());
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const std::string_view owner = path.substr(0, slash);
    const std::string_view rest = path.substr(slash + 1);
    const std::string_view model = rest.substr(0, rest.find_first_of("/?#"));
    if (!is_part(owner) || !is_part(model)) return std::nullopt;
    return std::string(kSite) + std::string(owner) + "/" + std::string(model) + "/raw/main/README.md";
}

RemotePages::RemotePages() : RemotePages(Sites{fetch_gravatar, fetch_readme}) {}

RemotePages::RemotePages(Sites sites)
    : avatars_(kAvatars, std::move(sites.avatar)), readmes_(kReadmes, std::move(sites.readme)) {}

std::optional<Picture> RemotePages::gravatar(std::string_view email) {
    return avatars_.get(gravatar_hash(email), std::chrono::steady_clock::now());
}

std::optional<Html> RemotePages::readme(std::string_view model_url) {
    const auto address = readme_address(model_url);
    return address ? readmes_.get(*address, std::chrono::steady_clock::now()) : std::nullopt;
}

}  // namespace lumen::admind
