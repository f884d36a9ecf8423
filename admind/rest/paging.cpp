#include "admind/rest/paging.h"

#include <Poco/Base64Decoder.h>
#include <Poco/Base64Encoder.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "admind/bounds.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestCursor = 2048;

Problem bad_request(const char* code, const char* detail) {
    return {400, code, detail};
}

/// The end of the year 9999: what Postgres can add to its epoch without an error.
constexpr std::int64_t kLastMicrosecond = 253'402'300'799'999'999;

/// Times travel in cursors as microseconds, which lose nothing and cannot be malformed.
bool is_time(const SortColumn& column) {
    return std::string_view(column.type) == "timestamptz";
}

/// Only what the column's type can hold: a cursor is written by us, but sent by anybody.
bool fits_type(const SortColumn& column, const std::string& value) {
    if (std::string_view(column.type) == "text") return true;
    std::int64_t number = 0;
    const char* end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    const bool whole = error == std::errc{} && stop == end;
    return whole && (!is_time(column) || (number >= 0 && number <= kLastMicrosecond));
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

int read_limit(const HttpRequest& request, int absent, int most) {
    const auto given = request.query_value("limit");
    if (!given) return absent;
    const auto limit = parse_id(*given);
    return limit && *limit <= most ? static_cast<int>(*limit) : 0;
}

const std::vector<SortColumn>& columns_of_what_is_used() {
    static const std::vector<SortColumn> columns{{"name", "sort_name", "text"},
                                                 {"requests", "requests", "bigint"},
                                                 {"tokens", "tokens", "bigint"},
                                                 {"coins", "spent", "bigint"},
                                                 {"last_used_at", "last_used_at", "timestamptz"},
                                                 {"created_at", "id", "bigint"}};
    return columns;
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
    page.backwards = member("p").is_boolean();
    if (member("v").is_string()) page.value = member("v").get<std::string>();
    if (page.value && !fits_type(page.sort, *page.value)) {
        return bad_request("invalid_cursor", "The cursor is not of this list and order.");
    }
    return page;
}

namespace {

/// Where the rows after (or, going back, before) the cursor's row are, in the list's order: nulls last, ties by id.
std::string beyond_cursor(pqxx::transaction_base& transaction, const PageRequest& page, const std::string& column) {
    if (!page.resumed) return "true";
    const std::string id = std::to_string(page.id);
    const std::string by_id = std::string(" and t.id ") + (page.backwards ? "< " : "> ") + id;
    if (!page.value) {
        const std::string tied = column + " is null" + by_id;
        return page.backwards ? column + " is not null or (" + tied + ")" : tied;
    }
    const std::string value = is_time(page.sort)
                                  ? "('epoch'::timestamptz + " + *page.value + " * interval '1 microsecond')"
                                  : transaction.quote(*page.value) + "::" + page.sort.type;
    const bool smaller = page.descending != page.backwards;
    return column + (smaller ? " < " : " > ") + value + " or (" + column + " = " + value + by_id + ")" +
           (page.backwards ? "" : " or " + column + " is null");
}

std::string order_of(const PageRequest& page, const std::string& column) {
    const bool down = page.descending != page.backwards;
    return column + (down ? " desc" : " asc") + (page.backwards ? " nulls first, t.id desc" : " nulls last, t.id");
}

Json cursor_of(const PageRequest& page, const pqxx::row& row, bool back) {
    const pqxx::field value = row["sort_text"];
    Json content{{"s", (page.descending ? "-" : "") + std::string(page.sort.name)},
                 {"v", value.is_null() ? Json(nullptr) : Json(value.as<std::string>())},
                 {"i", row["id"].as<std::int64_t>()}};
    if (back) content["p"] = true;
    return encode_cursor(content);
}

}  // namespace

Json read_page(pqxx::transaction_base& transaction, const PageRequest& page, const std::string& inner,
               const std::function<Json(const pqxx::row&)>& to_json) {
    const std::string column = std::string("t.") + page.sort.expression;
    const std::string shown = is_time(page.sort) ? "(extract(epoch from " + column + ") * 1000000)::bigint" : column;
    const auto rows = transaction.exec("select t.*, " + shown + "::text as sort_text from (" + inner + ") t where (" +
                                       beyond_cursor(transaction, page, column) + ") order by " +
                                       order_of(page, column) + " limit " + std::to_string(page.limit + 1));
    // One row more than asked for says whether the list goes on in the direction of reading.
    const auto limit = static_cast<std::size_t>(page.limit);
    const bool goes_on = static_cast<std::size_t>(rows.size()) > limit;
    const std::size_t count = std::min<std::size_t>(rows.size(), limit);
    const auto row_at = [&](std::size_t place) {
        return rows[static_cast<pqxx::result::size_type>(page.backwards ? count - 1 - place : place)];
    };
    Json data = Json::array();
    for (std::size_t place = 0; place < count; ++place) data.push_back(to_json(row_at(place)));
    Json next;
    Json previous;
    const bool more_after = page.backwards ? count > 0 : goes_on;
    const bool more_before = page.backwards ? goes_on : page.resumed && count > 0;
    if (more_after) next = cursor_of(page, row_at(count - 1), false);
    if (more_before) previous = cursor_of(page, row_at(0), true);
    Json result{{"data", std::move(data)}, {"next_cursor", std::move(next)}, {"prev_cursor", std::move(previous)}};
    if (page.count) {
        result["total"] = transaction.exec1("select count(*) from (" + inner + ") t")[0].as<std::int64_t>();
    }
    return result;
}

}  // namespace lumen::admind
