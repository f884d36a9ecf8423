// A stream of server-sent events on its way: metered, freed of what we asked for, closed with what it cost.
#include "lumen_core/api_error.h"
#include "ngx_lumen_module/answer_forms.h"
#include "ngx_lumen_module/answer_metering.h"
#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/client_abort.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/settle.h"

namespace lumen {
namespace {

/// r->buffered bit of a filter that is never on /v1 (image_filter): nginx must not end a request whose text waits.
constexpr unsigned kAnswerWaits = 0x08;

void set_waits(Request& request, bool waits) noexcept {
    request.metering.answer->waits = waits;
    if (waits) {
        request.r->buffered |= kAnswerWaits;
    } else {
        request.r->buffered &= static_cast<unsigned char>(~kAnswerWaits & 0x0F);
    }
}

MeteredSoFar metered_so_far(const Metering& metering) noexcept {
    return {metering.usage, metering.source, metering.output_bytes};
}

/// Takes what the meter lets out into `text`, and notes where the closing event begins.
void collect(AnswerState& answer, const StreamOutput& out) {
    for (std::size_t i = 0; i < out.pieces.size(); ++i) {
        if (i == out.closing) answer.closing = answer.text.size();
        answer.text += out.pieces[i];
    }
}

std::string cost_comment(const Request& request) {
    return ": lumen cost=" + format_coins_fixed(request.cost) + " request=" + std::string(request.id.view()) + "\n\n";
}

/// `text` goes out. The closing event is the moment of truth: usage has come before it, so the cost is final.
bool give_out(Request& request, ngx_buf_t* source) {
    AnswerState& answer = *request.metering.answer;
    if (answer.closing != std::string::npos) {
        settle_request(request);
        answer.text.insert(answer.closing, cost_comment(request));
        answer.closing = std::string::npos;
        answer.cost_told = true;
    } else {
        report_progress(request);
    }
    if (!answer.text.empty()) answer.last_byte = answer.text.back();
    const bool added = answer.output.add_text(request.r->pool, answer.text, source);
    answer.text.clear();
    return added;
}

/// Strict: nothing beyond the hold goes out before a larger one is in place.
bool exceeds_hold(const Request& request) noexcept {
    return request.strict && !request.unlimited && !request.metering.client_gone && request.stage == Stage::running &&
           cost_of(request) > request.hold;
}

bool pass_or_wait(Request& request, ngx_buf_t* source) {
    if (!exceeds_hold(request)) return give_out(request, source);
    set_waits(request, true);
    if (source != nullptr) consume(*source);
    report_progress(request);  // asks for the larger hold
    return true;
}

void drop_waiting(Request& request) {
    AnswerState& answer = *request.metering.answer;
    if (!answer.waits) return;
    request.metering.usage = answer.before.usage;
    request.metering.source = answer.before.source;
    request.metering.output_bytes = answer.before.output_bytes;
    answer.text.clear();
    answer.closing = std::string::npos;
    set_waits(request, false);
}

bool add_error_event(Request& request, Refusal refusal) {
    AnswerState& answer = *request.metering.answer;
    std::string event;
    if (answer.last_byte != '\n') event = "\n\n";  // the client must not read it as part of a cut event
    event += error_event(request.dialect, refusal, {});
    request.refusal = refusal;
    return answer.output.add_text(request.r->pool, event, nullptr);
}

/// Without [DONE]: a stream that just ends would look like a success to every SDK (L29).
bool end_badly(Request& request) {
    AnswerState& answer = *request.metering.answer;
    drop_waiting(request);
    const Refusal stopped_by = request.metering.stopped_by;
    if (stopped_by == Refusal::none && !request.metering.client_gone) {
        count_interrupted(InterruptedBy::upstream);
        endpoint_broke_off(request);
    }
    // A picture that is not finished is none: only who does not wait for it pays for what has begun.
    if (request.operation == Operation::images_generations && !request.metering.stream->picture_finished()) {
        forget_usage(request);
    }
    settle_request(request);
    answer.ended = true;
    return add_error_event(request, stopped_by != Refusal::none ? stopped_by : Refusal::upstream_interrupted) &&
           answer.output.add_last(request.r->pool);
}

/// nginx's own buffer may go on, with what is not for the client closed over: what it reads without buffering is nobody
/// else's. Other buffers may belong to a file of its as well.
bool may_pass_in_place(const Request& request, const StreamOutput& out) noexcept {
    return out.in_place && out.closing == StreamOutput::npos && !request.r->upstream->buffering &&
           !exceeds_hold(request);
}

bool pass_in_place(Request& request, ngx_buf_t& buf, const StreamOutput& out) {
    AnswerState& answer = *request.metering.answer;
    report_progress(request);
    if (!out.pieces.empty()) answer.last_byte = out.pieces.back().back();
    return answer.output.add_parts(request.r->pool, buf, out.pieces);
}

bool take_text(Request& request, ngx_buf_t& buf) {
    AnswerState& answer = *request.metering.answer;
    if (request.first_byte_us == 0) request.first_byte_us = monotonic_us();
    if (request.strict) answer.before = metered_so_far(request.metering);
    static StreamOutput out;  // a worker reads one buffer at a time, into memory that it keeps
    request.metering.stream->feed(bytes_of(buf), out);
    meter_stream(request);
    if (may_pass_in_place(request, out)) return pass_in_place(request, buf, out);
    collect(answer, out);
    return pass_or_wait(request, &buf);
}

/// Streams of pictures have no closing event: what they cost is known behind the last one.
bool tell_cost_at_end(Request& request) {
    AnswerState& answer = *request.metering.answer;
    if (answer.cost_told || request.operation != Operation::images_generations || answer.last_byte != '\n') return true;
    return answer.output.add_text(request.r->pool, cost_comment(request), nullptr);
}

bool take_end(Request& request) {
    AnswerState& answer = *request.metering.answer;
    if (!answer.finished_meter) {
        answer.finished_meter = true;
        if (request.strict) answer.before = metered_so_far(request.metering);
        StreamOutput out;
        request.metering.stream->finish(out);
        meter_stream(request);
        collect(answer, out);
        if (!pass_or_wait(request, nullptr)) return false;
        if (answer.waits) return true;
    }
    const StreamMeter& stream = *request.metering.stream;
    if (!stream.done_seen() && !stream.error_seen()) return end_badly(request);
    request.metering.complete = true;
    settle_request(request);
    answer.ended = true;
    return tell_cost_at_end(request) && answer.output.add_last(request.r->pool);
}

bool take_buffer(Request& request, ngx_buf_t& buf) {
    AnswerState& answer = *request.metering.answer;
    if (answer.ended || (request.metering.stopped_by != Refusal::none && !upstream_was_cut(request, buf))) {
        consume(buf);
        return true;
    }
    if (ngx_buf_size(&buf) > 0) return take_text(request, buf);
    if (buf.last_buf) return take_end(request);
    if (upstream_was_cut(request, buf)) return end_badly(request);
    return !buf.flush || answer.output.add_flush(request.r->pool);
}

ngx_int_t send_out(Request& request) {
    AnswerState& answer = *request.metering.answer;
    const bool gone = request.metering.client_gone;
    if (gone || answer.output.send(request.r, next_filters().body) == NGX_ERROR) {
        if (!gone) begin_drain(request);  // the write failed: the client is gone (T52)
        answer.output.discard();
    } else if (answer.ended) {
        // However the endpoint ended, the client has the whole of it: nginx, for which the answer broke off, would
        // close the connection just as the next request comes.
        request.r->keepalive = answer.keeps_connection ? 1 : 0;
    }
    if (!answer.ended) answer.read_buffer.share(request.r);
    return NGX_OK;
}

/// Takes a buffer and says whether it is through: the end is not while what came before it waits, and is taken again.
bool take_next(Request& request, ngx_buf_t& buf, bool& through) {
    const bool taken = take_buffer(request, buf);
    through = !request.metering.answer->waits || ngx_buf_size(&buf) > 0 || !buf.last_buf;
    return taken;
}

/// Input is looked at in order, as far as the hold allows.
bool read_unread(Request& request) {
    AnswerState& answer = *request.metering.answer;
    bool through = true;
    while (answer.unread != nullptr && !answer.waits) {
        ngx_chain_t* link = answer.unread;
        if (!take_next(request, *link->buf, through)) return false;
        if (!through) break;
        answer.unread = link->next;
        ngx_free_chain(request.r->pool, link);
    }
    return true;
}

}  // namespace

ngx_int_t pass_stream(Request& request, ngx_chain_t* in) {
    AnswerState& answer = *request.metering.answer;
    bool through = true;
    while (in != nullptr && answer.unread == nullptr && !answer.waits) {
        if (!take_next(request, *in->buf, through)) return NGX_ERROR;
        if (!through) break;
        in = in->next;
    }
    if (in != nullptr && ngx_chain_add_copy(request.r->pool, &answer.unread, in) != NGX_OK) return NGX_ERROR;
    return read_unread(request) ? send_out(request) : NGX_ERROR;
}

ngx_int_t pass_waiting(Request& request) {
    AnswerState& answer = *request.metering.answer;
    if (request.metering.stopped_by != Refusal::none) {
        drop_waiting(request);
        // nginx is through with the endpoint already, and would not come by again.
        const bool upstream_ended = request.r->upstream == nullptr || request.r->upstream->peer.connection == nullptr;
        if (upstream_ended && !answer.ended && !end_badly(request)) return NGX_ERROR;
    } else {
        set_waits(request, false);
        if (!pass_or_wait(request, nullptr)) return NGX_ERROR;
    }
    return read_unread(request) ? send_out(request) : NGX_ERROR;
}

}  // namespace lumen
