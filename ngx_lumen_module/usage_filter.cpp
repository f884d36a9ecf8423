#include "ngx_lumen_module/usage_filter.h"

#include <algorithm>

#include "ngx_lumen_module/answer_forms.h"
#include "ngx_lumen_module/answer_header.h"
#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/upstream_body.h"

namespace lumen {
namespace {

constexpr ngx_uint_t kUnprocessable = 422;     // nginx has no name for it
constexpr ngx_uint_t kOverloadedStatus = 529;  // Anthropic's

bool starts_with(const ngx_str_t& text, std::string_view prefix) noexcept {
    return text.len >= prefix.size() &&
           ngx_strncasecmp(text.data, reinterpret_cast<u_char*>(const_cast<char*>(prefix.data())), prefix.size()) == 0;
}

/// The header in hand is an endpoint's, and not that of an error page after the endpoints failed (T50).
bool comes_from_endpoint(const ngx_http_request_t* r) noexcept {
    return r->upstream != nullptr && r->upstream->peer.connection != nullptr && r->err_status == 0;
}

/// What a status that is not a success becomes for the client (spec/api.md §2); none: the status itself is passed on.
Refusal refusal_of_upstream(ngx_uint_t status) noexcept {
    switch (status) {
        case NGX_HTTP_UNAUTHORIZED:
        case NGX_HTTP_FORBIDDEN:
            return Refusal::upstream_auth_failed;
        case NGX_HTTP_TOO_MANY_REQUESTS:
        case NGX_HTTP_SERVICE_UNAVAILABLE:
        case kOverloadedStatus:
            return Refusal::overloaded;
        case NGX_HTTP_GATEWAY_TIME_OUT:
            return Refusal::upstream_timeout;
        // What a caller can mend in its request, or may repeat. Other words of an endpoint are between it and us: its
        // 402 is about our account there, and no caller must take it for its own.
        case NGX_HTTP_BAD_REQUEST:
        case NGX_HTTP_NOT_FOUND:
        case NGX_HTTP_REQUEST_TIME_OUT:
        case NGX_HTTP_CONFLICT:
        case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        case kUnprocessable:
            return Refusal::none;
        default:
            return Refusal::upstream_error;
    }
}

bool is_compressed(const ngx_http_request_t* r) noexcept {
    const ngx_table_elt_t* encoding = r->headers_out.content_encoding;
    return encoding != nullptr && encoding->value.len > 0 && view(encoding->value) != "identity";
}

AnswerForm form_of(const ngx_http_request_t* r, Operation operation) noexcept {
    if (r->headers_out.status / 100 != 2) return AnswerForm::refusal;
    if (is_compressed(r)) return AnswerForm::opaque;  // unasked (T45)
    if (starts_with(r->headers_out.content_type, "text/event-stream")) {
        return traits_of(operation).streams ? AnswerForm::stream : AnswerForm::opaque;
    }
    if (operation == Operation::audio_speech) return AnswerForm::opaque;  // sound: to be heard at once
    // A transcript may be plain text, with or without times.
    const bool is_text = reads_audio(operation) && !starts_with(r->headers_out.content_type, "application/json");
    if (is_text) return AnswerForm::held_text;
    const bool too_long = r->headers_out.content_length_n > static_cast<off_t>(kMaxMeteredJsonBytes);
    return too_long ? AnswerForm::long_json : AnswerForm::held_json;
}

void begin_answer(Request& request, AnswerForm form) {
    Metering& metering = request.metering;
    metering.answer = make_in_pool<AnswerState>(request.r->pool);
    metering.answer->form = form;
    metering.answer_began = true;
    metering.streaming = form == AnswerForm::stream;
    switch (form) {
        case AnswerForm::stream:
            metering.stream = make_in_pool<StreamMeter>(request.r->pool, request.operation, !request.facts.wants_usage);
            set_content_length(request.r, -1);
            break;
        case AnswerForm::held_json:
            if (const off_t bytes = request.r->headers_out.content_length_n; bytes > 0) {
                metering.answer->held.reserve(static_cast<std::size_t>(bytes));  // at most kMaxMeteredJsonBytes
            }
            [[fallthrough]];
        case AnswerForm::long_json:
            metering.answer->json.emplace(request.operation);
            [[fallthrough]];
        default:
            request.first_byte_us = monotonic_us();
    }
}

ngx_int_t take_header(Request& request) {
    ngx_http_request_t* r = request.r;
    const ngx_uint_t status = r->upstream->headers_in.status_n;
    if (status == 0) {
        // Bytes that are no HTTP: nginx takes them for HTTP/0.9 and would pass them on as they are.
        r->http_version = static_cast<ngx_uint_t>(r->http_major * 1000 + r->http_minor);
        r->headers_out.status = NGX_HTTP_BAD_GATEWAY;
    }
    request.metering.upstream_status = static_cast<std::uint16_t>(status);
    endpoint_answered(request, status);
    const AnswerForm form = form_of(r, request.operation);
    begin_answer(request, form);
    watch_body(request);
    drop_upstream_headers(r);
    add_answer_headers(request);
    r->main_filter_need_in_memory = 1;
    if (form == AnswerForm::refusal) request.refusal = refusal_of_upstream(r->headers_out.status);
    const bool held = form == AnswerForm::held_json || form == AnswerForm::held_text;
    if (form == AnswerForm::refusal || held) return NGX_OK;  // sent with the body (T62)
    request.metering.answer->header_sent = true;
    const ngx_int_t rc = next_filters().header(r);
    request.metering.answer->keeps_connection = r->keepalive != 0;
    return rc;
}

/// nginx's own page after the endpoints failed, already in our words; if we ended the attempt ourselves, say why.
void explain_error_page(Request& request) {
    const Refusal stopped_by = request.metering.stopped_by;
    if (stopped_by != Refusal::none) {
        request.refusal = stopped_by;
        request.error_page = error_body(request.dialect, stopped_by, {});
        make_refusal_header(request, stopped_by, request.error_page.size());
    }
    add_answer_headers(request);
}

ngx_int_t header_filter(ngx_http_request_t* r) noexcept {
    Request* request = r == r->main ? find_request(r) : nullptr;
    const bool ours = request != nullptr && request->routing.attempts > 0 && request->metering.answer == nullptr;
    if (!ours || r->upstream == nullptr) return next_filters().header(r);
    return guarded(r->connection->log, "answer header", ngx_int_t{NGX_ERROR}, [&]() -> ngx_int_t {
        if (comes_from_endpoint(r)) return take_header(*request);
        explain_error_page(*request);
        return next_filters().header(r);
    });
}

ngx_int_t pass_body(Request& request, ngx_chain_t* in) {
    switch (request.metering.answer->form) {
        case AnswerForm::stream:
            return pass_stream(request, in);
        case AnswerForm::held_json:
        case AnswerForm::held_text:
            return pass_held(request, in);
        case AnswerForm::long_json:
            return pass_long_json(request, in);
        case AnswerForm::refusal:
            return pass_refusal(request, in);
        case AnswerForm::opaque:
            break;
    }
    return pass_opaque(request, in);
}

ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in) noexcept {
    Request* request = r == r->main ? find_request(r) : nullptr;
    if (request == nullptr || request->metering.answer == nullptr) return next_filters().body(r, in);
    AnswerState& answer = *request->metering.answer;
    const bool sent = answer.header_sent && answer.ended && answer.form != AnswerForm::stream;
    if (sent || (in == nullptr && answer.form != AnswerForm::stream)) {
        return answer.header_sent ? next_filters().body(r, in) : NGX_OK;
    }
    const ngx_int_t rc =
        guarded(r->connection->log, "answer body", ngx_int_t{NGX_ERROR}, [&] { return pass_body(*request, in); });
    if (request->metering.client_gone && answer.ended) r->connection->error = 1;  // read to its end: nothing to send
    return rc;
}

/// Makes nginx see an error of the endpoint: then it finishes the answer by itself, through our filters (T49).
void end_upstream(ngx_http_request_t* r) noexcept {
    ngx_http_upstream_t* upstream = r->upstream;
    ngx_connection_t* connection = upstream->peer.connection;
    if (!upstream->header_sent) {
        upstream->peer.tries = 0;  // no other endpoint
        connection->read->timedout = 1;
        connection->write->timedout = 1;
        ngx_post_event(connection->read, &ngx_posted_events);
        return;
    }
    connection->read->error = 1;
    upstream->error = 1;
    if (upstream->buffering && upstream->pipe != nullptr) upstream->pipe->upstream_error = 1;
    r->write_event_handler(r);
}

}  // namespace

NextFilters& next_filters() noexcept {
    static NextFilters next{};
    return next;
}

bool upstream_was_cut(const Request& request, const ngx_buf_t& buf) noexcept {
    const ngx_http_upstream_t* upstream = request.r->upstream;
    return buf.flush && !buf.last_buf && ngx_buf_size(&buf) == 0 && upstream != nullptr &&
           upstream->peer.connection == nullptr;
}

std::string_view bytes_of(const ngx_buf_t& buf) noexcept {
    if (!ngx_buf_in_memory(&buf)) return {};
    return {reinterpret_cast<const char*>(buf.pos), static_cast<std::size_t>(buf.last - buf.pos)};
}

ngx_int_t usage_filter_init(ngx_conf_t*) {
    next_filters() = {ngx_http_top_header_filter, ngx_http_top_body_filter};
    ngx_http_top_header_filter = header_filter;
    ngx_http_top_body_filter = body_filter;
    return NGX_OK;
}

bool answer_waits(const Request& request) noexcept {
    return request.metering.answer != nullptr && request.metering.answer->waits;
}

void resume_answer(Request& request) {
    if (!answer_waits(request)) return;
    ngx_http_request_t* r = request.r;
    if (pass_waiting(request) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }
    r->write_event_handler(r);  // nginx may have stopped reading, or be waiting to finish
}

void stop_answer(Request& request, Refusal refusal) {
    ngx_http_request_t* r = request.r;
    if (request.metering.stopped_by != Refusal::none || request.stage != Stage::running || r->upstream == nullptr)
        return;
    request.metering.stopped_by = refusal;
    if (refusal == Refusal::coins_ran_out) count_interrupted(InterruptedBy::coins);
    if (answer_waits(request) && pass_waiting(request) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
    } else if (r->upstream->peer.connection != nullptr) {
        end_upstream(r);
    } else {
        r->write_event_handler(r);  // nginx had only been waiting for us
    }
}

}  // namespace lumen
