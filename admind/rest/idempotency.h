// Idempotency-Key: a repeated request gets the first one's answer, and does nothing again (spec/rest.md §1, $).
#pragma once

#include <functional>

#include "admind/stores/pg_pool.h"
#include "admind/text/http_message.h"

namespace lumen::admind {

/// Runs `work` unless an answer is stored for (caller, route, key). Answers of 5xx are not stored: their repeat works
/// again, which is safe because the work itself is idempotent under the same key (I13). Throws DatabaseUnavailable.
Answer once(PgPool& postgres, const HttpRequest& request, const std::string& caller, const std::string& route,
            const std::function<Answer()>& work);

/// In money_ops for ever: the name under which one request moves money once.
std::string money_key(const std::string& caller, const std::string& route, const HttpRequest& request);

}  // namespace lumen::admind
