// The log: one JSON object a line on standard error, one event each (style.md, rule 18).
#pragma once

#include <Poco/Channel.h>

#include <mutex>
#include <string>

namespace lumen::admind {

/// The parameters that our messages carry become fields beside at, level, source and message.
class JsonLogChannel : public Poco::Channel {
 public:
    void log(const Poco::Message& message) override;

 private:
    std::mutex mutex_;
};

/// Sends every Poco logger there. `level`: debug, info, warning or error.
void start_json_log(const std::string& level);
void set_log_level(const std::string& level);

}  // namespace lumen::admind
