// The audit log, for administrators.
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"

namespace lumen::admind {

namespace {

Json part(const pqxx::field& json) {
    return json.is_null() ? Json(nullptr) : parse_json(json.c_str()).value_or(Json());
}

Json entry_json(const pqxx::row& row) {
    return {{"id", id_json(row["id"].as<std::int64_t>())},
            {"time", utc_text(row["ms"].as<std::int64_t>())},
            {"actor", row["actor"].as<std::string>()},
            {"action", row["action"].as<std::string>()},
            {"target", row["target"].as<std::string>()},
            {"before", part(row["before"])},
            {"after", part(row["after"])},
            {"request_id", row["request_id"].as<std::string>()}};
}

}  // namespace

Answer get_audit(const Call& call) {
    static const std::vector<SortColumn> columns{{"time", "id", "bigint"}};
    HttpRequest newest_first = call.http;
    if (!call.http.query_value("sort")) newest_first.query.emplace_back("sort", "-time");
    auto page = read_page_request(newest_first, columns);
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::string query =
        "select id, (extract(epoch from at) * 1000)::bigint ms, actor, action, target, before::text,"
        " coalesce(after, detail)::text as after, request_id::text from audit_log where true";
    for (const char* filter : {"actor", "action", "target"}) {
        if (const auto wanted = call.http.query_value(filter)) {
            query += std::string(" and ") + filter + " = " + transaction.quote(*wanted);
        }
    }
    return {200, read_page(transaction, std::get<PageRequest>(page), query, entry_json)};
}

}  // namespace lumen::admind
