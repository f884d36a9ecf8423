#include "admind/audit.h"

namespace lumen::admind {

void audit(pqxx::transaction_base& transaction, const Call& call, const char* action, const std::string& target,
           const Json& detail) {
    transaction.exec_params0(
        "insert into audit_log (actor, action, target, detail, request_id) values ($1, $2, $3, $4::jsonb, $5::uuid)",
        call.caller.label(), action, target, to_text(detail), call.http.id);
}

}  // namespace lumen::admind
