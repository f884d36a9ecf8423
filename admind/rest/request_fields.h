// Reads the members of a request body, strictly: each with its type and bounds, and none that the route does not know.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admind/text/http_message.h"
#include "lumen_core/money.h"

namespace lumen::admind {

enum class Need : std::uint8_t { required, optional };

class RequestFields {
 public:
    /// `body` must outlive this. Anything but an object is an error of the whole body.
    explicit RequestFields(const Json& body);

    /// Trimmed; no control characters; 1 to `most` characters (not bytes).
    std::optional<std::string> text(const char* name, Need need, std::size_t most);
    std::optional<std::string> email(const char* name, Need need);
    std::optional<std::int64_t> integer(const char* name, Need need, std::int64_t least, std::int64_t most);
    std::optional<bool> boolean(const char* name, Need need);
    /// Exact text ("12.45") or a whole number; 0 or more, or with `signed_amount` any.
    enum class Sign : std::uint8_t { not_negative, any };
    std::optional<NanoCoins> coins(const char* name, Need need, Sign sign = Sign::not_negative);
    std::optional<std::string> word(const char* name, Need need, const std::vector<std::string>& allowed);
    /// A time in the future, as Unix ms.
    std::optional<std::int64_t> future_time(const char* name, Need need, std::int64_t now_ms);
    std::vector<std::string> texts(const char* name, std::size_t most_items, std::size_t most);
    /// The member as an object for a reader of its own; null if absent.
    const Json* object(const char* name);

    /// Is the member there, be it as null? In a change, null takes back what was set.
    bool given(const char* name) const;

    void error(std::string path, std::string code, std::string message);
    /// Errors of a reader of a member are ours, below its name.
    void take_errors(const char* name, RequestFields& inner);
    /// 422 with everything that was wrong, unknown members included; nullopt if nothing was.
    std::optional<Problem> refusal();

 private:
    const Json* find(const char* name, Need need);
    void note_unknown();

    const Json& body_;
    std::set<std::string> known_;
    std::vector<FieldError> errors_;
};

}  // namespace lumen::admind
