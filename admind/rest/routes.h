// Every route in one table, and the way from a request to its handler: who calls, may they, is the request well-formed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "admind/rest/callers.h"
#include "admind/services.h"
#include "admind/text/http_message.h"

namespace lumen::admind {

/// What a handler gets; all of it lives until it returns.
struct Call {
    const Services& services;
    const Settings& settings;  ///< one snapshot for the whole request
    const HttpRequest& http;
    const Caller& caller;
    const std::vector<std::string>& path;  ///< what stood for each {…} of the pattern, in order
    const Json& body;                      ///< null when there was none

    std::optional<std::int64_t> path_id(std::size_t index) const { return parse_id(path.at(index)); }
};
using Handler = Answer (*)(const Call&);

/// What a route asks of a request beyond its caller.
enum class Demand : std::uint8_t {
    nothing,
    if_match,         ///< 428 without; the handler compares
    idempotency_key,  ///< $: 400 without; repeats get the stored answer
};

struct Route {
    std::string_view method;
    std::string_view pattern;
    Who who;
    Handler handler;
    Demand demand = Demand::nothing;
};
const std::vector<Route>& routes();

struct FoundRoute {
    const Route* route = nullptr;
    std::vector<std::string> captures;  ///< decoded
    std::string allowed;                ///< methods of the path, when none fits
};
/// A pattern that ends in `{name}` takes the rest of the path, as names of models may hold `/`; one that names more of
/// the path goes first.
FoundRoute find_route(std::string_view method, std::string_view path);

/// Never throws: what goes wrong inside is 503 (a store is away) or 500, with the reason in the log.
HttpAnswer answer_request(const Services& services, const HttpRequest& request) noexcept;

/// RFC 9110 §13.1.1 for our strong tags: `*`, or a list that holds `etag`.
bool if_match(const HttpRequest& request, std::string_view etag);

/// A strong tag of what is shown: the same exactly while the representation is.
std::string content_etag(const Json& body);

inline Problem not_found() {
    return {404, "not_found", "There is no such thing, or it is not yours."};
}
inline Problem changed_meanwhile() {
    return {412, "precondition_failed", "It has changed since you read it. Read it again, then repeat."};
}
inline Problem not_yet_in_force() {
    return {503, "redis_unavailable", "It is recorded, but not yet in force: Redis is away. It follows by itself."};
}

}  // namespace lumen::admind
