// HTTP/1.x requests as they are read and answers as they are planned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lumen::model_server {

inline constexpr std::size_t kMaxHeadBytes = 64 * 1024;
inline constexpr std::size_t kMaxBodyBytes = 512 * 1024 * 1024;  // as much as the gate lets through

/// Views into the connection's input, and `body` where it came in chunks.
struct Request {
    std::string_view method;
    std::string_view target;
    std::vector<std::pair<std::string_view, std::string_view>> headers;
    std::string_view body;
    std::string_view raw_head;
    bool http_1_0 = false;
    bool keep_alive = true;

    /// Value of a header, by its name in lower case; empty if absent.
    std::string_view header(std::string_view lower_case_name) const noexcept;
};

enum class ParseResult { complete, incomplete, malformed };

/// Reads one request from the start of `input`. `consumed` is set when complete; `dechunked` keeps the body of a
/// chunked request. `wants_continue`: the head is there and its sender waits for 100.
ParseResult parse_request(std::string_view input, Request& request, std::size_t& consumed, std::string& dechunked,
                          bool& wants_continue);

/// Appends the next event of a stream; false when there is none left.
using EventSource = std::function<bool(std::string& out)>;

enum class Ending : std::uint8_t {
    complete,
    cut,    ///< the connection breaks before the end of the answer
    hang,   ///< no answer at all, the connection stays open
    reset,  ///< no answer at all, the connection is reset
};

struct Answer {
    int status = 200;
    std::string content_type = "application/json";
    std::string extra_headers;  ///< lines with CRLF
    std::string body;
    EventSource events;  ///< set: the answer is a stream, and `body` is not used
    std::uint32_t delay_ms = 0;
    std::uint32_t pace_ms = 0;
    bool held = false;                      ///< waits for HttpServer::release_held()
    std::optional<std::size_t> held_after;  ///< a stream likewise, after so many events
    Ending ending = Ending::complete;
};

/// The head of `answer`; with `chunked` for streams, else with its length.
std::string format_head(const Answer& answer, bool keep_alive, bool chunked);
void append_chunk(std::string& out, std::string_view data);

}  // namespace lumen::model_server
