// Where Redis is, as lumen.yaml and LUMEN_REDIS_URL say it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lumen::admind {

struct RedisAddress {
    std::string socket_path;  ///< unix socket; else host and port
    std::string host = "127.0.0.1";
    int port = 6379;
    std::string user;
    std::string password;
    std::string database;
    /// Nodes that are asked for the others: not empty for a Redis Cluster. They have this one's credentials.
    std::vector<RedisAddress> nodes;

    bool clustered() const noexcept { return !nodes.empty(); }
    /// For messages, without credentials: `host:port` or the socket's path.
    std::string text() const;
};

/// redis://[user:password@]host:port/db, unix:///path (or unix:/path), or redis+cluster://[user:password@]host:port,…
/// Throws std::invalid_argument.
RedisAddress parse_redis_url(std::string_view url);

}  // namespace lumen::admind
