// Answers that are not streams: JSON held until its cost is known, JSON too long for that, and errors of endpoints.
#include "lumen_core/api_error.h"
#include "ngx_lumen_module/answer_forms.h"
#include "ngx_lumen_module/answer_header.h"
#include "ngx_lumen_module/answer_metering.h"
#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/client_abort.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/usage_filter.h"

namespace lumen {
namespace {

/// As much of an endpoint's error as is looked at for its message.
constexpr std::size_t kMaxErrorBodyBytes = 64 * 1024;

/// Header and `held`, and if `last` the end of the answer.
ngx_int_t send_held(Request& request, bool last) {
    AnswerState& answer = *request.metering.answer;
    ngx_http_request_t* r = request.r;
    if (last) answer.ended = true;
    if (request.metering.client_gone) return NGX_OK;
    answer.header_sent = true;
    const ngx_int_t rc = next_filters().header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) return rc;
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (buf == nullptr) return NGX_ERROR;
    // `held` is not touched any more, and lives as long as the request.
    buf->start = buf->pos = reinterpret_cast<u_char*>(answer.held.data());
    buf->end = buf->last = buf->pos + answer.held.size();
    buf->memory = answer.held.empty() ? 0 : 1;
    buf->flush = 1;
    buf->last_buf = last ? 1 : 0;
    ngx_chain_t out{buf, nullptr};
    return next_filters().body(r, &out);
}

ngx_int_t send_refusal_instead(Request& request, Refusal refusal, const RefusalDetails& details = {}) {
    AnswerState& answer = *request.metering.answer;
    request.refusal = refusal;
    count_refusal(refusal);
    answer.held = error_body(request.dialect, refusal, details);
    make_refusal_header(request, refusal, answer.held.size());
    settle_request(request);  // after the header: its status is what the ledger says the client got
    return send_held(request, true);
}

/// The answer broke off before the client got anything of it: it gets an error, and pays nothing.
ngx_int_t give_up_held(Request& request) {
    forget_usage(request);
    const Refusal stopped_by = request.metering.stopped_by;
    if (stopped_by == Refusal::none && !request.metering.client_gone) {
        count_interrupted(InterruptedBy::upstream);
        endpoint_broke_off(request);
    }
    return send_refusal_instead(request, stopped_by != Refusal::none ? stopped_by : Refusal::upstream_error);
}

/// An error under the status of a success: nothing was produced, and the words may give away what is behind the gate.
ngx_int_t tell_disguised_error(Request& request) {
    forget_usage(request);
    endpoint_broke_off(request);
    RefusalDetails details;
    details.message = upstream_error_message(request.metering.answer->held);
    return send_refusal_instead(request, Refusal::upstream_error, details);
}

bool is_disguised_error(const AnswerState& answer) {
    const bool says_nothing = answer.json->usage_object().empty() && answer.json->output_text_bytes() == 0;
    return says_nothing && is_error_answer(answer.held);
}

ngx_int_t finish_held(Request& request) {
    AnswerState& answer = *request.metering.answer;
    if (answer.json && !answer.json->whole()) return give_up_held(request);
    if (answer.json && is_disguised_error(answer)) return tell_disguised_error(request);
    if (answer.json) {
        meter_json(request, *answer.json);
    } else {
        meter_unread(request);
    }
    request.metering.complete = true;
    const bool priced = request.stage == Stage::running;
    settle_request(request);
    if (priced) add_header(request.r, "x-lumen-cost", format_coins_fixed(request.cost));
    set_content_length(request.r, static_cast<off_t>(answer.held.size()));
    return send_held(request, true);
}

/// Longer than may be held: what was kept goes out, the rest is read while it passes.
ngx_int_t let_pass(Request& request) {
    AnswerState& answer = *request.metering.answer;
    answer.form = answer.json ? AnswerForm::long_json : AnswerForm::opaque;
    return send_held(request, false);
}

ngx_int_t finish_refusal(Request& request) {
    AnswerState& answer = *request.metering.answer;
    ngx_http_request_t* r = request.r;
    const int status = static_cast<int>(r->headers_out.status);
    settle_request(request);
    answer.held = normalised_upstream_error(request.dialect, status, answer.held);
    set_json_content_type(r);
    r->headers_out.content_encoding = nullptr;
    set_content_length(r, static_cast<off_t>(answer.held.size()));
    return send_held(request, true);
}

ngx_int_t pass_on(Request& request, ngx_chain_t* in) {
    if (!request.metering.client_gone) {
        const ngx_int_t rc = next_filters().body(request.r, in);
        if (rc != NGX_ERROR) return rc;
        begin_drain(request);
    }
    for (; in != nullptr; in = in->next) consume(*in->buf);
    return NGX_OK;
}

/// An answer that passes was cut. Its header is out, so only the missing end can tell the client.
ngx_int_t cut_off(Request& request) {
    if (request.metering.stopped_by == Refusal::none && !request.metering.client_gone) {
        count_interrupted(InterruptedBy::upstream);
        endpoint_broke_off(request);
    }
    settle_request(request);
    return NGX_ERROR;
}

}  // namespace

ngx_int_t pass_held(Request& request, ngx_chain_t* in) {
    AnswerState& answer = *request.metering.answer;
    for (; in != nullptr; in = in->next) {
        ngx_buf_t& buf = *in->buf;
        const std::string_view bytes = bytes_of(buf);
        if (answer.json) {
            answer.json->feed(bytes);
        } else {
            request.metering.output_bytes += bytes.size();
        }
        answer.held += bytes;
        const bool last = buf.last_buf != 0;
        const bool cut = bytes.empty() && upstream_was_cut(request, buf);
        consume(buf);
        if (cut) return give_up_held(request);
        if (last) return finish_held(request);
        if (answer.held.size() > kMaxMeteredJsonBytes) {
            const ngx_int_t rc = let_pass(request);
            if (rc == NGX_ERROR || rc > NGX_OK || in->next == nullptr) return rc;
            return answer.json ? pass_long_json(request, in->next) : pass_opaque(request, in->next);
        }
    }
    return NGX_OK;
}

ngx_int_t pass_long_json(Request& request, ngx_chain_t* in) {
    AnswerState& answer = *request.metering.answer;
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        const std::string_view bytes = bytes_of(*link->buf);
        answer.json->feed(bytes);
        if (bytes.empty() && upstream_was_cut(request, *link->buf)) {
            meter_json(request, *answer.json);
            return cut_off(request);
        }
        if (!link->buf->last_buf) continue;
        meter_json(request, *answer.json);
        request.metering.complete = true;
        settle_request(request);
        answer.ended = true;
    }
    return pass_on(request, in);
}

ngx_int_t pass_opaque(Request& request, ngx_chain_t* in) {
    Metering& metering = request.metering;
    for (ngx_chain_t* link = in; link != nullptr; link = link->next) {
        metering.output_bytes += bytes_of(*link->buf).size();
        const bool cut = bytes_of(*link->buf).empty() && upstream_was_cut(request, *link->buf);
        if (!cut && !link->buf->last_buf) continue;
        meter_unread(request);
        if (cut) {
            // How much of a sound is missing can't be told: none of it is charged.
            if (request.operation == Operation::audio_speech) forget_usage(request);
            return cut_off(request);
        }
        metering.complete = true;
        settle_request(request);
        metering.answer->ended = true;
    }
    return pass_on(request, in);
}

ngx_int_t pass_refusal(Request& request, ngx_chain_t* in) {
    AnswerState& answer = *request.metering.answer;
    for (; in != nullptr; in = in->next) {
        ngx_buf_t& buf = *in->buf;
        const std::string_view bytes = bytes_of(buf);
        if (!answer.ended && answer.held.size() + bytes.size() <= kMaxErrorBodyBytes) answer.held += bytes;
        const bool last = buf.last_buf != 0 || (bytes.empty() && upstream_was_cut(request, buf));
        if (buf.last_buf) request.metering.complete = true;
        consume(buf);
        if (!last || answer.ended) continue;
        const Refusal refusal = request.refusal;
        return refusal == Refusal::none ? finish_refusal(request) : send_refusal_instead(request, refusal);
    }
    return NGX_OK;
}

}  // namespace lumen
