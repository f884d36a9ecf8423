#include "ngx_lumen_module/redis_events.h"

#include <hiredis/async.h>

#include <new>

namespace lumen {
namespace {

struct RedisEvents {
    redisAsyncContext* redis = nullptr;
    ngx_connection_t* connection = nullptr;
    ngx_event_t flush{};   ///< posted: writes what this turn of the loop has queued
    bool writing = false;  ///< hiredis is inside a write; if it asks for more, the socket is full
};

RedisEvents& events_of(void* hook_data) noexcept {
    return *static_cast<RedisEvents*>(hook_data);
}

// After hiredis has read or written, `events` may be gone: a lost connection frees itself in there.
void read_now(RedisEvents& events) noexcept {
    redisAsyncHandleRead(events.redis);
}

void write_now(RedisEvents& events) noexcept {
    events.writing = true;
    redisAsyncHandleWrite(events.redis);
}

void on_readable(ngx_event_t* event) {
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    read_now(events_of(connection->data));
}

void on_writable(ngx_event_t* event) {
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    write_now(events_of(connection->data));
}

void on_flush(ngx_event_t* event) {
    write_now(events_of(event->data));
}

// Level-triggered: hiredis reads 16 KB a call and not until EAGAIN (T24).
void arm(ngx_event_t* event, ngx_int_t kind) noexcept {
    if (!event->active) (void)ngx_add_event(event, kind, NGX_LEVEL_EVENT);
}

void disarm(ngx_event_t* event, ngx_int_t kind) noexcept {
    if (event->active) (void)ngx_del_event(event, kind, 0);
}

void add_read(void* data) {
    arm(events_of(data).connection->read, NGX_READ_EVENT);
}
void del_read(void* data) {
    disarm(events_of(data).connection->read, NGX_READ_EVENT);
}

void add_write(void* data) {
    RedisEvents& events = events_of(data);
    const bool connected = (events.redis->c.flags & REDIS_CONNECTED) != 0;
    if (!connected || events.writing) {
        events.writing = false;
        arm(events.connection->write, NGX_WRITE_EVENT);
        return;
    }
    if (!events.flush.posted) {
        ngx_post_event(&events.flush, &ngx_posted_events);
    }
}

void del_write(void* data) {
    RedisEvents& events = events_of(data);
    events.writing = false;
    disarm(events.connection->write, NGX_WRITE_EVENT);
}

void delete_posted(ngx_event_t* event) noexcept {
    if (event->posted) {  // the macro is several statements (T7)
        ngx_delete_posted_event(event);
    }
}

// hiredis closes the socket itself, right after this.
void cleanup(void* data) {
    RedisEvents& events = events_of(data);
    ngx_connection_t* connection = events.connection;
    events.redis->ev.data = nullptr;
    delete_posted(&events.flush);
    delete_posted(connection->read);
    delete_posted(connection->write);
    if (connection->read->active || connection->write->active) (void)ngx_del_conn(connection, 0);
    ngx_free_connection(connection);
    connection->fd = static_cast<ngx_socket_t>(-1);
    delete &events;
}

}  // namespace

bool attach_redis_events(redisAsyncContext* context, ngx_log_t* log) noexcept {
    auto* events = new (std::nothrow) RedisEvents;
    if (events == nullptr) return false;
    ngx_connection_t* connection = ngx_get_connection(context->c.fd, log);
    if (connection == nullptr) {
        delete events;
        return false;
    }
    events->redis = context;
    events->connection = connection;
    events->flush.handler = on_flush;
    events->flush.data = events;
    events->flush.log = log;

    connection->data = events;
    connection->log = log;
    connection->read->handler = on_readable;
    connection->read->log = log;
    connection->write->handler = on_writable;
    connection->write->log = log;

    context->ev.data = events;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    return true;
}

}  // namespace lumen
