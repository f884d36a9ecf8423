#include "lumen_core/form_facts.h"

#include <algorithm>
#include <utility>

namespace lumen {
namespace {

constexpr std::size_t kMaxBoundaryBytes = 70;  // RFC 2046
constexpr std::size_t kMaxFieldNameBytes = 64;

/// The fields that mean something to us: each at most once, and no other spelling of them passes.
constexpr std::array<std::string_view, 4> kFields{"model", "file", "stream", "response_format"};

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equals_folded(std::string_view text, std::string_view lower_case) noexcept {
    return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(),
                      [](char a, char b) { return lower(a) == b; });
}

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

bool is_token_char(char c) noexcept {
    constexpr std::string_view kSeparators = "()<>@,;:\\\"/[]?={}";
    return c > ' ' && c < '\x7f' && kSeparators.find(c) == std::string_view::npos;
}

struct Parameter {
    std::string_view name;
    std::string_view value;  ///< without quotes; one with a backslash in it is malformed
};

/// Takes `; name=value` off the front of `rest`. false: malformed.
bool next_parameter(std::string_view& rest, Parameter& parameter) noexcept {
    if (rest.front() != ';') return false;
    rest = trimmed(rest.substr(1));
    const auto name_end = std::find_if_not(rest.begin(), rest.end(), is_token_char);
    parameter.name = rest.substr(0, static_cast<std::size_t>(name_end - rest.begin()));
    rest.remove_prefix(parameter.name.size());
    if (parameter.name.empty() || rest.empty() || rest.front() != '=') return false;
    rest.remove_prefix(1);
    if (!rest.empty() && rest.front() == '"') {
        const std::size_t quote = rest.find('"', 1);
        if (quote == std::string_view::npos) return false;
        parameter.value = rest.substr(1, quote - 1);
        rest.remove_prefix(quote + 1);
        if (parameter.value.find('\\') != std::string_view::npos) return false;
    } else {
        const auto end = std::find_if_not(rest.begin(), rest.end(), is_token_char);
        parameter.value = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
        rest.remove_prefix(parameter.value.size());
    }
    rest = trimmed(rest);
    return true;
}

std::uint64_t little_endian(std::string_view bytes) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<std::uint8_t>(bytes[i - 1]);
    return value;
}

}  // namespace

std::string form_boundary(std::string_view content_type) {
    const std::size_t end = std::min(content_type.find(';'), content_type.size());
    if (!equals_folded(trimmed(content_type.substr(0, end)), "multipart/form-data")) return {};
    std::string_view rest = content_type.substr(end);
    std::string_view boundary;
    for (Parameter parameter; !rest.empty();) {
        if (!next_parameter(rest, parameter)) return {};
        if (!equals_folded(parameter.name, "boundary")) continue;
        if (!boundary.empty()) return {};  // which of the two, others may decide otherwise
        boundary = parameter.value;
    }
    const bool plain = std::all_of(boundary.begin(), boundary.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
    if (boundary.size() > kMaxBoundaryBytes || !plain || trimmed(boundary) != boundary) return {};
    return std::string{boundary};
}

FormReader::FormReader(std::string_view body, std::string_view boundary) : body_(body), delimiter_("\r\n--") {
    delimiter_ += boundary;
}

bool FormReader::read(std::size_t bytes) {
    while (state_ != State::done && !refused_) {
        switch (state_) {
            case State::at_first_boundary:
                read_first_boundary();
                break;
            case State::in_header:
                read_header();
                break;
            case State::in_content:
                if (!read_content(bytes)) return false;
                break;
            case State::done:
                break;
        }
    }
    return true;
}

FactsResult FormReader::result() && {
    if (refused_) return {std::nullopt, std::move(error_)};
    return {std::move(facts_), {}};
}

void FormReader::refuse(std::string message) {
    if (refused_) return;
    refused_ = true;
    error_ = {std::move(message), "", false};
}

void FormReader::refuse_field(std::string_view name, std::string_view rule) {
    if (refused_) return;
    refused_ = true;
    error_ = {"'" + std::string{name} + "' " + std::string{rule}, std::string{name}, true};
}

void FormReader::read_first_boundary() {
    const std::string_view dashes = std::string_view{delimiter_}.substr(2);
    if (body_.substr(0, dashes.size()) != dashes) {
        return refuse("The form does not begin with the boundary that its Content-Type names.");
    }
    at_ = dashes.size();
    after_boundary();
}

/// `at_` is behind a boundary: a line end, and a part follows; or two dashes, and nothing does.
void FormReader::after_boundary() {
    const std::string_view rest = body_.substr(at_);
    if (rest.substr(0, 2) == "\r\n") {
        at_ += 2;
        state_ = State::in_header;
    } else if (rest == "--" || rest == "--\r\n") {
        finish();
    } else {
        refuse("The form has something behind a boundary that does not belong there.");
    }
}

void FormReader::read_header() {
    if (++parts_ > kMaxFormParts) return refuse("The form has more than " + std::to_string(kMaxFormParts) + " parts.");
    std::string_view header = body_.substr(at_, kMaxPartHeaderBytes);
    const std::size_t end = header.find("\r\n\r\n");
    if (end == std::string_view::npos) return refuse("The header of a part of the form does not end, or is too long.");
    header = header.substr(0, end + 2);
    part_ = {};
    part_.content = at_ + end + 4;
    bool has_disposition = false;
    while (!header.empty() && !refused_) {
        const std::size_t line_end = header.find("\r\n");
        read_header_line(header.substr(0, line_end), has_disposition);
        header.remove_prefix(line_end + 2);
    }
    if (!has_disposition || part_.name.empty()) return refuse("A part of the form has no name.");
    at_ = part_.content;
    state_ = State::in_content;
}

void FormReader::read_header_line(std::string_view line, bool& has_disposition) {
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    const bool plain = colon != std::string_view::npos && std::all_of(name.begin(), name.end(), is_token_char);
    if (!plain || line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
        return refuse("A header of a part of the form is not well-formed.");
    }
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (equals_folded(name, "content-disposition")) {
        if (has_disposition) return refuse("A part of the form has two names.");
        has_disposition = true;
        read_disposition(value);
    } else if (equals_folded(name, "content-transfer-encoding")) {
        const bool as_it_is =
            equals_folded(value, "binary") || equals_folded(value, "8bit") || equals_folded(value, "7bit");
        if (!as_it_is) refuse("A part of the form is encoded: send it as it is.");
    } else if (equals_folded(name, "content-type")) {
        if (equals_folded(value.substr(0, 10), "multipart/")) refuse("A part of the form is a form itself.");
    }
}

void FormReader::read_disposition(std::string_view value) {
    const std::size_t end = std::min(value.find(';'), value.size());
    if (!equals_folded(trimmed(value.substr(0, end)), "form-data")) {
        return refuse("A part of the form is not form-data.");
    }
    std::string_view rest = value.substr(end);
    for (Parameter parameter; !rest.empty();) {
        if (!next_parameter(rest, parameter)) return refuse("The name of a part of the form is not well-formed.");
        if (equals_folded(parameter.name, "name")) {
            const bool first = part_.name.empty();
            part_.name = parameter.value;
            if (!first || part_.name.size() > kMaxFieldNameBytes)
                return refuse("A part of the form has no plain name.");
        } else if (equals_folded(parameter.name, "name*")) {
            return refuse("A part of the form has no plain name.");
        } else if (equals_folded(parameter.name, "filename") || equals_folded(parameter.name, "filename*")) {
            part_.is_file = true;
        }
    }
    for (std::size_t i = 0; i < kFields.size(); ++i) {
        if (!equals_folded(part_.name, kFields[i])) continue;
        if (part_.name != kFields[i]) return refuse_field(kFields[i], "must be written in small letters.");
        if (std::exchange(seen_[i], true)) return refuse_field(kFields[i], "is there twice.");
    }
}

/// false: not found within the slice, and `at_` has moved on.
bool FormReader::read_content(std::size_t& bytes) {
    const std::size_t window = std::min(bytes, body_.size() - at_);
    const std::size_t seen = std::min(window + delimiter_.size() - 1, body_.size() - at_);
    const std::size_t found = body_.substr(at_, seen).find(delimiter_);
    if (found == std::string_view::npos) {
        at_ += window;
        bytes -= window;
        if (at_ < body_.size()) return false;
        refuse("The form breaks off: its last boundary is missing.");
        return true;
    }
    const std::size_t end = at_ + found;
    bytes -= std::min(bytes, found);
    take_part(body_.substr(part_.content, end - part_.content));
    at_ = end + delimiter_.size();
    if (!refused_) after_boundary();
    return true;
}

void FormReader::take_part(std::string_view content) {
    if (part_.name == "model") return take_model(content);
    if (part_.name == "file") return take_file(content);
    if (part_.name == "stream") {
        facts_.stream = equals_folded(content, "true") || content == "1";
        const bool off = equals_folded(content, "false") || content == "0" || content.empty();
        if (!facts_.stream && !off) refuse_field("stream", "must be true or false.");
    }
}

void FormReader::take_model(std::string_view content) {
    if (part_.is_file) return refuse_field("model", "must be a field, not a file.");
    if (!is_model_name(content)) {
        return refuse_field(
            "model", "must have 1 to " + std::to_string(kMaxModelNameBytes) + " bytes and no control characters.");
    }
    facts_.model = content;
    facts_.model_value = {static_cast<std::uint32_t>(part_.content), static_cast<std::uint32_t>(content.size())};
}

void FormReader::take_file(std::string_view content) {
    facts_.audio_bytes = content.size();
    facts_.audio_ms = pcm_length_ms(content);
}

void FormReader::finish() {
    state_ = State::done;
    facts_.input_bytes = body_.size() - facts_.audio_bytes;
    const auto missing = [this](const char* name, const char* message) {
        if (refused_) return;
        refused_ = true;
        error_ = {message, name, false};
    };
    if (facts_.model.empty()) missing("model", "'model' is missing. GET /v1/models lists the models.");
    if (!seen_[1]) missing("file", "'file' is missing: the sound that is to be read.");
}

std::optional<std::uint64_t> pcm_length_ms(std::string_view file) noexcept {
    constexpr std::size_t kMostChunks = 64;
    constexpr std::uint64_t kPcm = 1, kFloat = 3, kExtensible = 0xFFFE;
    if (file.size() < 12 || file.substr(0, 4) != "RIFF" || file.substr(8, 4) != "WAVE") return std::nullopt;
    std::uint64_t bytes_per_second = 0;
    std::size_t at = 12;
    for (std::size_t i = 0; i < kMostChunks && file.size() - at >= 8; ++i) {
        const std::string_view id = file.substr(at, 4);
        const std::uint64_t said = little_endian(file.substr(at + 4, 4));
        const std::string_view chunk = file.substr(at + 8);
        if (id == "data") {
            if (bytes_per_second == 0) return std::nullopt;
            // To the end of the file, whatever length is said: it may be one from before it was known, or a lie.
            return (chunk.size() * std::uint64_t{1000} + bytes_per_second - 1) / bytes_per_second;
        }
        if (id == "fmt " && said >= 16 && chunk.size() >= 16) {
            const std::uint64_t format = little_endian(chunk.substr(0, 2));
            const std::uint64_t channels = little_endian(chunk.substr(2, 2));
            const std::uint64_t rate = little_endian(chunk.substr(4, 4));
            const std::uint64_t bits = little_endian(chunk.substr(14, 2));
            if (format != kPcm && format != kFloat && format != kExtensible) return std::nullopt;
            // Not the rate in bytes that the file says as well: decoders do not go by it.
            bytes_per_second = channels * rate * (bits / 8);
        }
        if (said + (said & 1) > chunk.size()) return std::nullopt;
        at += 8 + static_cast<std::size_t>(said + (said & 1));
    }
    return std::nullopt;
}

}  // namespace lumen
