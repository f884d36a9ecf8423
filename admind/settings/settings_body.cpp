#include "admind/settings/settings_body.h"

namespace lumen::admind {

namespace {

const char* code_of(const std::string& reason) {
    if (reason == "is required") return "required";
    if (reason.rfind("unknown key", 0) == 0) return "unknown_field";
    if (reason.rfind("expected ", 0) == 0) return "wrong_type";
    return "invalid_value";
}

}  // namespace

SettingsBody::SettingsBody(const Json& body)
    : body_(body), report_(no_environment_, SettingsReport::References::literal) {}

Section SettingsBody::section() {
    if (!body_.is_object()) {
        report_.error("", "expected a JSON object");
        return Section(report_, YAML::Node(), "");
    }
    const std::string text = to_text(body_);
    // The book holds no zero bytes.
    if (text.find("\\u0000") != std::string::npos) report_.error("", "holds a zero character");
    try {
        return Section(report_, YAML::Load(text), "");  // JSON is YAML
    } catch (const YAML::Exception&) {
        report_.error("", "cannot be read");
        return Section(report_, YAML::Node(), "");
    }
}

std::optional<Problem> SettingsBody::refusal() {
    std::vector<FieldError> errors;
    for (Finding& finding : report_.take()) {
        const char* code = code_of(finding.reason);
        errors.push_back({std::move(finding.path), code, std::move(finding.reason)});
    }
    if (errors.empty()) return std::nullopt;
    return Problem{422, "validation_failed", "Some fields are wrong; see errors.", std::move(errors)};
}

}  // namespace lumen::admind
