#include "admind/people/mail.h"

#include <curl/curl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

namespace lumen::admind {

namespace {

constexpr std::size_t kBase64Line = 76;
/// A line with an encoded word is at most 76 characters (RFC 2047 §2): 39 bytes make 52, with =?utf-8?B? and ?= around
/// them and `Subject: ` before.
constexpr std::size_t kWordBytes = 39;

std::string base64(std::string_view bytes) {
    std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int length =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(length));
    return out;
}

bool is_plain(std::string_view text) {
    return text.size() <= kWordBytes && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' ||
                      c == '-' || c == '.';
           });
}

bool continues_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

/// A header's text. Words are cut between characters, never inside one.
std::string words(std::string_view text) {
    if (is_plain(text)) return std::string(text);
    std::string out;
    while (!text.empty()) {
        std::size_t length = std::min(kWordBytes, text.size());
        while (length > 1 && length < text.size() && continues_character(text[length])) --length;
        if (!out.empty()) out += "\r\n ";
        out += "=?utf-8?B?" + base64(text.substr(0, length)) + "?=";
        text.remove_prefix(length);
    }
    return out;
}

std::string mailbox(const std::string& name, const std::string& address) {
    return name.empty() ? address : words(name) + "\r\n <" + address + ">";
}

std::string date(std::int64_t unix_ms) {
    const std::time_t seconds = unix_ms / 1000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    std::array<char, 64> text;
    // C locale: admind sets none.
    return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S +0000", &utc)};
}

std::string body_text(const std::string& body) {
    std::string with_crlf;
    for (const char c : body) {
        if (c == '\n') with_crlf += '\r';
        with_crlf += c;
    }
    const std::string encoded = base64(with_crlf);
    std::string lines;
    for (std::size_t at = 0; at < encoded.size(); at += kBase64Line) lines += encoded.substr(at, kBase64Line) + "\r\n";
    return lines;
}

struct Upload {
    std::string_view left;
};
std::size_t give(char* to, std::size_t size, std::size_t count, void* user) {
    auto& upload = *static_cast<Upload*>(user);
    const std::size_t length = std::min(size * count, upload.left.size());
    std::copy_n(upload.left.data(), length, to);
    upload.left.remove_prefix(length);
    return length;
}

std::string server_url(const MailSettings& server, const std::string& helo) {
    return std::string(server.security == MailSecurity::tls ? "smtps" : "smtp") + "://" + server.host + ":" +
           std::to_string(server.port) + "/" + helo;
}

void set_security(CURL* easy, const MailSettings& server) {
    // ALL: a server that offers no TLS, or one in between that hides the offer, gets neither mail nor password.
    if (server.security != MailSecurity::none) curl_easy_setopt(easy, CURLOPT_USE_SSL, long{CURLUSESSL_ALL});
    if (!server.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, server.ca_file.c_str());
    if (server.username.empty()) return;
    curl_easy_setopt(easy, CURLOPT_USERNAME, server.username.c_str());
    curl_easy_setopt(easy, CURLOPT_PASSWORD, server.password.c_str());
}

}  // namespace

std::string mail_text(const Mail& mail) {
    return "Date: " + date(mail.at_ms) + "\r\nFrom: " + mailbox(mail.from_name, mail.from) +
           "\r\nTo: " + mailbox(mail.to_name, mail.to) + "\r\nMessage-ID: <" + mail.id +
           ">\r\nSubject: " + words(mail.subject) +
           // Holiday answers and the like stay away (RFC 3834).
           "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8"
           "\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
           body_text(mail.body);
}

MailResult send_mail(const Mail& mail, const MailSettings& server, const std::string& helo,
                     std::chrono::milliseconds timeout) {
    MailResult result;
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> owner(curl_easy_init(), curl_easy_cleanup);
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> to(
        curl_slist_append(nullptr, ("<" + mail.to + ">").c_str()), curl_slist_free_all);
    CURL* easy = owner.get();
    if (easy == nullptr || to == nullptr) {
        result.error = "curl cannot start";
        return result;
    }
    const std::string text = mail_text(mail);
    const std::string url = server_url(server, helo);
    const std::string from = "<" + mail.from + ">";
    Upload upload{text};
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from.c_str());
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to.get());
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(easy, CURLOPT_READDATA, &upload);
    set_security(easy, server);
    const CURLcode code = curl_easy_perform(easy);
    if (code == CURLE_OK) {
        result.sent = true;
        return result;
    }
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    result.error = curl_easy_strerror(code);
    if (status > 0) result.error += " (SMTP " + std::to_string(status) + ")";
    // A wrong password is mended by an operator; a mail that is refused is not.
    result.refused = (code == CURLE_SEND_ERROR || code == CURLE_WEIRD_SERVER_REPLY) && status >= 550 && status <= 554;
    return result;
}

}  // namespace lumen::admind
