#include "admind/people/notice_texts.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <stdexcept>

#include "admind/settings/settings_values.h"
#include "admind/text/json.h"

namespace lumen::admind {

namespace {

std::string hmac_base64(std::string_view secret, const std::string& text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned length = 0;
    if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length) == nullptr) {
        throw std::runtime_error("HMAC-SHA256 failed");
    }
    std::array<unsigned char, 64> encoded;
    const int size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(length));
    return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(size)};
}

std::string whose(const DueNotice& notice) {
    return notice.project.empty() ? "Your account" : "The project " + notice.project;
}

std::string state_of(const DueNotice& notice, const std::string& site) {
    const std::string balance = format_coins(notice.balance);
    const std::string limit = format_coins(notice.limit);
    if (notice.kind == "exhausted") {
        return whose(notice) + " at " + site + " has used up its coins: " + balance + " of " + limit +
               " are left. Requests are refused until there are more.";
    }
    return whose(notice) + " at " + site + " runs low: " + balance + " of " + limit +
           " coins are left. At zero, requests are refused.";
}

std::string refill_of(const DueNotice& notice) {
    if (notice.refill_per_hour <= NanoCoins(0)) return "No refill is set up; an administrator can grant coins.";
    return "Each full hour " + format_coins(notice.refill_per_hour) + " coins are added, up to the limit.";
}

}  // namespace

std::string webhook_body(const DueNotice& notice) {
    const Json account{{"id", id_json(notice.account)},
                       {"type", notice.project.empty() ? "user" : "project"},
                       {"name", notice.project.empty() ? Json(nullptr) : Json(notice.project)}};
    const Json user{{"id", id_json(notice.user)}, {"name", notice.user_name}, {"email", notice.user_email}};
    return to_text({{"type", "wallet." + notice.kind},
                    {"id", notice.delivery_id},
                    {"timestamp", utc_text(notice.at_ms)},
                    {"data",
                     {{"account", account},
                      {"user", user},
                      {"balance", coins_json(notice.balance)},
                      {"limit", coins_json(notice.limit)},
                      {"refill_per_hour", coins_json(notice.refill_per_hour)}}}});
}

std::vector<std::pair<std::string, std::string>> webhook_headers(const DueNotice& notice, const std::string& body,
                                                                 std::string_view secret, std::int64_t now_ms) {
    const std::string timestamp = std::to_string(now_ms / 1000);
    return {{"Content-Type", "application/json"},
            {"webhook-id", notice.delivery_id},
            {"webhook-timestamp", timestamp},
            {"webhook-signature", "v1," + hmac_base64(secret, notice.delivery_id + "." + timestamp + "." + body)}};
}

Mail notice_mail(const DueNotice& notice, const Settings& settings) {
    const std::string profile = settings.app.public_url + "/profile";
    Mail mail;
    mail.id = notice.delivery_id + "@" + own_host(settings);
    mail.from_name = settings.app.name;
    mail.from = settings.notices.mail.from;
    mail.to_name = notice.user_name;
    mail.to = notice.user_email;
    mail.subject = settings.app.name + ": " + (notice.kind == "exhausted" ? "no coins left" : "few coins left") +
                   (notice.project.empty() ? "" : " (" + notice.project + ")");
    mail.body = "Hello " + notice.user_name + ",\n\n" + state_of(notice, settings.app.name) + "\n" + refill_of(notice) +
                "\n\nThis was so at " + utc_text(notice.at_ms) + ". How it is now: " + profile +
                "\n\nYou get this mail because you asked for it on that page, where you can also end it.\n";
    mail.at_ms = notice.at_ms;
    return mail;
}

std::string own_host(const Settings& settings) {
    const auto url = parse_web_url(settings.app.public_url);
    return url ? url->host : "localhost";
}

}  // namespace lumen::admind
