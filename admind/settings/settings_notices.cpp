#include <openssl/evp.h>

#include <algorithm>

#include "admind/settings/settings_sections.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLeastWebhookSecretBytes = 24;  // as Standard Webhooks asks for
constexpr std::size_t kLongestHost = 253;

bool is_host(const std::string& host) {
    return host.size() <= kLongestHost && std::all_of(host.begin(), host.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                      c == '-' || c == '_' || c == ':';
           });
}

/// Receivers' libraries (Standard Webhooks) know a secret as `whsec_` and its bytes in base64; other text is its bytes.
std::optional<std::string> secret_bytes(const std::string& text) {
    constexpr std::string_view kPrefix = "whsec_";
    if (text.compare(0, kPrefix.size(), kPrefix) != 0) return text;
    const std::string encoded = text.substr(kPrefix.size());
    std::string bytes(encoded.size() / 4 * 3 + 3, '\0');
    const int length =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(encoded.data()), static_cast<int>(encoded.size()));
    if (length < 0) return std::nullopt;
    const auto padding = static_cast<std::size_t>(std::count(encoded.begin(), encoded.end(), '='));
    bytes.resize(static_cast<std::size_t>(length) - std::min(padding, std::size_t{2}));
    return bytes;
}

void read_webhook(Section webhook, NoticeSettings& to) {
    to.webhook_url = webhook.web_url("url").value_or("");
    const std::string secret = webhook.secret("secret").value_or("");
    if (!to.webhook_url.empty() && secret.empty()) {
        webhook.required("secret");
    } else if (!secret.empty()) {
        const auto bytes = secret_bytes(secret);
        if (!bytes)
            webhook.error("secret", "`whsec_` without base64 behind it");
        else if (bytes->size() < kLeastWebhookSecretBytes)
            webhook.error("secret", "is shorter than 24 bytes");
        else
            to.webhook_secret = *bytes;
    }
    webhook.finish();
}

MailSecurity security_of(const std::string& word) {
    if (word == "none") return MailSecurity::none;
    return word == "tls" ? MailSecurity::tls : MailSecurity::starttls;
}

std::uint16_t usual_port(MailSecurity security) {
    if (security == MailSecurity::none) return 25;
    return security == MailSecurity::tls ? 465 : 587;
}

void read_mail(Section mail, MailSettings& to) {
    to.host = mail.text("host", "");
    if (!is_host(to.host)) mail.error("host", "not the name of a host");
    to.security = security_of(mail.word("security", "starttls", {"starttls", "tls", "none"}));
    to.port = static_cast<std::uint16_t>(mail.integer("port", 1, 65'535).value_or(usual_port(to.security)));
    to.username = mail.text("username", "");
    to.password = mail.secret("password").value_or("");
    to.ca_file = mail.text("ca_file", "");
    to.from = mail.email("from").value_or("");
    if (!to.host.empty() && to.from.empty() && !mail.has("from")) mail.required("from");
    if (!to.username.empty() && to.password.empty() && !mail.has("password")) mail.required("password");
    if (!to.username.empty() && to.security == MailSecurity::none) {
        mail.error("security", "must be starttls or tls with a username");
    }
    mail.finish();
}

}  // namespace

void read_notices(Section& root, Settings& settings) {
    Section notices = root.section("notices");
    settings.notices.low_balance_percent = static_cast<int>(notices.integer("low_balance_percent", 1, 99).value_or(20));
    read_webhook(notices.section("webhook"), settings.notices);
    read_mail(notices.section("mail"), settings.notices.mail);
    notices.finish();
}

}  // namespace lumen::admind
