#include "admind/people/outgoing_fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

#include "admind/settings/settings_values.h"

namespace lumen::admind {

namespace {

using Clock = std::chrono::steady_clock;
using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

struct Block {
    std::uint32_t network;
    int bits;
};
/// IANA's special-purpose registry for IPv4 (RFC 6890 and later): nothing in it is a public host.
constexpr std::array<Block, 15> kSpecialBlocks{{{0x00000000, 8},
                                                {0x0A000000, 8},
                                                {0x64400000, 10},
                                                {0x7F000000, 8},
                                                {0xA9FE0000, 16},
                                                {0xAC100000, 12},
                                                {0xC0000000, 24},
                                                {0xC0000200, 24},
                                                {0xC0586300, 24},
                                                {0xC0A80000, 16},
                                                {0xC6120000, 15},
                                                {0xC6336400, 24},
                                                {0xCB007100, 24},
                                                {0xE0000000, 4},
                                                {0xF0000000, 4}}};

bool is_public_v4(std::uint32_t address) {
    return std::none_of(kSpecialBlocks.begin(), kSpecialBlocks.end(), [&](const Block& block) {
        return (address >> (32 - block.bits)) == (block.network >> (32 - block.bits));
    });
}

bool is_public_v6(const in6_addr& address) {
    const unsigned char* byte = address.s6_addr;
    // Only 2000::/3 is given out; in it, 2001::/23 (protocols), 2001:db8::/32 (documentation) and 2002::/16 (6to4,
    // which carries any IPv4 address) are nobody's host.
    if ((byte[0] & 0xE0) != 0x20) return false;
    if (byte[0] == 0x20 && byte[1] == 0x01 && (byte[2] < 0x02 || (byte[2] == 0x0d && byte[3] == 0xb8))) return false;
    return !(byte[0] == 0x20 && byte[1] == 0x02);
}

bool is_public(const sockaddr& address) {
    if (address.sa_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof v4);
        return is_public_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address.sa_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof v6);
        return is_public_v6(v6.sin6_addr);
    }
    return false;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

bool host_allowed(const std::string& host, const FetchRules& rules) {
    return std::any_of(rules.hosts.begin(), rules.hosts.end(), [&](const std::string& allowed) {
        if (allowed.empty() || allowed.front() != '.') return host == allowed;
        return host.size() > allowed.size() && host.compare(host.size() - allowed.size(), allowed.size(), allowed) == 0;
    });
}

/// Empty: it may be asked.
std::string why_not(const std::string& url, const FetchRules& rules) {
    // A query is no part of what is judged, and parse_web_url takes none.
    const auto parsed = parse_web_url(url.substr(0, url.find('?')));
    if (!parsed) return "not an http or https URL";
    if (!parsed->https && rules.schemes == FetchRules::Schemes::https_only) return "not https";
    if (!host_allowed(lower(parsed->host), rules)) return "host not allowed";
    return "";
}

/// One exchange, and what curl's callbacks find out on the way.
struct Exchange {
    const FetchRules* rules = nullptr;
    Fetched fetched;
    std::string location;
    bool address_refused = false;
    bool too_large = false;
};

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* user) {
    auto& exchange = *static_cast<Exchange*>(user);
    const std::size_t bytes = size * count;
    if (exchange.fetched.body.size() + bytes > exchange.rules->most_bytes) {
        exchange.too_large = true;
        return 0;
    }
    exchange.fetched.body.append(data, bytes);
    return bytes;
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* user) {
    auto& exchange = *static_cast<Exchange*>(user);
    const std::string_view line(data, size * count);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return line.size();
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' ')) {
        value.remove_suffix(1);
    }
    const std::string name = lower(std::string(line.substr(0, colon)));
    if (name == "location") exchange.location = value;
    if (name == "content-type") exchange.fetched.content_type = value;
    if (name == "cache-control") exchange.fetched.cache_control = value;
    return line.size();
}

/// Judges the very address that is about to be connected to: a name server cannot say one thing and mean another.
curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* address) {
    auto& exchange = *static_cast<Exchange*>(user);
    if (exchange.rules->addresses == FetchRules::Addresses::public_only && !is_public(address->addr)) {
        exchange.address_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

HeaderList header_list(const FetchRequest& request) {
    HeaderList list(nullptr, curl_slist_free_all);
    for (const auto& [name, value] : request.headers) {
        curl_slist* longer = curl_slist_append(list.get(), (name + ": " + value).c_str());
        if (longer == nullptr) break;
        list.release();
        list.reset(longer);
    }
    return list;
}

Exchange exchange_once(const FetchRequest& request, const FetchRules& rules, std::chrono::milliseconds left) {
    Exchange exchange;
    exchange.rules = &rules;
    const Easy owner(curl_easy_init(), curl_easy_cleanup);
    CURL* easy = owner.get();
    if (easy == nullptr) {
        exchange.fetched.error = "curl cannot start";
        return exchange;
    }
    const HeaderList headers = header_list(request);
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, left.count())));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "lumen-admind");
    if (headers) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
    if (const auto& posted = request.form ? request.form : request.body; posted) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(posted->size()));
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, posted->c_str());
    }
    const CURLcode result = curl_easy_perform(easy);
    if (result == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &exchange.fetched.status);
    } else if (exchange.address_refused) {
        exchange.fetched.error = "address not public";
    } else if (exchange.too_large) {
        exchange.fetched.error = "larger than " + std::to_string(rules.most_bytes) + " bytes";
    } else {
        exchange.fetched.error = curl_easy_strerror(result);
    }
    if (exchange.fetched.status == 0) exchange.fetched.body.clear();
    return exchange;
}

/// The redirect's target as an absolute URL; empty when it has none that can be followed.
std::string absolute(const std::string& base, const std::string& location) {
    if (location.find("://") != std::string::npos) return location;
    if (location.size() < 2 || location[0] != '/' || location[1] == '/') return "";
    return base.substr(0, base.find('/', base.find("://") + 3)) + location;
}

Fetched refused(std::string why) {
    Fetched fetched;
    fetched.error = std::move(why);
    return fetched;
}

bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

bool is_public_address(std::string_view address) {
    const std::string text(address);
    in_addr v4{};
    if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return is_public_v4(ntohl(v4.s_addr));
    in6_addr v6{};
    return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && is_public_v6(v6);
}

Fetched fetch(const FetchRequest& request, const FetchRules& rules) {
    const auto deadline = Clock::now() + rules.timeout;
    FetchRequest now = request;
    for (int redirects = 0;; ++redirects) {
        if (std::string why = why_not(now.url, rules); !why.empty()) return refused(std::move(why));
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) return refused("took too long");
        Exchange exchange = exchange_once(now, rules, left);
        if (!is_redirect(exchange.fetched.status) || rules.most_redirects == 0) return std::move(exchange.fetched);
        if (redirects == rules.most_redirects) return refused("too many redirects");
        const std::string next = absolute(now.url, exchange.location);
        if (next.empty()) return refused("redirected to nowhere");
        // Credentials and forms were meant for the first host only.
        now = FetchRequest{next, {}, std::nullopt, std::nullopt};
    }
}

}  // namespace lumen::admind
