#include "tests/harness/model_server/control.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/harness/model_server/http_server.h"

namespace lumen::model_server {

using nlohmann::json;

void Control::record(const Request& request, std::string_view path) {
    if (const auto found = requests_.find(path); found != requests_.end())
        ++found->second;
    else if (requests_.size() < kMaxPaths)
        requests_.emplace(path, 1);
    Seen& seen = recent_[total_++ % kRecent];
    seen.method = request.method;
    seen.target = request.target;
    seen.head = request.raw_head;
    seen.body = request.body.substr(0, kRecentBodyBytes);
}

Answer Control::handle(const Request& request, HttpServer& server) {
    Answer answer;
    if (request.method == "POST") {
        const json wanted = json::parse(request.body, nullptr, false);
        const json mode = wanted.is_object() ? wanted.value("mode", json(mode_)) : json();
        Behaviour behaviour;
        if (!mode.is_string() || (mode != "" && !apply_behaviour(mode.get<std::string>(), behaviour))) {
            answer.status = 400;
            answer.body = json{{"error", "mode is none of the words of behaviour.h"}}.dump();
            return answer;
        }
        if (wanted.value("reset", false)) {
            total_ = 0;
            requests_.clear();
        }
        mode_ = mode.get<std::string>();
        server.set_refusing(behaviour.refuse);
        server.release_held();
    }
    answer.body = report(server);
    return answer;
}

std::string Control::report(const HttpServer& server) const {
    json recent = json::array();
    for (std::uint64_t i = total_ - std::min<std::uint64_t>(total_, kRecent); i < total_; ++i) {
        const Seen& seen = recent_[i % kRecent];
        recent.push_back({{"method", seen.method}, {"target", seen.target}, {"head", seen.head}, {"body", seen.body}});
    }
    return json{{"mode", mode_},
                {"total", total_},
                {"requests", requests_},
                {"open_connections", server.open_connections()},
                {"aborted", server.aborted_answers()},
                {"recent", std::move(recent)}}
        .dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace lumen::model_server
