#include "admind/rest/audit.h"

namespace lumen::admind {

void audit(pqxx::transaction_base& transaction, const Call& call, const char* action, const std::string& target,
           const Json& after, const Json& before) {
    transaction.exec_params0(
        "insert into audit_log (actor, action, target, before, after, request_id)"
        " values ($1, $2, $3, nullif($4, 'null')::jsonb, $5::jsonb, $6::uuid)",
        call.caller.label(), action, target, to_text(before), to_text(after), call.http.id);
}

}  // namespace lumen::admind
