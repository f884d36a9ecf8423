#include "lumen_core/json_meter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace lumen {
namespace {

/// Longer than any name that is looked for.
constexpr std::size_t kMaxKeyBytes = 32;

/// A length in seconds, or a type; longer text is none.
constexpr std::size_t kMaxNamedBytes = 64;

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

/// Of eight bytes at once: whether one of them is `c`.
bool has_byte(std::uint64_t bytes, char c) noexcept {
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    const std::uint64_t zero_there = bytes ^ (kOnes * static_cast<unsigned char>(c));
    return ((zero_there - kOnes) & ~zero_there & (kOnes << 7U)) != 0;
}

/// The first of both in a string, or `end`. Names are short: for them this is quicker than two searches of the library.
const char* quote_or_backslash(const char* at, const char* end) noexcept {
    for (std::uint64_t eight = 0; end - at >= static_cast<std::ptrdiff_t>(sizeof eight); at += sizeof eight) {
        std::memcpy(&eight, at, sizeof eight);
        if (has_byte(eight, '"') || has_byte(eight, '\\')) break;
    }
    while (at != end && *at != '"' && *at != '\\') ++at;
    return at;
}

std::string_view wanted_member(Operation operation) noexcept {
    if (reads_audio(operation)) return "duration";
    return operation == Operation::images_generations ? "type" : "";
}

/// Most usage objects fit, so that they are kept without growing step by step.
constexpr std::size_t kUsualUsageBytes = 512;

}  // namespace

JsonMeter::JsonMeter(Operation operation) noexcept
    : counts_text_(traits_of(operation).generates_text),
      counts_images_(operation == Operation::images_generations),
      wanted_(wanted_member(operation)) {}

std::string_view JsonMeter::usage_object() const noexcept {
    return capturing_ || broken_ ? std::string_view() : std::string_view(usage_);
}

void JsonMeter::feed(std::string_view bytes) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    const char* uncaptured = at;  // where what is not yet in usage_ begins, while it is captured
    const auto capture = [&] {
        const std::string_view part(uncaptured, static_cast<std::size_t>(at - uncaptured));
        usage_.append(part.substr(0, kMaxUsageBytes - usage_.size()));
        uncaptured = at;
    };
    while (at != end && !broken_) {
        if (in_string_) {
            at = take_string(at, end);
            continue;
        }
        const char c = *at++;
        if (!kMeansSomething[static_cast<unsigned char>(c)]) {
            take_plain(c);
            continue;
        }
        const bool captured = capturing_;
        if (captured && c == '}') capture();  // with the bracket that may end it
        take(c);
        if (!captured) uncaptured = at;
    }
    if (capturing_) capture();
}

/// Inside a string: an escaped byte; else up to and with its end, or the next backslash. Returns what comes after.
const char* JsonMeter::take_string(const char* at, const char* end) {
    const char* stop = at + 1;
    if (!std::exchange(escaped_, false)) {
        stop = quote_or_backslash(at, end);
        const bool quote = stop != end && *stop == '"';
        if (quote) {
            in_string_ = false;
        } else if (stop != end) {
            escaped_ = true;
            ++stop;
        }
        take_in_string({at, static_cast<std::size_t>(stop - at)});
        return quote ? stop + 1 : stop;
    }
    take_in_string({at, 1});
    return stop;
}

/// Part of a string, as it stands there.
void JsonMeter::take_in_string(std::string_view run) {
    if (in_wanted_) named_.append(run.substr(0, kMaxNamedBytes - named_.size()));
    if (string_is_key_) {
        key_.append(run.substr(0, kMaxKeyBytes - key_.size()));
    } else if (string_is_text_) {
        output_text_bytes_ += run.size();
    }
}

/// Numbers, literals and space. Outside the object there must be nothing but space.
void JsonMeter::take_plain(char c) {
    if (is_space(c)) return;
    if (depth_ == 0) broken_ = true;
    if (in_wanted_ && named_.size() < kMaxNamedBytes) named_ += c;
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
            in_wanted_ = !wanted_.empty() && depth_ == 1 && key_ == wanted_;
            if (in_wanted_) named_.clear();
            break;
        case ',':
            after_colon_ = in_wanted_ = false;
            break;
        default:
            break;
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
    after_colon_ = in_wanted_ = false;
}

void JsonMeter::close(char bracket) {
    if (is_object_[depth_ - 1] != (bracket == '}')) {
        broken_ = true;
        return;
    }
    --depth_;
    after_colon_ = in_wanted_ = false;
    if (depth_ == 0) whole_ = true;
    if (depth_ != 1 || !capturing_) return;
    capturing_ = false;
    if (usage_.size() >= kMaxUsageBytes) usage_.clear();
}

}  // namespace lumen
