#include "ngx_lumen_module/form_body.h"

#include <optional>
#include <utility>

#include "ngx_lumen_module/guard.h"

namespace lumen {

/// Ends with its request, and takes its place in nginx's queue along.
struct FormReading {
    std::string boundary;
    std::optional<FormReader> reader;
    ngx_event_t turn{};
    FormReading() = default;
    FormReading(const FormReading&) = delete;
    FormReading& operator=(const FormReading&) = delete;
    ~FormReading() {
        if (turn.posted) {
            ngx_delete_posted_event(&turn);
        }
    }
};

namespace {

/// About a millisecond of searching.
constexpr std::size_t kSliceBytes = std::size_t{2} * 1024 * 1024;

void read_slice(Request& request) {
    FormReading& form = *request.form;
    if (form.reader->read(kSliceBytes)) return std::exchange(request.next, nullptr)(request);
    ngx_post_event(&form.turn, &ngx_posted_next_events);
}

void on_turn(ngx_event_t* event) noexcept {
    auto& request = *static_cast<Request*>(event->data);
    ngx_http_request_t* r = request.r;
    ngx_connection_t* connection = r->connection;
    ngx_http_set_log_request(connection->log, r);
    const bool done = guarded(connection->log, "form", false, [&] {
        read_slice(request);
        return true;
    });
    if (!done) ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
    ngx_http_run_posted_requests(connection);  // r may be gone
}

}  // namespace

void expect_form(Request& request, std::string boundary) {
    request.form = std::make_shared<FormReading>();
    request.form->boundary = std::move(boundary);
}

void read_form(Request& request, Step next) {
    FormReading& form = *request.form;
    request.next = next;
    form.reader.emplace(request.body, form.boundary);
    form.turn.handler = on_turn;
    form.turn.data = &request;
    form.turn.log = request.r->connection->log;
    read_slice(request);
}

FactsResult form_result(Request& request) {
    return std::move(*request.form->reader).result();
}

}  // namespace lumen
