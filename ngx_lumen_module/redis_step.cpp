#include "ngx_lumen_module/redis_step.h"

#include <utility>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"

namespace lumen {
namespace {

/// The request goes on in the middle of nginx's event loop: what nginx does around its own handlers is done here.
template <typename Continue>
void go_on(Request& request, Continue&& step) noexcept {
    ngx_http_request_t* r = request.r;
    ngx_connection_t* connection = r->connection;
    ngx_http_set_log_request(connection->log, r);
    const bool done = guarded(connection->log, "answer of Redis", false, [&] {
        step();
        return true;
    });
    // What threw has not ended the request: ending it is the last thing any step does.
    if (!done) ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
    ngx_http_run_posted_requests(connection);  // r may be gone
}

void on_answer(void* owner, RedisResult result, std::string_view text) {
    auto& request = *static_cast<Request*>(owner);
    request.call = nullptr;
    if (result == RedisResult::error) {
        ngx_log_error(NGX_LOG_ERR, request.r->connection->log, 0, "lumen: Redis refused a call: %*s", text.size(),
                      text.data());
    }
    go_on(request, [&] { std::exchange(request.answer, nullptr)(request, result, text); });
}

void on_catalogue(void* owner) {
    auto& request = *static_cast<Request*>(owner);
    go_on(request, [&] { std::exchange(request.next, nullptr)(request); });
}

bool expect(Request& request, RedisCall* call, Answer answer) noexcept {
    request.call = call;
    request.answer = answer;
    return call != nullptr;
}

}  // namespace

bool ask_redis(Request& request, ScriptCall& call, Answer answer) {
    const ngx_msec_t timeout_ms = main_conf(request.r)->redis_timeout_ms;
    return expect(request, redis_send(RedisLane::requests, call, timeout_ms, on_answer, &request), answer);
}

bool ask_redis(Request& request, const std::vector<std::string_view>& command, Answer answer) {
    const ngx_msec_t timeout_ms = main_conf(request.r)->redis_timeout_ms;
    return expect(request,
                  redis_command(RedisLane::requests, command.data(), static_cast<int>(command.size()), timeout_ms,
                                on_answer, &request),
                  answer);
}

bool ask_admission(Request& request, const AdmitArguments& arguments, Answer answer) {
    request.answer = answer;
    return send_admit(request.admit_place, arguments, on_answer, &request);
}

bool ask_catalogue(Request& request, Step again) {
    request.next = again;
    return await_catalogue(request.catalogue_wait, on_catalogue, &request);
}

bool await_start(Request& request, Step then) {
    if (!await_first_catalogue(request.catalogue_wait, on_catalogue, &request)) return false;
    request.next = then;
    return true;
}

}  // namespace lumen
