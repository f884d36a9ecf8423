#include "admind/rest/request_fields.h"

#include <algorithm>

#include "admind/settings/settings.h"
#include "admind/settings/settings_values.h"

namespace lumen::admind {

namespace {

/// Of text that is valid UTF-8: the JSON reader takes nothing else.
std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u; }));
}

bool has_control(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x20 || byte == 0x7f) return true;
        // U+0080…U+009F
        if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return true;
    }
    return false;
}

std::string trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return std::string(text);
}

}  // namespace

RequestFields::RequestFields(const Json& body) : body_(body) {
    if (!body.is_object()) error("", "wrong_type", "The body must be a JSON object.");
}

const Json* RequestFields::find(const char* name, Need need) {
    known_.insert(name);
    if (!body_.is_object()) return nullptr;
    const auto found = body_.find(name);
    if (found != body_.end() && !found->is_null()) return &*found;
    if (need == Need::required) error(name, "required", "is required");
    return nullptr;
}

std::optional<std::string> RequestFields::text(const char* name, Need need, std::size_t most) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) {
        error(name, "wrong_type", "must be text");
        return std::nullopt;
    }
    std::string text = trimmed(value->get_ref<const std::string&>());
    if (text.empty() || characters(text) > most) {
        error(name, "wrong_length", "must have 1 to " + std::to_string(most) + " characters");
        return std::nullopt;
    }
    if (has_control(text)) {
        error(name, "control_character", "must have no control characters");
        return std::nullopt;
    }
    return text;
}

std::optional<std::string> RequestFields::email(const char* name, Need need) {
    constexpr std::size_t kLongestEmail = 254;
    const auto given = text(name, need, kLongestEmail);
    if (!given) return std::nullopt;
    std::string email = normalised_email(*given);
    if (is_email(email)) return email;
    error(name, "not_an_email", "not an email address");
    return std::nullopt;
}

std::optional<std::int64_t> RequestFields::integer(const char* name, Need need, std::int64_t least, std::int64_t most) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() || (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX)) {
        error(name, "wrong_type", "must be an integer");
        return std::nullopt;
    }
    const auto number = value->get<std::int64_t>();
    if (number >= least && number <= most) return number;
    error(name, "out_of_range", "must be " + std::to_string(least) + " to " + std::to_string(most));
    return std::nullopt;
}

std::optional<bool> RequestFields::boolean(const char* name, Need need) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->get<bool>();
    error(name, "wrong_type", "must be true or false");
    return std::nullopt;
}

std::optional<NanoCoins> RequestFields::coins(const char* name, Need need, Sign sign) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    AmountResult result;
    if (value->is_string()) {
        result = parse_amount(value->get_ref<const std::string&>());
    } else if (value->is_number_integer()) {
        result = parse_amount(value->dump());
    } else {
        // A fraction has been through a double already: its digits are not what was written.
        error(name, "wrong_type", "must be exact text like \"12.45\"");
        return std::nullopt;
    }
    if (!result.amount) {
        error(name, "invalid_amount", result.reason);
        return std::nullopt;
    }
    if (sign == Sign::not_negative && *result.amount < NanoCoins(0)) {
        error(name, "out_of_range", "must be 0 or more");
        return std::nullopt;
    }
    return result.amount;
}

std::optional<std::string> RequestFields::word(const char* name, Need need, const std::vector<std::string>& allowed) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) {
        const std::string& given = value->get_ref<const std::string&>();
        if (std::find(allowed.begin(), allowed.end(), given) != allowed.end()) return given;
    }
    std::string message = "must be one of";
    for (const std::string& one : allowed) message += " " + one;
    error(name, "not_allowed", message);
    return std::nullopt;
}

std::optional<std::int64_t> RequestFields::future_time(const char* name, Need need, std::int64_t now_ms) {
    const Json* value = find(name, need);
    if (value == nullptr) return std::nullopt;
    const auto time = value->is_string() ? parse_utc_time(value->get_ref<const std::string&>()) : std::nullopt;
    if (!time)
        error(name, "not_a_time", "must be a UTC time like 2026-01-31T09:11:05Z");
    else if (*time <= now_ms)
        error(name, "out_of_range", "must be in the future");
    else
        return time;
    return std::nullopt;
}

std::vector<std::string> RequestFields::texts(const char* name, std::size_t most_items, std::size_t most) {
    std::vector<std::string> texts;
    const Json* value = find(name, Need::optional);
    if (value == nullptr) return texts;
    if (!value->is_array() || value->size() > most_items) {
        error(name, "wrong_type", "must be a list of at most " + std::to_string(most_items) + " texts");
        return texts;
    }
    for (const Json& item : *value) {
        const bool good = item.is_string() && !item.get_ref<const std::string&>().empty() &&
                          characters(item.get_ref<const std::string&>()) <= most &&
                          !has_control(item.get_ref<const std::string&>());
        if (good)
            texts.push_back(item.get<std::string>());
        else
            error(std::string(name) + "[" + std::to_string(&item - &value->front()) + "]", "wrong_type",
                  "must be text");
    }
    return texts;
}

const Json* RequestFields::object(const char* name) {
    return find(name, Need::optional);
}

bool RequestFields::given(const char* name) const {
    return body_.is_object() && body_.contains(name);
}

void RequestFields::error(std::string path, std::string code, std::string message) {
    errors_.push_back({std::move(path), std::move(code), std::move(message)});
}

void RequestFields::take_errors(const char* name, RequestFields& inner) {
    inner.note_unknown();
    for (FieldError& problem : inner.errors_) {
        problem.path = problem.path.empty() ? name : std::string(name) + "." + problem.path;
        errors_.push_back(std::move(problem));
    }
}

void RequestFields::note_unknown() {
    if (!body_.is_object()) return;
    for (const auto& [key, value] : body_.items()) {
        if (known_.count(key) == 0) error(key.substr(0, 64), "unknown_field", "is not a field of this request");
    }
}

std::optional<Problem> RequestFields::refusal() {
    note_unknown();
    if (errors_.empty()) return std::nullopt;
    return Problem{422, "validation_failed", "Some fields are wrong; see errors.", std::move(errors_)};
}

}  // namespace lumen::admind
