// What a notice says: to a program, signed, and to a person. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admind/people/mail.h"
#include "admind/settings/settings.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

/// A delivery with all that its text needs.
struct DueNotice {
    std::string delivery_id;  ///< the same in every attempt
    std::string kind;         ///< "low_balance" or "exhausted"
    std::int64_t at_ms = 0;
    AccountId account = 0;
    std::string project;  ///< name; empty: the person's own account
    std::int64_t user = 0;
    std::string user_name;
    std::string user_email;
    NanoCoins balance;
    NanoCoins limit;
    NanoCoins refill_per_hour;
    int attempt = 1;
};

/// {type, id, timestamp, data: {account, user, balance, limit}}
std::string webhook_body(const DueNotice& notice);
/// Standard Webhooks (standardwebhooks.com): webhook-id, webhook-timestamp, and webhook-signature, which is HMAC-SHA256
/// of `id.timestamp.body` under the site's secret, base64 behind `v1,`.
std::vector<std::pair<std::string, std::string>> webhook_headers(const DueNotice& notice, const std::string& body,
                                                                 std::string_view secret, std::int64_t now_ms);

Mail notice_mail(const DueNotice& notice, const Settings& settings);
/// The host of app.public_url: our name to mail servers, and the right side of a Message-ID.
std::string own_host(const Settings& settings);

}  // namespace lumen::admind
