// HTTP on a socket: bounded threads, queue, bodies and waits around one function from request to answer.
#pragma once

#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/ThreadPool.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "admind/http_message.h"

namespace lumen::admind {

class HttpServer {
 public:
    /// Must not throw; called from up to kHttpThreads threads at once.
    using Handler = std::function<HttpAnswer(const HttpRequest&)>;

    /// Listens at once; throws Poco::Net::NetException when the address cannot be had. Port 0: any free one.
    HttpServer(const std::string& host, std::uint16_t port, Handler handler);
    ~HttpServer();

    std::uint16_t port() const;
    /// Takes no new connections, answers those that are there, and waits for running requests (each is bounded by its
    /// own deadlines). Nobody who got through is turned away: a POST that was sent is not sent again by a proxy.
    void stop();

 private:
    Poco::Net::ServerSocket socket_;
    Poco::ThreadPool threads_;
    std::unique_ptr<Poco::Net::HTTPServer> server_;
    bool stopped_ = false;
};

/// A new UUIDv7.
std::string new_request_id();

}  // namespace lumen::admind
