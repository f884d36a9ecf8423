// A person's picture: Gravatar's, fetched by this server and never by a browser, or initials (spec/ui.md P8, P9).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lumen::admind {

struct Picture {
    std::string content_type;
    std::string bytes;
};

/// Hex SHA-256 of the address, trimmed and in lower case: how Gravatar names people.
std::string gravatar_hash(std::string_view email);

/// What the bytes are, by their first ones, if it is a picture that pages show; what the other side calls them is not
/// believed.
std::optional<std::string> picture_type(std::string_view bytes);

/// The first letters of the first two words on a ground that is the person's own: SVG.
Picture initials_picture(std::string_view name, std::string_view email);

}  // namespace lumen::admind
