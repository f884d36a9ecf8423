#include "ngx_lumen_module/answer_output.h"

#include <algorithm>

namespace lumen {
namespace {

/// Some events of a stream fit. Kept for as long as the stream is open, so it is not the place to be generous.
constexpr std::size_t kLeastBufferBytes = 1024;

/// Tells buffers made here from nginx's.
ngx_buf_tag_t own_tag() noexcept {
    return &ngx_http_lumen_module;
}

void append_chain(ngx_chain_t** list, ngx_chain_t* chain) noexcept {
    while (*list != nullptr) list = &(*list)->next;
    *list = chain;
}

}  // namespace

void consume(ngx_buf_t& buf) noexcept {
    buf.pos = buf.last;
    buf.file_pos = buf.file_last;
}

bool AnswerOutput::append(ngx_pool_t* pool, ngx_buf_t* buf) noexcept {
    ngx_chain_t* link = buf != nullptr ? ngx_alloc_chain_link(pool) : nullptr;
    if (link == nullptr) return false;
    *link = {buf, nullptr};
    append_chain(&out_, link);
    return true;
}

ngx_buf_t* AnswerOutput::take_buffer(ngx_pool_t* pool, std::size_t bytes) noexcept {
    for (ngx_chain_t** link = &free_; *link != nullptr; link = &(*link)->next) {
        ngx_buf_t* buf = (*link)->buf;
        if (buf->end - buf->start < static_cast<std::ptrdiff_t>(bytes)) continue;
        ngx_chain_t* used = *link;
        *link = used->next;
        ngx_free_chain(pool, used);
        buf->pos = buf->last = buf->start;
        return buf;
    }
    ngx_buf_t* buf = ngx_create_temp_buf(pool, std::max(bytes, kLeastBufferBytes));
    if (buf != nullptr) buf->tag = own_tag();
    return buf;
}

bool AnswerOutput::add_text(ngx_pool_t* pool, std::string_view text, ngx_buf_t* source) noexcept {
    if (text.empty() || discarded_) {
        if (source != nullptr) consume(*source);
        return true;
    }
    ngx_buf_t* buf = take_buffer(pool, text.size());
    if (buf == nullptr) return false;
    buf->last = ngx_cpymem(buf->last, text.data(), text.size());
    buf->flush = 1;
    buf->shadow = source;
    return append(pool, buf);
}

bool AnswerOutput::add_parts(ngx_pool_t* pool, ngx_buf_t& buf, const std::vector<std::string_view>& parts) noexcept {
    if (parts.empty() || discarded_) {
        consume(buf);
        return true;
    }
    const auto place = [](std::string_view part) { return reinterpret_cast<u_char*>(const_cast<char*>(part.data())); };
    buf.pos = buf.last = place(parts.front());
    for (const std::string_view part : parts) {
        if (buf.last != place(part)) ngx_memmove(buf.last, part.data(), part.size());
        buf.last += part.size();
    }
    buf.flush = 1;
    return append(pool, &buf);
}

// Buffers without bytes are made anew each time: a filter below may still hold one that looks sent.
bool AnswerOutput::add_flush(ngx_pool_t* pool) noexcept {
    if (discarded_) return true;
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(pool));
    if (buf != nullptr) buf->flush = 1;
    return append(pool, buf);
}

bool AnswerOutput::add_last(ngx_pool_t* pool) noexcept {
    if (discarded_) return true;
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(pool));
    if (buf != nullptr) buf->last_buf = 1;
    return append(pool, buf);
}

ngx_int_t AnswerOutput::send(ngx_http_request_t* r, ngx_http_output_body_filter_pt next) noexcept {
    ngx_chain_t* chain = out_;
    append_chain(&busy_, out_);
    out_ = nullptr;
    // The filters below make links of their own, so ours stay whole.
    const ngx_int_t rc = next(r, chain);
    reclaim(r->pool);
    return rc;
}

void AnswerOutput::reclaim(ngx_pool_t* pool) noexcept {
    while (busy_ != nullptr && ngx_buf_size(busy_->buf) == 0) {
        ngx_chain_t* sent = busy_;
        busy_ = sent->next;
        if (sent->buf->tag != own_tag()) {  // nginx's, or without memory: nothing to use again
            ngx_free_chain(pool, sent);
            continue;
        }
        if (sent->buf->shadow != nullptr) consume(*sent->buf->shadow);
        sent->buf->shadow = nullptr;
        sent->next = free_;
        free_ = sent;
    }
}

void AnswerOutput::discard() noexcept {
    discarded_ = true;
    append_chain(&busy_, out_);
    out_ = nullptr;
    for (ngx_chain_t* link = busy_; link != nullptr; link = link->next) {
        consume(*link->buf);
        if (link->buf->tag != own_tag()) continue;
        if (link->buf->shadow != nullptr) consume(*link->buf->shadow);
        link->buf->shadow = nullptr;
    }
    busy_ = nullptr;  // a filter below may still point to them: they are not used again
}

}  // namespace lumen
