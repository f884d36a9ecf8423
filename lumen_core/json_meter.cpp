#include "lumen_core/json_meter.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lumen {
namespace {

/// Longer than any name that is looked for.
constexpr std::size_t kMaxKeyBytes = 32;

/// A length in seconds; longer text is none.
constexpr std::size_t kMaxDurationBytes = 32;

/// Members whose strings are generated text, in all dialects.
constexpr std::array<std::string_view, 7> kTextMembers = {"content", "text",      "reasoning_content", "reasoning",
                                                          "refusal", "arguments", "thinking"};

bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// By byte: those of JSON's structure, and the quote.
constexpr std::array<bool, 256> kMeansSomething = [] {
    std::array<bool, 256> means{};
    for (const char c : {'"', '{', '}', '[', ']', ':', ','}) means[static_cast<unsigned char>(c)] = true;
    return means;
}();

/// Most usage objects fit, so that they are kept without growing step by step.
constexpr std::size_t kUsualUsageBytes = 512;

}  // namespace

JsonMeter::JsonMeter(Operation operation) noexcept
    : counts_text_(traits_of(operation).generates_text),
      counts_images_(operation == Operation::images_generations),
      wants_duration_(reads_audio(operation)) {}

std::string_view JsonMeter::usage_object() const noexcept {
    return capturing_ || broken_ ? std::string_view() : std::string_view(usage_);
}

void JsonMeter::feed(std::string_view bytes) {
    while (!bytes.empty() && !broken_) {
        const std::string_view run = bytes.substr(0, in_string_ ? string_run(bytes) : plain_run(bytes));
        bytes.remove_prefix(run.size());
        if (capturing_) usage_.append(run.substr(0, kMaxUsageBytes - usage_.size()));
        if (in_string_) {
            take_in_string(run);
        } else {
            if (in_duration_) take_duration(run);
            if (!is_space(run.back())) take(run.back());
        }
    }
}

/// Inside a string: an escaped byte; else up to and with its end, or the next backslash.
std::size_t JsonMeter::string_run(std::string_view bytes) const noexcept {
    if (escaped_) return 1;
    const std::string_view to_end = bytes.substr(0, std::min(bytes.find('"'), bytes.size() - 1) + 1);
    return std::min(to_end.find('\\'), to_end.size() - 1) + 1;
}

/// Outside strings: numbers, literals and space, and the byte after them, which alone means something. Outside the
/// object there must be nothing but space, so there each byte is looked at.
std::size_t JsonMeter::plain_run(std::string_view bytes) const noexcept {
    std::size_t plain = 0;
    if (depth_ > 0) {
        while (plain + 1 < bytes.size() && !kMeansSomething[static_cast<unsigned char>(bytes[plain])]) ++plain;
    }
    return plain + 1;
}

/// The number that the top-level member `duration` may have.
void JsonMeter::take_duration(std::string_view run) {
    for (const char c : run) {
        const bool plain = !is_space(c) && !kMeansSomething[static_cast<unsigned char>(c)];
        if (plain && duration_.size() < kMaxDurationBytes) duration_ += c;
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
            in_duration_ = wants_duration_ && depth_ == 1 && key_ == "duration";
            if (in_duration_) duration_.clear();
            break;
        case ',':
            after_colon_ = in_duration_ = false;
            break;
        default:
            break;  // numbers and literals
    }
}

void JsonMeter::take_in_string(std::string_view run) {
    if (!std::exchange(escaped_, false)) {
        escaped_ = run.back() == '\\';
        if (run.back() == '"') {
            in_string_ = false;
            run.remove_suffix(1);
        }
    }
    if (in_duration_) duration_.append(run.substr(0, kMaxDurationBytes - duration_.size()));
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
        usage_.reserve(kUsualUsageBytes);
        usage_.assign(1, bracket);
    }
    if (counts_images_) {
        if (depth_ == 1) in_data_ = bracket == '[' && after_colon_ && key_ == "data";
        if (depth_ == 2 && bracket == '{' && in_data_) ++images_;
    }
    is_object_[depth_++] = bracket == '{';
    after_colon_ = in_duration_ = false;
}

void JsonMeter::close(char bracket) {
    if (is_object_[depth_ - 1] != (bracket == '}')) {
        broken_ = true;
        return;
    }
    --depth_;
    after_colon_ = in_duration_ = false;
    if (depth_ == 0) whole_ = true;
    if (depth_ != 1 || !capturing_) return;
    capturing_ = false;
    if (usage_.size() >= kMaxUsageBytes) usage_.clear();
}

}  // namespace lumen
