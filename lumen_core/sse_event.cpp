#include "lumen_core/sse_event.h"

#include <algorithm>
#include <cstring>

#include "lumen_core/json_members.h"
#include "lumen_core/picture_event.h"

namespace lumen {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool starts_with(std::string_view text, std::string_view prefix) noexcept {
    return text.substr(0, prefix.size()) == prefix;
}

/// The value of a line `field: value`, or nullopt if it is another field's.
std::optional<std::string_view> field_value(std::string_view line, std::string_view field) noexcept {
    if (!starts_with(line, field)) return std::nullopt;
    line.remove_prefix(field.size());
    if (line.empty()) return line;  // a field without a colon has an empty value
    if (line.front() != ':') return std::nullopt;
    line.remove_prefix(1);
    if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    return line;
}

/// Members that matter, wherever in an event they are: by name alone, since an unescaped quote before a colon can only
/// be the end of a name.
enum class Name : std::uint8_t { other, text, reasoning, reasoning_content, finish_reason, facts, type };

/// How events tell what they are: by their members, or by a type as responses and messages do.
enum class Form : std::uint8_t { chunks, responses, messages, transcript, picture };

Form form_of(Operation operation) noexcept {
    switch (operation) {
        case Operation::responses:
            return Form::responses;
        case Operation::messages:
            return Form::messages;
        case Operation::audio_transcriptions:
        case Operation::audio_translations:
            return Form::transcript;
        case Operation::images_generations:
            return Form::picture;
        default:
            return Form::chunks;
    }
}

/// The name that ends at `quote` (its closing quote), if it is one of those this dialect's events are scanned for.
Name name_before(const char* begin, const char* quote, Form form) noexcept {
    const std::string_view before(begin, static_cast<std::size_t>(quote - begin));
    const auto is = [before](std::string_view name) noexcept {
        return before.size() > name.size() && before.substr(before.size() - name.size()) == name &&
               before[before.size() - name.size() - 1] == '"';
    };
    const auto text_if = [&is](std::string_view name) noexcept { return is(name) ? Name::text : Name::other; };
    if (before.empty()) return Name::other;
    const bool responses = form == Form::responses;
    const bool chunks = form == Form::chunks || form == Form::transcript;  // vLLM transcribes in chunks
    switch (before.back()) {  // most names are none of ours, and this tells at once
        case 'a':
            return responses || form == Form::transcript ? text_if("delta") : Name::other;
        case 'e':
            if (form != Form::chunks && is("type")) return Name::type;
            return !responses && is("usage") ? Name::facts : Name::other;
        case 'g':
            if (form == Form::messages) return text_if("thinking");
            return chunks && is("reasoning") ? Name::reasoning : Name::other;
        case 'l':
            return chunks ? text_if("refusal") : Name::other;
        case 'n':
            if (form == Form::messages) return text_if("partial_json");
            return is("finish_reason") ? Name::finish_reason : Name::other;
        case 'r':
            return is("error") ? Name::facts : Name::other;
        case 's':
            return chunks ? text_if("arguments") : Name::other;
        case 't':
            if (form == Form::messages) return text_if("text");
            if (!chunks) return Name::other;
            if (is("content") || (form == Form::chunks && is("text"))) return Name::text;
            return is("reasoning_content") ? Name::reasoning_content : Name::other;
        default:
            return Name::other;
    }
}

const char* skip_space(const char* at, const char* end) noexcept {
    while (at != end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) ++at;
    return at;
}

bool is_object(std::string_view value) noexcept {
    return !value.empty() && value.front() == '{';
}

bool is_empty_array(std::string_view value) noexcept {
    return value.size() >= 2 && value.front() == '[' && value.back() == ']' &&
           trim_json_space(value.substr(1, value.size() - 2)).empty();
}

bool ends_response(std::string_view type) noexcept {
    return type == "response.completed" || type == "response.incomplete" || type == "response.failed";
}

/// Of the types of events: there is more to be read than a text.
bool has_facts_by_type(std::string_view type) noexcept {
    return type == "error" || ends_response(type) || type == "message_stop" || type == "transcript.text.done" ||
           is_picture_event(type);
}

/// How most servers write in each chunk that the usage is yet to come.
constexpr std::string_view kNoUsageYet[] = {R"(,"usage":null})", R"(, "usage": null})"};

/// The bytes of a last member `usage` that is null, with the comma before it: most chunks of a stream are such, and
/// where that is all that was looked for they need no closer look. 0: it is not so, or not as plain.
std::size_t null_usage_at_end(std::string_view data) noexcept {
    for (const std::string_view end : kNoUsageYet) {
        if (data.size() <= end.size() || data.substr(data.size() - end.size()) != end) continue;
        data.remove_suffix(end.size());
        const char last = data.back();  // of the member before: whether in a string or not, it must end here
        const bool plain = data.front() == '{' && (last == '}' || last == ']' || last == '"' || last == 'l');
        return plain ? end.size() - 1 : 0;
    }
    return 0;
}

/// The text of a JSON string that has no escapes; anything else is not one of the names we know.
std::string_view plain_string(std::string_view value) noexcept {
    return value.size() >= 2 && value.front() == '"' ? value.substr(1, value.size() - 2) : std::string_view();
}

/// What the dialects with typed events have at the top of one; empty where it has none.
struct TypedEvent {
    std::string_view type;  ///< or the name of the event, where it has no such member
    std::string_view response;
    std::string_view message;
    std::string_view usage;
    bool error = false;
};

/// Nothing if it is malformed.
std::optional<TypedEvent> typed_event(std::string_view data, std::string_view event_name) noexcept {
    TypedEvent event;
    event.type = event_name;
    JsonMembers members(data);
    JsonMember member;
    while (members.next(member)) {
        if (member.key == "type") event.type = plain_string(member.value);
        if (member.key == "response") event.response = member.value;
        if (member.key == "message") event.message = member.value;
        if (member.key == "usage") event.usage = member.value;
        if (member.key == "error") event.error = member.value != "null";
    }
    if (members.malformed()) return std::nullopt;
    return event;
}

}  // namespace

SseLine first_sse_line(std::string_view text) noexcept {
    constexpr std::size_t kBlockBytes = 512;  // so that a search for the rarer end never runs far past the other
    for (std::size_t at = 0; at < text.size(); at += kBlockBytes) {
        std::string_view block = text.substr(at, kBlockBytes);
        block = block.substr(0, block.find('\n'));
        const std::size_t end = at + std::min(block.find('\r'), block.size());
        if (end == text.size() || end == at + kBlockBytes) continue;
        const bool crlf = text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n';
        return {text.substr(0, end), end + (crlf ? 2 : 1)};
    }
    return {text, text.size()};
}

const SseEventFacts& SseEventReader::read(Operation operation, std::string_view event, MessageSoFar& message) {
    operation_ = operation;
    message_ = &message;
    facts_.done = facts_.error = facts_.usage_only = facts_.usage_is_final = facts_.picture = false;
    facts_.usage.reset();
    facts_.output_text_bytes = 0;
    facts_.usage_members.clear();
    facts_.only_text.reset();
    finishes_choice_ = false;

    const std::string_view data = facts_.error_data = collect_data(event);
    if (trim_json_space(data) == "[DONE]") {
        facts_.done = true;
        return facts_;
    }
    if (scan_members(data)) read_facts(data);
    find_only_text(event);
    return facts_;
}

void SseEventReader::read_facts(std::string_view data) {
    switch (form_of(operation_)) {
        case Form::responses:
            read_response_event(data);
            break;
        case Form::messages:
            read_message_event(data);
            break;
        case Form::transcript:
            read_transcript_event(data);
            break;
        case Form::picture:
            read_picture_event(data);
            break;
        case Form::chunks:
            read_chunk(data);
    }
}

void SseEventReader::find_only_text(std::string_view event) noexcept {
    if (texts_seen_ != 1 || !last_text_.clean || data_lines_.size() != 1 || finishes_choice_) return;
    if (facts_.done || facts_.error || facts_.picture || facts_.usage || facts_.usage_only) return;
    const auto begin = static_cast<std::size_t>(last_text_.text.data() - event.data());
    facts_.only_text = EventPart{begin, begin + last_text_.text.size()};
}

/// The data of the event: a view of its only line, or its lines joined as the standard says.
std::string_view SseEventReader::collect_data(std::string_view event) {
    event_name_ = {};
    data_lines_.clear();
    joined_data_.clear();
    std::string_view data;
    std::size_t at = starts_with(event, kByteOrderMark) ? kByteOrderMark.size() : 0;
    while (at < event.size()) {
        const SseLine line = first_sse_line(event.substr(at));
        if (const auto value = field_value(line.text, "data")) {
            const auto in_event = static_cast<std::size_t>(value->data() - event.data());
            if (data_lines_.empty()) {
                data = *value;
                data_lines_.push_back({0, in_event});
            } else {
                if (data_lines_.size() == 1) joined_data_ = data;
                joined_data_ += '\n';
                data_lines_.push_back({joined_data_.size(), in_event});
                joined_data_ += *value;
            }
        } else if (const auto name = field_value(line.text, "event")) {
            event_name_ = *name;
        }
        at += line.next;
    }
    return data_lines_.size() > 1 ? std::string_view(joined_data_) : data;
}

/// One pass over the names of all members: counts the text, and says whether there is something to be read exactly.
/// Most events have no usage and no error, and are looked at only here.
bool SseEventReader::scan_members(std::string_view data) {
    const Form form = form_of(operation_);
    bool has_facts = form != Form::chunks && has_facts_by_type(event_name_);
    facts_seen_ = texts_seen_ = 0;
    std::uint64_t reasoning_bytes = 0;
    std::uint64_t reasoning_content_bytes = 0;

    const char* const begin = data.data();
    const char* const end = begin + data.size();
    const char* at = begin;
    while (at < end) {
        const char* const colon = static_cast<const char*>(std::memchr(at, ':', static_cast<std::size_t>(end - at)));
        if (colon == nullptr) break;
        at = colon + 1;
        const char* quote = colon;
        while (quote != begin && (quote[-1] == ' ' || quote[-1] == '\t')) --quote;
        if (quote == begin || *--quote != '"') continue;
        const Name name = name_before(begin, quote, form);
        if (name == Name::other) continue;
        if (name == Name::facts) {
            has_facts = true;
            ++facts_seen_;
            continue;
        }
        const char* const value = skip_space(at, end);
        if (value == end || *value != '"') continue;
        const CountedString string = count_string(value + 1, end);
        at = string.after;
        if (name == Name::text || name == Name::reasoning || name == Name::reasoning_content) {
            ++texts_seen_;
            last_text_ = string;
        }
        if (name == Name::text) facts_.output_text_bytes += string.bytes;
        if (name == Name::reasoning) reasoning_bytes += string.bytes;
        if (name == Name::reasoning_content) reasoning_content_bytes += string.bytes;
        if (name == Name::finish_reason) finishes_choice_ = true;
        if (name == Name::type) has_facts = has_facts || has_facts_by_type(string.text);
    }
    // Servers that are changing the name send the same text under both.
    facts_.output_text_bytes += std::max(reasoning_bytes, reasoning_content_bytes);
    return has_facts;
}

/// A chunk of chat/completions or completions.
void SseEventReader::read_chunk(std::string_view data) {
    if (const std::size_t bytes = facts_seen_ == 1 ? null_usage_at_end(data) : 0; bytes > 0) {
        mark_usage_member(data.size() - 1 - bytes, data.size() - 1);
        return;
    }
    bool error = false;
    bool has_choice = false;
    bool has_usage_object = false;
    bool kept_before = false;      // a member that is not cut precedes
    std::size_t previous_end = 0;  // of the member before
    std::size_t open_cut = 0;      // 0: none, as a member begins behind its brace

    JsonMembers members(data);
    JsonMember member;
    while (members.next(member)) {
        if (open_cut != 0) mark_usage_member(open_cut, member.begin);
        open_cut = 0;
        if (member.key == "usage") {
            if (kept_before) {
                mark_usage_member(previous_end, member.end);  // with the comma before it
            } else {
                open_cut = member.begin;  // with the comma after it, if one comes
            }
            has_usage_object = has_usage_object || is_object(member.value);
            if (const auto usage = usage_of_object(operation_, member.value)) facts_.usage = usage;
        } else {
            kept_before = true;
            if (member.key == "error") error = member.value != "null";
            if (member.key == "choices") has_choice = member.value != "null" && !is_empty_array(member.value);
        }
        previous_end = member.end;
    }
    if (open_cut != 0) mark_usage_member(open_cut, previous_end);

    if (members.malformed()) {
        facts_.usage.reset();
        facts_.usage_members.clear();
        return;
    }
    facts_.error = error;
    facts_.usage_only = has_usage_object && !has_choice && !error;
    facts_.usage_is_final = facts_.usage.has_value() && (!has_choice || finishes_choice_);
}

/// An event of the responses dialect: `type` tells what it is, also as the event's name.
void SseEventReader::read_response_event(std::string_view data) {
    const auto event = typed_event(data, event_name_);
    if (!event) return;
    facts_.error = event->error || event->type == "error" || event->type == "response.failed";
    facts_.done = ends_response(event->type);
    if (!facts_.done || !is_object(event->response)) return;

    JsonMembers response(event->response);
    JsonMember member;
    while (response.next(member)) {
        if (member.key != "usage") continue;
        if (const auto usage = usage_of_object(operation_, member.value)) facts_.usage = usage;
    }
    facts_.usage_is_final = facts_.usage.has_value();
}

/// An event of Anthropic's dialect. message_start tells the input, each message_delta the totals so far.
void SseEventReader::read_message_event(std::string_view data) {
    const auto event = typed_event(data, event_name_);
    if (!event) return;
    std::string_view usage = event->usage;
    facts_.error = event->error || event->type == "error";
    facts_.done = event->type == "message_stop";
    if (usage.empty() && is_object(event->message)) {
        JsonMembers inner(event->message);
        JsonMember member;
        while (inner.next(member)) {
            if (member.key == "usage") usage = member.value;
        }
        if (inner.malformed()) return;
    }
    if (!is_object(usage)) return;
    message_->counts.take(usage);
    facts_.usage = message_->counts.usage();
    if (event->type == "message_delta") {
        MessageCounts of_delta;
        of_delta.take(usage);
        message_->delta_seen = true;
        message_->output_said = message_->output_said || of_delta.output;
    }
    if (!facts_.usage) return;
    facts_.usage_is_final = message_->delta_seen;
    facts_.usage->lacks_output = !message_->output_said;
}

/// Speech to text as a stream: OpenAI's typed events, or chunks like those of chat (vLLM).
void SseEventReader::read_transcript_event(std::string_view data) {
    const auto event = typed_event(data, event_name_);
    if (!event) return;
    if (event->type != "transcript.text.done") {
        read_chunk(data);
        facts_.error = facts_.error || event->type == "error";
        return;
    }
    facts_.done = true;
    facts_.usage = usage_of_object(operation_, event->usage);
    facts_.usage_is_final = facts_.usage.has_value();
}

/// A picture that comes into being. Events longer than are kept are read by PictureEvent.
void SseEventReader::read_picture_event(std::string_view data) {
    const auto event = typed_event(data, event_name_);
    if (!event) return;
    facts_.error = event->error || event->type == "error";
    facts_.picture = is_picture_event(event->type);
    facts_.done = is_finished_picture(event->type);
    if (!facts_.done) return;
    if (is_object(event->usage)) facts_.usage = usage_of_object(operation_, event->usage);
    facts_.usage_is_final = facts_.usage.has_value();
}

void SseEventReader::mark_usage_member(std::size_t begin, std::size_t end) {
    facts_.usage_members.push_back({event_offset(begin), event_offset(end)});
}

/// Where a byte of the joined data stands in the event.
std::size_t SseEventReader::event_offset(std::size_t data_offset) const noexcept {
    const auto after = std::upper_bound(data_lines_.begin(), data_lines_.end(), data_offset,
                                        [](std::size_t offset, const DataLine& line) { return offset < line.in_data; });
    const DataLine& line = *(after - 1);
    return line.in_event + (data_offset - line.in_data);
}

}  // namespace lumen
