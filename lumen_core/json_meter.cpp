#include "lumen_core/json_meter.h"

#include <algorithm>
#include <array>

namespace lumen {
namespace {

/// Longer than any name that is looked for.
constexpr std::size_t kMaxKeyBytes = 32;

/// Members whose strings are generated text, in the dialects of chat/completions, completions and responses.
constexpr std::array<std::string_view, 6> kTextMembers = {"content",   "text",    "reasoning_content",
                                                          "reasoning", "refusal", "arguments"};

bool generates_text(Operation operation) noexcept {
    return operation == Operation::chat_completions || operation == Operation::completions ||
           operation == Operation::responses;
}

bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

JsonMeter::JsonMeter(Operation operation) noexcept : counts_text_(generates_text(operation)) {}

std::string_view JsonMeter::usage_object() const noexcept {
    return capturing_ || broken_ ? std::string_view() : std::string_view(usage_);
}

void JsonMeter::feed(std::string_view bytes) {
    while (!bytes.empty() && !broken_) {
        const std::size_t length = in_string_ ? run_length(bytes) : 1;
        const std::string_view run = bytes.substr(0, length);
        bytes.remove_prefix(length);
        if (capturing_) usage_.append(run.substr(0, kMaxUsageBytes - usage_.size()));
        if (in_string_) {
            take_in_string(run);
        } else if (!is_space(run.front())) {
            take(run.front());
        }
    }
}

/// Inside a string: up to the next byte that may end it; that byte, and an escaped one, are runs of their own.
std::size_t JsonMeter::run_length(std::string_view bytes) const noexcept {
    if (escaped_) return 1;
    std::size_t length = 0;
    while (length < bytes.size() && bytes[length] != '"' && bytes[length] != '\\') ++length;
    return std::max<std::size_t>(length, 1);
}

void JsonMeter::take(char c) {
    if (whole_ || (depth_ == 0 && c != '{')) {
        broken_ = true;  // not an object, or more than one
        return;
    }
    switch (c) {
        case '"':
            begin_string();
            break;
        case '{':
        case '[':
            open(c);
            break;
        case '}':
        case ']':
            close(c);
            break;
        case ':':
            after_colon_ = true;
            break;
        case ',':
            after_colon_ = false;
            break;
        default:
            break;  // numbers and literals
    }
}

void JsonMeter::take_in_string(std::string_view run) {
    if (!escaped_ && run.front() == '"') {
        in_string_ = false;
        return;
    }
    escaped_ = !escaped_ && run.front() == '\\';
    if (string_is_key_) {
        key_.append(run.substr(0, kMaxKeyBytes - key_.size()));
    } else if (string_is_text_) {
        output_text_bytes_ += run.size();
    }
}

void JsonMeter::begin_string() {
    in_string_ = true;
    string_is_key_ = is_object_[depth_ - 1] && !after_colon_;
    string_is_text_ = !string_is_key_ && counts_text_ && after_colon_ &&
                      std::find(kTextMembers.begin(), kTextMembers.end(), key_) != kTextMembers.end();
    if (string_is_key_) key_.clear();
}

void JsonMeter::open(char bracket) {
    if (depth_ == kMaxDepth) {
        broken_ = true;
        return;
    }
    if (depth_ == 1 && bracket == '{' && after_colon_ && key_ == "usage") {
        capturing_ = true;
        usage_.assign(1, bracket);
    }
    is_object_[depth_++] = bracket == '{';
    after_colon_ = false;
}

void JsonMeter::close(char bracket) {
    if (is_object_[depth_ - 1] != (bracket == '}')) {
        broken_ = true;
        return;
    }
    --depth_;
    after_colon_ = false;
    if (depth_ == 0) whole_ = true;
    if (depth_ != 1 || !capturing_) return;
    capturing_ = false;
    if (usage_.size() >= kMaxUsageBytes) usage_.clear();
}

}  // namespace lumen
