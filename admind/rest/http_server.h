// HTTP on a socket: bounded threads, queue, bodies and waits around one function from request to answer.
#pragma once

#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/ServerSocket.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "admind/text/http_message.h"

namespace lumen::admind {

class HttpServer {
 public:
    /// Must not throw; called from up to kHttpThreads threads at once.
    using Handler = std::function<HttpAnswer(const HttpRequest&)>;

    /// Listens at once; throws Poco::Net::NetException when the address cannot be had. Port 0: any free one.
    HttpServer(const std::string& host, std::uint16_t port, Handler handler);
    ~HttpServer();

    std::uint16_t port() const { return port_; }
    /// Takes no new connections, answers those that are there, and waits for running requests (each is bounded by its
    /// own deadlines). Nobody who got through is turned away: a POST that was sent is not sent again by a proxy.
    void stop();

 private:
    void serve();
    void answer(int accepted);

    Poco::Net::ServerSocket socket_;
    std::uint16_t port_ = 0;
    Poco::Net::HTTPServerParams::Ptr params_;
    Poco::Net::HTTPRequestHandlerFactory::Ptr exchanges_;
    std::vector<std::thread> threads_;
    bool stopped_ = false;            ///< stop() was called
    std::atomic<bool> ended_{false};  ///< nobody waits any more: a thread that has nothing to answer leaves
};

/// A new UUIDv7.
std::string new_request_id();

}  // namespace lumen::admind
