// Who is calling: an operator by Bearer token, or a person by session cookie (spec/rest.md §1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "admind/people/operator_tokens.h"
#include "admind/services.h"
#include "admind/text/http_message.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

enum class CallerKind : std::uint8_t { nobody, user, token };

struct Caller {
    CallerKind kind = CallerKind::nobody;
    // of a user
    std::int64_t user = 0;
    AccountId account = 0;
    std::string email;
    std::string name;
    bool is_admin = false;
    std::int64_t session_expires_ms = 0;
    // of an operator
    std::int64_t token = 0;
    OperatorScope scope = OperatorScope::read;

    /// "user:3" or "token:1": in the audit log, as actor of grants, and in front of idempotency keys.
    std::string label() const;
};

/// A route's column "Who": P, U, A and X of spec/rest.md; `member` is for M and O, whom only the handler can tell: any
/// person, and operators as administrators. A visitor may be anyone, and is known if signed in.
enum class Who : std::uint8_t { anyone, visitor, user, member, admin, token_admin };

struct CallerResult {
    Caller caller;
    std::optional<Problem> refusal;
};
/// Throws DatabaseUnavailable, RedisUnavailable.
CallerResult identify(const Services& services, const Settings& settings, const HttpRequest& request);

/// May this caller use a route of that kind? `unsafe`: not GET.
std::optional<Problem> authorise(const Caller& caller, Who who, bool unsafe);

/// B20: unsafe requests by cookie must come from our own pages.
bool same_origin(const HttpRequest& request, const std::string& public_url);

}  // namespace lumen::admind
