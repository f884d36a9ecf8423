// One mail: composed so that no text of people's gets among its headers, and handed to the site's SMTP server by curl.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "admind/settings/settings.h"

namespace lumen::admind {

struct Mail {
    std::string id;         ///< Message-ID without its brackets; the same in every attempt
    std::string from_name;  ///< any text
    std::string from;       ///< addresses are checked where they come in
    std::string to_name;
    std::string to;
    std::string subject;  ///< any text
    std::string body;     ///< lines end in \n
    std::int64_t at_ms = 0;
};

/// RFC 5322 with CRLF. What is not plain printable ASCII becomes encoded words (RFC 2047), the body base64.
std::string mail_text(const Mail& mail);

struct MailResult {
    bool sent = false;
    bool refused = false;  ///< the server said 5xx to this mail: no attempt will ever be taken
    std::string error;     ///< for logs: curl's words, never a credential
};
/// Never throws for what the other side does. Blocks for `timeout` at most, name look-up included. `helo`: our own
/// name.
MailResult send_mail(const Mail& mail, const MailSettings& server, const std::string& helo,
                     std::chrono::milliseconds timeout);

}  // namespace lumen::admind
