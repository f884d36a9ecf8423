#include "lumen_core/json_meter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "lumen_core/json_members.h"
#include "lumen_core/json_strings.h"

namespace lumen {
namespace {

/// A length in seconds, or a type; longer text is none.
constexpr std::size_t kMaxNamedBytes = 64;

/// By byte: those of JSON's structure, and the quote.
constexpr std::array<bool, 256> kMeansSomething = [] {
    std::array<bool, 256> means{};
    for (const char c : {'"', '{', '}', '[', ']', ':', ','}) means[static_cast<unsigned char>(c)] = true;
    return means;
}();

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
            at = go_on_in_string(at, end);
            continue;
        }
        if (depth_ == 0) {
            at = take_outside(at, end);
            continue;
        }
        switch (*at) {
            case '"':
                at = begin_string(at + 1, end);
                break;
            case ':':
                ++at;
                take_colon();
                break;
            case ',':
                ++at;
                take_comma();
                break;
            case '{':
            case '[': {
                const bool captured = capturing_;
                open(*at++);
                if (!captured) uncaptured = at;
                break;
            }
            case '}':
            case ']':
                ++at;
                if (capturing_) capture();  // with the bracket that may end it
                close(at[-1]);
                break;
            default:
                at = take_plain(at, end);
        }
    }
    if (capturing_) capture();
    keep_key();
}

/// Before the object, and behind it: space.
const char* JsonMeter::take_outside(const char* at, const char* end) {
    while (at != end && is_json_space(*at)) ++at;
    if (at == end) return at;
    if (whole_ || *at != '{') {
        broken_ = true;  // not an object, or more than one
        return at;
    }
    open('{');
    return at + 1;
}

/// `at` is behind the opening quote.
const char* JsonMeter::begin_string(const char* at, const char* end) {
    string_is_key_ = is_object_[depth_ - 1] && !after_colon_;
    string_is_text_ = !string_is_key_ && counts_text_ && after_colon_ && key_names_text();
    const char* const quote = closing_quote(at, end);
    if (quote == nullptr) {
        if (string_is_key_) {
            key_at_ = nullptr;
            key_bytes_ = 0;
        }
        in_string_ = true;
        return go_on_in_string(at, end);
    }
    const std::string_view text(at, static_cast<std::size_t>(quote - at));
    // What nearly always follows is taken along: most of an answer's tokens are these.
    const char follows = quote + 1 != end ? quote[1] : ' ';
    if (string_is_key_) {
        key_at_ = at;
        key_bytes_ = std::min(text.size(), kMaxKeyBytes);
        if (follows != ':') return quote + 1;
        take_colon();
    } else {
        take_in_string(text);
        if (follows != ',') return quote + 1;
        take_comma();
    }
    return quote + 2;
}

/// In a string that does not end in the piece in which it began: an escaped byte; else up to and with its end, or the
/// next backslash. Returns what comes after.
const char* JsonMeter::go_on_in_string(const char* at, const char* end) {
    if (at == end) return at;
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
        key_bytes_ += run.copy(kept_key_.data() + key_bytes_, kMaxKeyBytes - key_bytes_);
    } else if (string_is_text_) {
        output_text_bytes_ += run.size();
    }
}

/// Numbers, literals and space, up to what means something.
const char* JsonMeter::take_plain(const char* at, const char* end) {
    const char* const begin = at;
    while (at != end && !kMeansSomething[static_cast<unsigned char>(*at)]) ++at;
    if (in_wanted_) {
        for (const char* c = begin; c != at && named_.size() < kMaxNamedBytes; ++c) {
            if (!is_json_space(*c)) named_ += *c;
        }
    }
    return at;
}

void JsonMeter::take_comma() noexcept {
    after_colon_ = in_wanted_ = false;
}

void JsonMeter::take_colon() {
    after_colon_ = true;
    in_wanted_ = !wanted_.empty() && depth_ == 1 && key() == wanted_;
    if (in_wanted_) named_.clear();
}

/// Members whose strings are generated text, in all dialects.
bool JsonMeter::key_names_text() const noexcept {
    const std::string_view name = key();
    switch (name.size()) {
        case 4:
            return name == "text";
        case 7:
            return name == "content" || name == "refusal";
        case 8:
            return name == "thinking";
        case 9:
            return name == "reasoning" || name == "arguments";
        case 17:
            return name == "reasoning_content";
        default:
            return false;
    }
}

/// The piece it lies in goes.
void JsonMeter::keep_key() noexcept {
    if (key_at_ == nullptr) return;
    std::memcpy(kept_key_.data(), key_at_, key_bytes_);
    key_at_ = nullptr;
}

void JsonMeter::open(char bracket) {
    if (depth_ == kMaxDepth) {
        broken_ = true;
        return;
    }
    if (depth_ == 1 && bracket == '{' && after_colon_ && key() == "usage") {
        capturing_ = true;
        usage_.reserve(kUsualUsageBytes);
        usage_.assign(1, bracket);
    }
    if (counts_images_) {
        if (depth_ == 1) in_data_ = bracket == '[' && after_colon_ && key() == "data";
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
