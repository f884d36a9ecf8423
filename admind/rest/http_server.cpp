#include "admind/rest/http_server.h"

#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServerConnection.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <Poco/URI.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "admind/bounds.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

namespace {

using Poco::Net::HTTPResponse;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

enum class BodyRead { ok, too_large, too_slow };

/// The configuration is the one body that may be large, and only operators' scripts and the editor's page send it.
std::size_t most_body_bytes(std::string_view path) {
    return path.rfind("/api/v1/admin/config", 0) == 0 ? kMaxConfigBodyBytes : kMaxBodyBytes;
}

BodyRead read_body(std::istream& stream, std::string& body, std::size_t most) {
    const auto deadline = std::chrono::steady_clock::now() + kHttpBodyDeadline;
    char chunk[8192];
    std::size_t total = 0;
    while (stream.good() && total <= std::max(most, kMaxDiscardedBodyBytes)) {
        // readsome-like steps: each returns what one receive brought, so the deadline is looked at in between.
        stream.read(chunk, 1);
        std::streamsize got = stream.gcount();
        if (got == 1) got += stream.readsome(chunk + 1, sizeof chunk - 1);
        total += static_cast<std::size_t>(got);
        if (total <= most) body.append(chunk, static_cast<std::size_t>(got));
        if (std::chrono::steady_clock::now() > deadline) return BodyRead::too_slow;
    }
    return total <= most ? BodyRead::ok : BodyRead::too_large;
}

/// nginx names the client in X-Forwarded-For; anything there that is not this host means the caller is elsewhere.
bool only_loopback(const Poco::Net::HTTPServerRequest& request) {
    if (!request.clientAddress().host().isLoopback()) return false;
    std::string forwarded = request.get("X-Forwarded-For", "") + "," + request.get("X-Real-IP", "");
    std::size_t at = 0;
    while (at < forwarded.size()) {
        const std::size_t end = std::min(forwarded.find(',', at), forwarded.size());
        std::string one = forwarded.substr(at, end - at);
        one.erase(std::remove(one.begin(), one.end(), ' '), one.end());
        at = end + 1;
        if (one.empty() || one == "unix:") continue;
        Poco::Net::IPAddress address;
        if (!Poco::Net::IPAddress::tryParse(one, address) || !address.isLoopback()) return false;
    }
    return true;
}

bool is_of_this_network(const Poco::Net::IPAddress& address) {
    return address.isLoopback() || address.isSiteLocal() || address.isLinkLocal();
}

/// Whom to count requests by. A proxy of ours sets X-Forwarded-For to its client; anybody else's is not believed.
std::string client_of(const Poco::Net::HTTPServerRequest& request) {
    const Poco::Net::IPAddress peer = request.clientAddress().host();
    const std::string forwarded = request.get("X-Forwarded-For", "");
    if (forwarded.empty() || !is_of_this_network(peer)) return peer.toString();
    std::string last = forwarded.substr(forwarded.rfind(',') + 1);
    last.erase(std::remove(last.begin(), last.end(), ' '), last.end());
    Poco::Net::IPAddress named;
    return Poco::Net::IPAddress::tryParse(last, named) ? named.toString() : peer.toString();
}

/// Text that may go on to the book: UTF-8 without a zero byte.
bool is_storable(std::string_view text) {
    return is_utf8(text) && text.find('\0') == std::string_view::npos;
}

/// False: too many parameters, or text that nothing of ours can hold.
bool read_query(const std::string& raw, HttpRequest& to) {
    Poco::URI uri;
    uri.setRawQuery(raw);
    for (auto& [name, value] : uri.getQueryParameters()) {
        if (to.query.size() == kMaxQueryParameters || !is_storable(name) || !is_storable(value)) return false;
        to.query.emplace_back(std::move(name), std::move(value));
    }
    return true;
}

Answer unreadable(int status, const char* code, const char* detail) {
    return Answer(Problem{status, code, detail});
}

/// Who has begun a handshake may end it.
void drop_new_connections(const Poco::Net::ServerSocket& socket) {
    constexpr unsigned kFlags = 13;  // their offset in the TCP header
    constexpr unsigned kSyn = 0x02, kAck = 0x10;
    sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
                          BPF_STMT(BPF_RET | BPF_K, 0xFFFFFFFFU)};
    const sock_fprog filter{static_cast<unsigned short>(std::size(code)), code};
    setsockopt(socket.impl()->sockfd(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

/// Made by the kernel, and not accepted yet.
bool has_waiting_connections(const Poco::Net::ServerSocket& socket) {
    tcp_info info{};
    socklen_t size = sizeof info;
    return getsockopt(socket.impl()->sockfd(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_unacked > 0;
}

/// Begun at this port, but not made yet: the client may think it is through already, as the last step is its own.
bool has_begun_handshakes(std::uint16_t port) {
    constexpr std::string_view kBegun = "03";  // TCP_SYN_RECV
    char ending[8];
    std::snprintf(ending, sizeof ending, ":%04X", static_cast<unsigned>(port));
    for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
        std::ifstream sockets(table);
        std::string line, number, here, there, state;
        for (std::getline(sockets, line); std::getline(sockets, line);) {
            std::istringstream(line) >> number >> here >> there >> state;
            if (state == kBegun && here.compare(here.size() - std::min<std::size_t>(here.size(), 5), 5, ending) == 0)
                return true;
        }
    }
    return false;
}

class Exchange : public Poco::Net::HTTPRequestHandler {
 public:
    explicit Exchange(const HttpServer::Handler& handler) : handler_(handler) {}

    void handleRequest(Poco::Net::HTTPServerRequest& poco, Poco::Net::HTTPServerResponse& response) override {
        HttpRequest request;
        request.id = new_request_id();
        send(response, answer_to(poco, request), poco.getMethod() == "HEAD");
    }

 private:
    HttpAnswer answer_to(Poco::Net::HTTPServerRequest& poco, HttpRequest& request) {
        request.method = poco.getMethod() == "HEAD" ? "GET" : poco.getMethod();
        const std::string& target = poco.getURI();
        const std::size_t question = target.find('?');
        request.path = target.substr(0, question);
        for (const auto& [name, value] : poco) {
            // The first of two equal headers counts, as one that a proxy adds comes last.
            request.headers.emplace(lower(name), value);
        }
        request.loopback = only_loopback(poco);
        request.client = client_of(poco);
        try {
            if (question != std::string::npos && !read_query(target.substr(question + 1), request)) {
                return render(unreadable(400, "invalid_request", "The query cannot be read."), request.id);
            }
        } catch (const Poco::Exception&) {
            return render(unreadable(400, "invalid_request", "The query cannot be read."), request.id);
        }
        // Without a length there is no body; Poco would wait for the connection's end instead.
        const bool has_body = poco.hasContentLength() || poco.getChunkedTransferEncoding();
        const std::size_t most = most_body_bytes(request.path);
        const bool announced_too_large =
            poco.hasContentLength() &&
            poco.getContentLength64() > static_cast<Poco::Int64>(std::max(most, kMaxDiscardedBodyBytes));
        const BodyRead read = announced_too_large ? BodyRead::too_large
                              : has_body          ? read_body(poco.stream(), request.body, most)
                                                  : BodyRead::ok;
        switch (read) {
            case BodyRead::ok:
                break;
            case BodyRead::too_large:
                return render(unreadable(413, "request_too_large", "The body is too large."), request.id);
            case BodyRead::too_slow:
                return render(unreadable(408, "request_timeout", "The body did not arrive in time."), request.id);
        }
        return handler_(request);
    }

    static void send(Poco::Net::HTTPServerResponse& response, const HttpAnswer& answer, bool head) {
        response.setStatusAndReason(static_cast<HTTPResponse::HTTPStatus>(answer.status));
        for (const auto& [name, value] : answer.headers) response.add(name, value);
        if (answer.body.empty()) {
            if (answer.status != 204) response.setContentLength(0);
            response.send();
            return;
        }
        response.setContentType(answer.content_type);
        if (head) {
            response.setContentLength64(static_cast<Poco::Int64>(answer.body.size()));
            response.send();
            return;
        }
        response.sendBuffer(answer.body.data(), answer.body.size());
    }

    const HttpServer::Handler& handler_;
};

class ExchangeFactory : public Poco::Net::HTTPRequestHandlerFactory {
 public:
    explicit ExchangeFactory(HttpServer::Handler handler) : handler_(std::move(handler)) {}
    Poco::Net::HTTPRequestHandler* createRequestHandler(const Poco::Net::HTTPServerRequest&) override {
        return new Exchange(handler_);  // Poco owns it
    }

 private:
    HttpServer::Handler handler_;
};

}  // namespace

HttpServer::HttpServer(const std::string& host, std::uint16_t port, Handler handler)
    : params_(new Poco::Net::HTTPServerParams), exchanges_(new ExchangeFactory(std::move(handler))) {
    params_->setTimeout(Poco::Timespan(kHttpIdle.count(), 0));
    // A kept connection would hold a thread while idle; the clients are nginx on this host and scripts. So there is
    // also none that is closed just as its next request comes.
    params_->setKeepAlive(false);
    socket_.bind(Poco::Net::SocketAddress(host, port), true);
    socket_.listen(kHttpQueued);
    port_ = socket_.address().port();
    for (int i = 0; i < kHttpThreads; ++i) threads_.emplace_back([this] { serve(); });
}

HttpServer::~HttpServer() {
    stop();
}

void HttpServer::serve() {
    // The kernel's queue is the only one: a thread takes a connection when it can answer it.
    constexpr std::chrono::milliseconds kOutOfDescriptors{20};
    for (;;) {
        const int accepted = accept4(socket_.impl()->sockfd(), nullptr, nullptr, SOCK_CLOEXEC);
        if (accepted >= 0) {
            answer(accepted);
        } else if (ended_) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            std::this_thread::sleep_for(kOutOfDescriptors);
        }
    }
}

void HttpServer::answer(int accepted) {
    try {
        Poco::Net::StreamSocket connection(new Poco::Net::StreamSocketImpl(accepted));
        connection.setNoDelay(true);
        Poco::Net::HTTPServerConnection(connection, params_, exchanges_).run();
    } catch (const std::exception&) {
        // The client went away.
    }
}

void HttpServer::stop() {
    if (std::exchange(stopped_, true)) return;
    // The kernel drops who knocks from here on, which knocks again a second later and is refused, or goes elsewhere.
    // Refusing at once would also reset those who are through and whom nobody has accepted yet.
    drop_new_connections(socket_);
    // Twice: a packet may just pass the filter, and the kernel's table is not read in one piece.
    constexpr int kQuietLooks = 2;
    const auto deadline = std::chrono::steady_clock::now() + kHttpLastConnections;
    for (int quiet = 0; quiet < kQuietLooks && std::chrono::steady_clock::now() < deadline; ++quiet) {
        // In this order: a handshake that ends in between is seen to wait.
        if (has_begun_handshakes(port_) || has_waiting_connections(socket_)) quiet = 0;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ended_ = true;
    shutdown(socket_.impl()->sockfd(), SHUT_RD);  // wakes the threads that wait for a connection
    for (std::thread& thread : threads_) thread.join();
    socket_.close();
}

std::string new_request_id() {
    std::array<std::uint8_t, 10> random;
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) throw std::runtime_error("no random numbers");
    return std::string(make_request_id(unix_ms_now(), random).view());
}

}  // namespace lumen::admind
