#include "admind/ledger/redis_settings.h"

#include <charconv>

namespace lumen::admind {

namespace {

struct Setting {
    std::string_view name;
    std::string_view wanted;
    std::string_view reason;
};

constexpr Setting kSettings[] = {
    {"maxmemory-policy", "noeviction", "an evicted wallet is lost money"},
    {"appendonly", "yes", "a restart would lose what was not drained"},
    {"no-appendfsync-on-rewrite", "no", "a rewrite would lose acknowledged settles at power loss"},
    {"repl-backlog-ttl", "0", "the replication id would change when replicas are away for an hour"},
    {"lazyfree-lazy-server-del", "yes", "removing a set of settled ids would stop the server for milliseconds"},
};

std::string value_of(RedisLink& redis, std::string_view name) {
    const RedisReply reply = redis.command({"CONFIG", "GET", name});
    return reply->elements == 2 ? std::string(reply_text(reply->element[1])) : std::string();
}

std::string sentence(const Setting& setting, const std::string& found) {
    return "redis: set " + std::string(setting.name) + " " + std::string(setting.wanted) + " (it is " + found +
           "): " + std::string(setting.reason);
}

}  // namespace

std::vector<std::string> check_redis_settings(RedisLink& redis) {
    std::vector<std::string> findings;
    for (const Setting& setting : kSettings) {
        const std::string found = value_of(redis, setting.name);
        if (found != setting.wanted) findings.push_back(sentence(setting, found));
    }
    const std::string fsync = value_of(redis, "appendfsync");
    if (fsync != "always" && fsync != "everysec") {
        findings.push_back(sentence({"appendfsync", "always", "settled requests would be lost at power loss"}, fsync));
    }
    const RedisReply info = redis.command({"INFO", "replication"});
    const bool has_replicas = reply_text(info.get()).find("\nconnected_slaves:0") == std::string_view::npos;
    if (has_replicas && value_of(redis, "min-replicas-to-write") == "0") {
        findings.push_back(sentence(
            {"min-replicas-to-write", "1", "a master that lost its replicas would take writes nobody else has"}, "0"));
    }
    return findings;
}

}  // namespace lumen::admind
