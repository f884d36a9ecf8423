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
    for (char c : bytes) {
        if (broken_) return;
        if (capturing_ && usage_.size() < kMaxUsageBytes) usage_.push_back(c);
        if (in_string_) {
            take_in_string(c);
        } else if (!is_space(c)) {
            take(c);
        }
    }
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

void JsonMeter::take_in_string(char c) {
    if (!escaped_ && c == '"') {
        in_string_ = false;
        return;
    }
    escaped_ = !escaped_ && c == '\\';
    if (string_is_key_) {
        if (key_.size() < kMaxKeyBytes) key_.push_back(c);
    } else if (string_is_text_) {
        ++output_text_bytes_;
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
