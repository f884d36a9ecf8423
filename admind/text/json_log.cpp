#include "admind/text/json_log.h"

#include <Poco/AutoPtr.h>
#include <Poco/Logger.h>
#include <Poco/Message.h>

#include <cstdio>

#include "admind/text/json.h"

namespace lumen::admind {

namespace {

/// Parameters that messages of ours carry; Poco 1.11 cannot list them.
constexpr const char* kFields[] = {"request", "method", "path", "status", "us"};

const char* level_name(Poco::Message::Priority priority) {
    switch (priority) {
        case Poco::Message::PRIO_FATAL:
        case Poco::Message::PRIO_CRITICAL:
            return "critical";
        case Poco::Message::PRIO_ERROR:
            return "error";
        case Poco::Message::PRIO_WARNING:
            return "warning";
        case Poco::Message::PRIO_NOTICE:
        case Poco::Message::PRIO_INFORMATION:
            return "info";
        default:
            return "debug";
    }
}

}  // namespace

void JsonLogChannel::log(const Poco::Message& message) {
    Json line{{"at", utc_text(message.getTime().epochMicroseconds() / 1000)},
              {"level", level_name(message.getPriority())},
              {"source", message.getSource()},
              {"message", message.getText()}};
    for (const char* name : kFields) {
        if (message.has(name)) line[name] = message.get(name);
    }
    const std::string text = to_text(line) + "\n";
    const std::lock_guard lock(mutex_);
    // A log that cannot be written must not stop the work it tells of.
    (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

void start_json_log(const std::string& level) {
    const Poco::AutoPtr<Poco::Channel> channel(new JsonLogChannel);
    Poco::Logger::root().setChannel(channel);
    set_log_level(level);
}

void set_log_level(const std::string& level) {
    Poco::Logger::root().setLevel(level == "info" ? "information" : level);
    // Loggers copy their level from the root when they are made; this reaches those that exist.
    Poco::Logger::setLevel("", Poco::Logger::root().getLevel());
}

}  // namespace lumen::admind
