#include "lumen_core/picture_event.h"

#include <algorithm>

namespace lumen {
namespace {

constexpr std::string_view kFinished = "image_generation.completed";
constexpr std::string_view kUnfinished = "image_generation.partial_image";
/// Longer than any field or type that is looked for.
constexpr std::size_t kMaxWordBytes = 64;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kLineEnds = "\r\n";

}  // namespace

bool is_finished_picture(std::string_view type) noexcept {
    return type == kFinished;
}

bool is_picture_event(std::string_view type) noexcept {
    return type == kFinished || type == kUnfinished;
}

void PictureEvent::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        const char c = bytes.front();
        if (kLineEnds.find(c) != kLineEnds.npos) {
            end_line();
            bytes.remove_prefix(1);
            continue;
        }
        if (at_ == At::field) {
            if (c == ':') begin_value();
            if (c != ':' && field_.size() < kMaxWordBytes) field_ += c;
            bytes.remove_prefix(1);
            continue;
        }
        if (at_ == At::value_begin) {
            at_ = field_ == "data" ? At::data : At::name;
            if (c == ' ') {
                bytes.remove_prefix(1);
                continue;
            }
        }
        const std::string_view run = bytes.substr(0, bytes.find_first_of(kLineEnds));
        if (at_ == At::data) json_.feed(run);
        if (at_ == At::name) name_ += run.substr(0, kMaxWordBytes - std::min(kMaxWordBytes, name_.size()));
        bytes.remove_prefix(run.size());
    }
}

void PictureEvent::begin_value() noexcept {
    if (field_.compare(0, kByteOrderMark.size(), kByteOrderMark) == 0) field_.erase(0, kByteOrderMark.size());
    at_ = field_ == "data" || field_ == "event" ? At::value_begin : At::other;
    if (field_ == "event") name_.clear();
    if (field_ != "data") return;
    if (any_data_) json_.feed("\n");  // as the standard joins them
    any_data_ = true;
}

void PictureEvent::end_line() {
    at_ = At::field;
    field_.clear();
}

bool PictureEvent::finished() const noexcept {
    return json_.whole() && is_finished_picture(json_.named().empty() ? std::string_view(name_) : json_.named());
}

std::optional<SaidUsage> PictureEvent::usage() const noexcept {
    if (!finished() || json_.usage_object().empty()) return std::nullopt;
    return usage_of_object(Operation::images_generations, json_.usage_object());
}

}  // namespace lumen
