#include "admind/paging.h"

#include <Poco/Base64Decoder.h>
#include <Poco/Base64Encoder.h>

#include <charconv>
#include <sstream>

#include "admind/bounds.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestCursor = 2048;

Problem bad_request(const char* code, const char* detail) {
    return {400, code, detail};
}

/// Only what the column's type can hold: a cursor is written by us, but sent by anybody.
bool fits_type(const SortColumn& column, const std::string& value) {
    if (std::string_view(column.type) == "text") return true;
    std::int64_t number = 0;
    const char* end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    return error == std::errc{} && stop == end;
}

}  // namespace

std::string encode_cursor(const Json& content) {
    std::ostringstream text;
    Poco::Base64Encoder encoder(text, Poco::BASE64_URL_ENCODING | Poco::BASE64_NO_PADDING);
    encoder.rdbuf()->setLineLength(0);
    encoder << to_text(content);
    encoder.close();
    return text.str();
}

std::optional<Json> decode_cursor(const std::string& cursor) {
    if (cursor.empty() || cursor.size() > kLongestCursor) return std::nullopt;
    try {
        std::istringstream text(cursor);
        Poco::Base64Decoder decoder(text, Poco::BASE64_URL_ENCODING | Poco::BASE64_NO_PADDING);
        const std::string decoded((std::istreambuf_iterator<char>(decoder)), std::istreambuf_iterator<char>());
        auto json = parse_json(decoded);
        return json && json->is_object() ? json : std::nullopt;
    } catch (const std::exception&) {
        return std::nullopt;  // not base64
    }
}

int read_limit(const HttpRequest& request) {
    const auto given = request.query_value("limit");
    if (!given) return kDefaultPage;
    const auto limit = parse_id(*given);
    return limit && *limit <= kLargestPage ? static_cast<int>(*limit) : 0;
}

std::variant<PageRequest, Problem> read_page_request(const HttpRequest& request,
                                                     const std::vector<SortColumn>& columns) {
    PageRequest page;
    page.limit = read_limit(request);
    if (page.limit == 0) return bad_request("invalid_request", "limit must be 1 to 200.");
    page.count = request.query_value("count") == "true";

    std::string sort = request.query_value("sort").value_or(columns.front().name);
    page.descending = !sort.empty() && sort.front() == '-';
    if (page.descending) sort.erase(0, 1);
    const SortColumn* chosen = nullptr;
    for (const SortColumn& column : columns) {
        if (sort == column.name) chosen = &column;
    }
    if (chosen == nullptr) return bad_request("invalid_sort", "This list cannot be sorted by that.");
    page.sort = *chosen;

    const auto cursor = request.query_value("cursor");
    if (!cursor) return page;
    const auto content = decode_cursor(*cursor);
    const Json none;
    const auto member = [&](const char* name) -> const Json& {
        const auto found = content ? content->find(name) : none.end();
        return content && found != content->end() ? *found : none;
    };
    const bool ours = member("s").is_string() &&
                      member("s").get<std::string>() == (page.descending ? "-" : "") + sort &&
                      member("i").is_number_integer() && (member("v").is_string() || member("v").is_null());
    if (!ours) return bad_request("invalid_cursor", "The cursor is not of this list and order.");
    page.resumed = true;
    page.id = member("i").get<std::int64_t>();
    if (member("v").is_string()) page.value = member("v").get<std::string>();
    if (page.value && !fits_type(page.sort, *page.value)) {
        return bad_request("invalid_cursor", "The cursor is not of this list and order.");
    }
    return page;
}

Json read_page(pqxx::transaction_base& transaction, const PageRequest& page, const std::string& inner,
               const std::function<Json(const pqxx::row&)>& to_json) {
    const std::string column = std::string("t.") + page.sort.expression;
    std::string after = "true";
    if (page.resumed) {
        const std::string id = std::to_string(page.id);
        if (page.value) {
            const std::string value = transaction.quote(*page.value) + "::" + page.sort.type;
            after = column + (page.descending ? " < " : " > ") + value + " or (" + column + " = " + value +
                    " and t.id > " + id + ") or " + column + " is null";
        } else {
            after = column + " is null and t.id > " + id;
        }
    }
    const auto rows = transaction.exec("select t.*, " + column + "::text as sort_text from (" + inner + ") t where (" +
                                       after + ") order by " + column + (page.descending ? " desc" : " asc") +
                                       " nulls last, t.id limit " + std::to_string(page.limit + 1));
    Json data = Json::array();
    Json next;
    for (const auto& row : rows) {
        if (data.size() == static_cast<std::size_t>(page.limit)) {
            const auto& last = rows[static_cast<pqxx::result::size_type>(page.limit - 1)];
            const pqxx::field value = last["sort_text"];
            next = encode_cursor({{"s", (page.descending ? "-" : "") + std::string(page.sort.name)},
                                  {"v", value.is_null() ? Json(nullptr) : Json(value.as<std::string>())},
                                  {"i", last["id"].as<std::int64_t>()}});
            break;
        }
        data.push_back(to_json(row));
    }
    Json result{{"data", std::move(data)}, {"next_cursor", std::move(next)}, {"prev_cursor", nullptr}};
    if (page.count) {
        result["total"] = transaction.exec1("select count(*) from (" + inner + ") t")[0].as<std::int64_t>();
    }
    return result;
}

}  // namespace lumen::admind
