#include "admind/stores/redis_address.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace lumen::admind {

namespace {

[[noreturn]] void bad_url(const char* reason) {
    throw std::invalid_argument(std::string("redis.url: ") + reason);
}

std::string percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        if (text[i] == '%' && i + 2 < text.size() &&
            std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
            decoded += static_cast<char>(value);
            i += 2;
        } else {
            decoded += text[i];
        }
    }
    return decoded;
}

/// Takes `user:password@` (or `password@`, or `:password@`) off the front.
std::string_view take_credentials(std::string_view rest, RedisAddress& address) {
    const std::size_t at = rest.rfind('@');
    if (at == std::string_view::npos) return rest;
    const std::string_view credentials = rest.substr(0, at);
    const std::size_t colon = credentials.find(':');
    if (colon == std::string_view::npos) {
        address.password = percent_decoded(credentials);
    } else {
        address.user = percent_decoded(credentials.substr(0, colon));
        address.password = percent_decoded(credentials.substr(colon + 1));
    }
    return rest.substr(at + 1);
}

void take_host_and_port(std::string_view authority, RedisAddress& address) {
    std::size_t colon = authority.rfind(':');
    if (!authority.empty() && authority.front() == '[') {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) bad_url("`[` without `]`");
        address.host = std::string(authority.substr(1, end - 1));
        if (colon < end) colon = std::string_view::npos;
    } else {
        address.host = std::string(authority.substr(0, colon));
    }
    if (address.host.empty()) address.host = "127.0.0.1";
    if (colon == std::string_view::npos) return;
    const std::string_view port = authority.substr(colon + 1);
    const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) bad_url("the port is not a number");
}

/// `host:port,host:port`; `like` has the credentials.
std::vector<RedisAddress> cluster_nodes(std::string_view list, const RedisAddress& like) {
    std::vector<RedisAddress> nodes;
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        RedisAddress node = like;
        take_host_and_port(list.substr(0, comma), node);
        nodes.push_back(std::move(node));
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    if (nodes.empty()) bad_url("redis+cluster:// needs at least one host:port");
    return nodes;
}

}  // namespace

std::string RedisAddress::text() const {
    if (!socket_path.empty()) return socket_path;
    return (host.find(':') == std::string::npos ? host : '[' + host + ']') + ':' + std::to_string(port);
}

RedisAddress parse_redis_url(std::string_view url) {
    RedisAddress address;
    if (url.substr(0, 5) == "unix:") {
        url.remove_prefix(5);
        if (url.substr(0, 2) == "//") url.remove_prefix(2);
        url = take_credentials(url, address);
        const std::size_t query = url.find("?db=");
        if (query != std::string_view::npos) address.database = std::string(url.substr(query + 4));
        address.socket_path = std::string(url.substr(0, query));
        if (address.socket_path.empty() || address.socket_path.front() != '/') bad_url("unix: needs an absolute path");
        return address;
    }
    constexpr std::string_view kCluster = "redis+cluster://";
    if (url.substr(0, kCluster.size()) == kCluster) {
        url.remove_prefix(kCluster.size());
        url = take_credentials(url, address);
        const std::size_t slash = url.find('/');
        if (slash != std::string_view::npos && url.substr(slash) != "/" && url.substr(slash) != "/0") {
            bad_url("a Redis Cluster has the database 0 only");
        }
        address.nodes = cluster_nodes(url.substr(0, slash), address);
        return address;
    }
    if (url.substr(0, 8) != "redis://") bad_url("must be redis://…, redis+cluster://… or unix:/…");
    url.remove_prefix(8);
    const std::size_t slash = url.find('/');
    if (slash != std::string_view::npos) address.database = std::string(url.substr(slash + 1));
    take_host_and_port(take_credentials(url.substr(0, slash), address), address);
    return address;
}

}  // namespace lumen::admind
