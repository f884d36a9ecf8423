// lumen-model-server: a model server that answers at once, counts honestly and misbehaves on request.
//   lumen-model-server [--port N] [--control-port N] [--model NAME]…
// Ports default to free ones on 127.0.0.1; once both listen, one line of JSON on stdout names them.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "tests/harness/model_server/control.h"
#include "tests/harness/model_server/http_server.h"
#include "tests/harness/model_server/model_api.h"

namespace {

struct Options {
    std::uint16_t port = 0;
    std::uint16_t control_port = 0;
    std::vector<std::string> models;
};

std::optional<std::uint16_t> parse_port(const char* text) {
    std::uint16_t port = 0;
    const char* end = text + std::strlen(text);
    const auto [parsed, error] = std::from_chars(text, end, port);
    if (error != std::errc() || parsed != end) return std::nullopt;
    return port;
}

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        const auto port = parse_port(argv[i + 1]);
        if (name == "--port" && port)
            options.port = *port;
        else if (name == "--control-port" && port)
            options.control_port = *port;
        else if (name == "--model")
            options.models.emplace_back(argv[i + 1]);
        else
            return std::nullopt;
    }
    if (argc % 2 == 0) return std::nullopt;
    if (options.models.empty()) options.models = {"lumen-demo"};
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace lumen::model_server;
    const auto options = parse_options(argc, argv);
    if (!options) {
        std::fprintf(stderr, "usage: lumen-model-server [--port N] [--control-port N] [--model NAME]...\n");
        return 64;
    }
    try {
        Control control;
        ModelApi api(options->models, control);
        HttpServer* running = nullptr;
        HttpServer server([&](const Request& request) {
            return request.target == "/control" ? control.handle(request, *running) : api.handle(request);
        });
        running = &server;
        const int port = server.listen(options->port, true);
        const int control_port = server.listen(options->control_port, false);
        std::printf("{\"port\":%d,\"control_port\":%d}\n", port, control_port);
        std::fflush(stdout);
        server.run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "lumen-model-server: %s\n", error.what());
        return 1;
    }
    return 0;
}
