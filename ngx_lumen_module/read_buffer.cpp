#include "ngx_lumen_module/read_buffer.h"

#include "ngx_lumen_module/answer_state.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/kept_memory.h"

namespace lumen {
namespace {

/// What one read takes at most: some dozen events, if they come faster than they are read.
constexpr std::size_t kReadBytes = 16 * 1024;
/// One is enough while clients take what comes; others are those of clients that were slow.
constexpr std::size_t kKeptBuffers = 8;
KeptMemory<kReadBytes, kKeptBuffers> kept_buffers;

/// Whose bytes are being read; null once it has ended.
ReadBuffer* reading = nullptr;

/// While the kernel copies what has come, the memory is fetched in which that is looked at: between two events of a
/// stream the others have put it out of the cache.
template <typename T>
void prefetch(const T& object) noexcept {
    const auto* at = reinterpret_cast<const char*>(&object);
    for (std::size_t line = 0; line < sizeof(T); line += 64) __builtin_prefetch(at + line, 1);
}

void prefetch_state(const Request& request) noexcept {
    prefetch(request.metering);
    prefetch(*request.metering.answer);
    if (request.metering.stream) prefetch(*request.metering.stream);
    if (worker_ring() != nullptr && request.slot) worker_ring()->prefetch(request.slot);
}

/// As nginx itself asks before it reads into the same memory again.
bool is_idle(const ngx_http_upstream_t& upstream) noexcept {
    return upstream.busy_bufs == nullptr && upstream.out_bufs == nullptr;
}

bool is_sent(const ngx_chain_t* chain) noexcept {
    for (; chain != nullptr; chain = chain->next) {
        if (ngx_buf_size(chain->buf) != 0) return false;
    }
    return true;
}

void set_memory(ngx_buf_t& buffer, u_char* memory, std::size_t bytes) noexcept {
    buffer.start = buffer.pos = buffer.last = memory;
    buffer.end = memory != nullptr ? memory + bytes : nullptr;
}

/// nginx ends a stream that it cannot read by itself, through our filters (T49).
void fail(ngx_http_request_t* r, ngx_http_upstream_t& upstream) noexcept {
    upstream.error = 1;
    upstream.peer.connection->read->error = 1;
    r->write_event_handler(r);
}

}  // namespace

ReadBuffer::~ReadBuffer() {
    if (reading == this) reading = nullptr;
    if (lent_ != nullptr) kept_buffers.give_back(lent_);
}

void ReadBuffer::share(ngx_http_request_t* r) {
    ngx_http_upstream_t* upstream = r->upstream;
    if (nginx_reads_ != nullptr || upstream == nullptr || upstream->buffering || upstream->upgrade) return;
    if (upstream->peer.connection == nullptr) return;
    nginx_reads_ = upstream->read_event_handler;
    upstream->read_event_handler = read;
    // nginx asks for these only when this call is over.
    if (!is_sent(upstream->busy_bufs) || !is_sent(upstream->out_bufs)) return;
    take_back(r, *upstream);
    // It goes on to read what has come meanwhile, and finds no room: it has to come by again.
    ngx_event_t* event = upstream->peer.connection->read;
    if (event->ready) {
        ngx_post_event(event, &ngx_posted_events);
    }
}

void ReadBuffer::lend(ngx_http_upstream_t& upstream) {
    lent_ = kept_buffers.take();
    set_memory(upstream.buffer, static_cast<u_char*>(lent_), kReadBytes);
}

void ReadBuffer::take_back(ngx_http_request_t* r, ngx_http_upstream_t& upstream) noexcept {
    if (lent_ != nullptr) {
        kept_buffers.give_back(lent_);
        lent_ = nullptr;
    } else if (upstream.buffer.start != nullptr) {
        ngx_pfree(r->pool, upstream.buffer.start);  // a small one, which is part of a pool's block, it leaves there
    }
    set_memory(upstream.buffer, nullptr, 0);
}

void ReadBuffer::read(ngx_http_request_t* r, ngx_http_upstream_t* upstream) noexcept {
    Request* request = find_request(r);
    ReadBuffer& buffer = request->metering.answer->read_buffer;
    const bool can_read = guarded(r->connection->log, "read buffer", false, [&] {
        if (upstream->buffer.start == nullptr) buffer.lend(*upstream);
        return true;
    });
    if (!can_read) return fail(r, *upstream);
    prefetch_state(*request);
    reading = &buffer;
    buffer.nginx_reads_(r, upstream);
    if (reading != &buffer) return;  // the request has ended
    reading = nullptr;
    if (upstream->peer.connection != nullptr && is_idle(*upstream)) buffer.take_back(r, *upstream);
}

}  // namespace lumen
