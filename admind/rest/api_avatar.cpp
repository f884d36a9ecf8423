// The picture of the signed-in person, and which kind it is.
#include "admind/people/remote_pages.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"

namespace lumen::admind {

AvatarChoice avatar_choice(const Settings& settings, const std::string& own) {
    // The site decides whether anybody is looked up at all; a person may opt out of that, not into it.
    if (settings.app.avatar == "initials") return {"initials", false};
    return {own == "initials" ? "initials" : "gravatar", true};
}

Answer get_my_avatar(const Call& call) {
    std::string own;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        own = transaction.exec_params1("select coalesce(avatar, '') from users where id = $1", call.caller.user)[0]
                  .as<std::string>();
    }
    std::optional<Picture> picture;
    const bool look_up = std::string_view(avatar_choice(call.settings, own).kind) == "gravatar";
    if (look_up && call.services.remote_pages != nullptr) {
        picture = call.services.remote_pages->gravatar(call.caller.email);
    }
    if (!picture) picture = initials_picture(call.caller.name, call.caller.email);
    Answer answer;
    answer.text = std::move(picture->bytes);
    answer.content_type = picture->content_type;
    // Opened by itself, an SVG would be a page of this site.
    answer.headers.emplace_back("Content-Security-Policy", "default-src 'none'; sandbox");
    answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
    return answer;
}

}  // namespace lumen::admind
