#include "admind/people/claimed_person.h"

#include "admind/settings/settings.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestNameBytes = 200;

/// Without control characters and cut at a character's end.
std::string as_name(const std::string& text) {
    std::string name;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f) name += c;
    }
    if (name.size() > kLongestNameBytes) {
        std::size_t end = kLongestNameBytes;
        while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
        name.resize(end);
    }
    const std::size_t begin = name.find_first_not_of(' ');
    if (begin == std::string::npos) return "";
    return name.substr(begin, name.find_last_not_of(' ') - begin + 1);
}

std::string name_of(const Json& claims, const std::string& email) {
    const std::string both = text_member(claims, "given_name") + " " + text_member(claims, "family_name");
    for (const std::string& candidate :
         {text_member(claims, "name"), both, text_member(claims, "preferred_username")}) {
        std::string name = as_name(candidate);
        if (!name.empty()) return name;
    }
    return email.substr(0, email.find('@'));
}

}  // namespace

ClaimedPerson claimed_person(const Json& claims) {
    ClaimedPerson person;
    const std::string email = normalised_email(text_member(claims, "email"));
    constexpr std::size_t kLongestEmail = 254;
    if (is_email(email) && email.size() <= kLongestEmail) person.email = email;
    person.name = name_of(claims, person.email);
    const auto verified = claims.find("email_verified");
    person.email_unverified = verified != claims.end() && (*verified == false || *verified == "false");
    return person;
}

}  // namespace lumen::admind
