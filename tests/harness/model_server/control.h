// What tests ask and tell the server at run time, on its own port so that it also works while the server refuses
// others:
//   GET  /control   {mode, total, requests: {path: count}, open_connections, aborted, recent: [{method, target, head,
//   body}]} POST /control   {"mode": "slow-200+no-usage"} changes the behaviour of all answers to come, "" ends that;
//                   {"reset": true} forgets the counts
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tests/harness/model_server/behaviour.h"
#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

class HttpServer;

class Control {
 public:
    void record(const Request& request, std::string_view path);
    /// Behaviour of the run-time mode, added to one that the request asked for.
    const std::string& mode() const noexcept { return mode_; }

    Answer handle(const Request& request, HttpServer& server);

 private:
    static constexpr std::size_t kRecent = 32;
    static constexpr std::size_t kRecentBodyBytes = 16 * 1024;
    static constexpr std::size_t kMaxPaths = 256;
    struct Seen {
        std::string method;
        std::string target;
        std::string head;
        std::string body;
    };

    std::string report(const HttpServer& server) const;

    std::string mode_;
    std::uint64_t total_ = 0;
    std::map<std::string, std::uint64_t, std::less<>> requests_;
    std::array<Seen, kRecent> recent_;
};

}  // namespace lumen::model_server
