// The rewriting half of request_facts.h: a body as one endpoint gets it, every other byte kept.
#include <algorithm>

#include "lumen_core/api_error.h"
#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

using Span = RequestFacts::Span;
using StreamOptions = RequestFacts::StreamOptions;

std::string json_string(std::string_view text) {
    std::string quoted = "\"";
    append_json_escaped(quoted, text);
    return quoted += '"';
}

Splice replace(Span span, std::string text) {
    return {span.offset, span.length, std::move(text)};
}
Splice insert_after(Span span, std::string text) {
    return {span.offset + span.length, 0, std::move(text)};
}

/// Makes `name` true: replaces a value that is not, or adds `"name":true,` to what has to be inserted.
void switch_on(std::string_view name, const std::optional<Span>& value, std::string_view body, std::string& missing,
               std::vector<Splice>& splices) {
    if (!value) {
        missing += json_string(name) + ":true,";
    } else if (body.substr(value->offset, value->length) != "true") {
        splices.push_back(replace(*value, "true"));
    }
}

void ask_for_usage(const RequestFacts& facts, std::string_view body, bool continuous, std::vector<Splice>& splices) {
    const StreamOptions options = facts.stream_options.value_or(StreamOptions{});
    std::string missing;
    switch_on("include_usage", options.include_usage, body, missing, splices);
    if (continuous) switch_on("continuous_usage_stats", options.continuous_usage_stats, body, missing, splices);
    if (missing.empty()) return;

    if (options.is_empty) missing.pop_back();  // the comma
    if (!facts.stream_options) {
        // The body has at least its model, so a comma always belongs behind this.
        splices.push_back(insert_after(facts.object_open, "\"stream_options\":{" + missing + "},"));
    } else if (options.is_null) {
        splices.push_back(replace(options.value, "{" + missing + "}"));
    } else {
        splices.push_back(insert_after(options.value, std::move(missing)));
    }
}

}  // namespace

std::vector<Splice> upstream_splices(const RequestFacts& facts, std::string_view body, std::string_view upstream_model,
                                     bool ask_stream_usage, bool ask_continuous_usage) {
    std::vector<Splice> splices;
    if (upstream_model != facts.model) splices.push_back(replace(facts.model_value, json_string(upstream_model)));
    if (facts.stream && ask_stream_usage) {
        ask_for_usage(facts, body, ask_continuous_usage && !facts.wants_usage, splices);
    }
    std::sort(splices.begin(), splices.end(), [](const Splice& a, const Splice& b) { return a.offset < b.offset; });
    return splices;
}

std::vector<Splice> form_splices(const RequestFacts& facts, std::string_view upstream_model) {
    if (upstream_model == facts.model) return {};
    return {replace(facts.model_value, std::string{upstream_model})};
}

}  // namespace lumen
