// Lists with keyset cursors (spec/rest.md §1): a cursor names the last row seen (or the first one, to go back), so rows
// that come or go in between neither repeat nor hide others.
#pragma once

#include <functional>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <variant>
#include <vector>

#include "admind/bounds.h"
#include "admind/text/http_message.h"

namespace lumen::admind {

struct SortColumn {
    const char* name;        ///< in `sort=`
    const char* expression;  ///< column of the inner query
    const char* type;        ///< SQL type of it
};

/// What is named and used, as keys and projects are: by name, by the four of `Use`, by age. The inner query has the
/// columns sort_name, requests, tokens, spent, last_used_at, id.
const std::vector<SortColumn>& columns_of_what_is_used();

struct PageRequest {
    int limit = 0;
    SortColumn sort{};
    bool descending = false;
    bool count = false;
    bool resumed = false;              ///< there was a cursor
    bool backwards = false;            ///< it was a prev_cursor: the rows before the one it names
    std::optional<std::string> value;  ///< of that row's sort column; absent: it was null
    std::int64_t id = 0;               ///< of that row
};
/// `columns`: what may be sorted by; the first one is the default. 400 invalid_request, invalid_sort or invalid_cursor.
std::variant<PageRequest, Problem> read_page_request(const HttpRequest& request,
                                                     const std::vector<SortColumn>& columns);

/// Rows of `inner` (a select that has `id` and the sort columns; its parameters are quoted already) as {data,
/// next_cursor, prev_cursor, total?}. Nulls sort last in either direction, ties by id.
Json read_page(pqxx::transaction_base& transaction, const PageRequest& page, const std::string& inner,
               const std::function<Json(const pqxx::row&)>& to_json);

/// Base64url of JSON; opaque to clients.
std::string encode_cursor(const Json& content);
std::optional<Json> decode_cursor(const std::string& cursor);
/// `limit=` of a request: 1…`most`, `absent` if it is not there; 0 if it is wrong.
int read_limit(const HttpRequest& request, int absent = kDefaultPage, int most = kLargestPage);

}  // namespace lumen::admind
