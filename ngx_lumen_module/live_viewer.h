// One open stream of /api/v1/me/events: what goes to its socket, and how it ends.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/redis_client.h"

namespace lumen {

struct LiveAccount;

/// Lives in its request's pool, and ends with the request.
struct LiveViewer {
    ngx_http_request_t* r = nullptr;
    void (*gone)(LiveViewer&) = nullptr;
    RedisCall* call = nullptr;       ///< a question about its session, under way
    std::array<char, 64> session{};  ///< SHA-256 of the cookie, hex
    std::int64_t user = 0;
    std::int64_t account_id = 0;
    std::int64_t created_ms = 0;  ///< of the session
    std::int64_t expires_ms = 0;
    std::string last_id;             ///< Last-Event-ID of its browser, until it is open
    LiveAccount* account = nullptr;  ///< null: not listening (yet, or any more)
    ngx_queue_t of_account{};
    ngx_queue_t of_beat{};
    bool open = false;                        ///< the header is sent
    ngx_buf_t buf{};                          ///< what `text` is sent from; made once, so a stream needs no memory
    std::shared_ptr<const std::string> text;  ///< not yet taken by the socket
    std::int64_t stuck_since_ms = 0;          ///< `text` waits since
    bool missed = false;                      ///< events were dropped while it waited
};

/// A viewer for the request; `gone` is called when that ends, however it does. Null: out of memory.
LiveViewer* make_viewer(ngx_http_request_t* r, void (*gone)(LiveViewer&));
std::string_view session_of(const LiveViewer& viewer) noexcept;

/// Header and first bytes. May end the request, as may the others: then the viewer is gone.
void open_viewer(LiveViewer& viewer, std::shared_ptr<const std::string> first);
/// To the socket, or dropped (and `missed`) while that is full: nothing piles up for a slow reader.
void send_to_viewer(LiveViewer& viewer, const std::shared_ptr<const std::string>& text);
/// The proper end of the stream, or of a request that is not open yet.
void end_viewer(LiveViewer& viewer);
/// A refusal as problem+json (spec/rest.md §1); ends the request.
enum class LiveRefusal : std::uint8_t { unauthenticated, method_not_allowed, redis_unavailable, too_many_viewers };
void refuse_viewer(ngx_http_request_t* r, LiveRefusal refusal);

/// What a viewer that missed something is told once its socket takes more (live_account.cpp).
std::shared_ptr<const std::string> state_after_gap(const LiveAccount& account);

}  // namespace lumen
