// One question of a request to Redis, and how the request goes on with the answer.
#pragma once

#include <vector>

#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/request.h"

namespace lumen {

/// Sends the script; `answer` is called once, unless the request ends before. false: Redis is away or too far behind,
/// nothing was sent, and `answer` is not called.
bool ask_redis(Request& request, ScriptCall& call, Answer answer);
/// As a call of its own to the request, whatever else is asked for in this turn; `answer` may be told `not_sent`.
bool ask_admission(Request& request, const AdmitArguments& arguments, Answer answer);
bool ask_redis(Request& request, const std::vector<std::string_view>& command, Answer answer);

/// Looks the catalogue up once more, then does `again`. false: as above.
bool ask_catalogue(Request& request, Step again);

/// In a worker that has just begun: does `then` once the first catalogue has come, or did not in time. false: it is
/// past that, `then` is not called.
bool await_start(Request& request, Step then);

}  // namespace lumen
