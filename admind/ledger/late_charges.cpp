#include "admind/ledger/late_charges.h"

#include <algorithm>
#include <unordered_set>

#include "admind/stores/pg_arrays.h"

namespace lumen::admind {

ReapedRequests read_reaped(pqxx::transaction_base& transaction, const std::vector<std::string>& corrections) {
    ReapedRequests reaped;
    if (corrections.empty()) return reaped;
    for (const auto& row :
         transaction.exec_params("select request_id::text, cost, tokens_in, tokens_out from ledger_events "
                                 "where kind = 6 and request_id = any($1::uuid[])",
                                 pg_array(corrections))) {
        reaped[row[0].as<std::string>()] = {true, row[1].as<std::int64_t>(), row[2].as<std::uint64_t>(),
                                            row[3].as<std::uint64_t>()};
    }
    return reaped;
}

namespace {

/// Of these requests those that were charged what they cost, or will be: by one statement, as gates that send their
/// last seconds again after a failover have thousands of them.
std::unordered_set<std::string> read_settled(pqxx::transaction_base& transaction, const std::vector<LateEvent>& lates) {
    std::vector<std::string> requests;
    requests.reserve(lates.size());
    for (const LateEvent& late : lates) requests.push_back(late.request_id);
    std::unordered_set<std::string> settled;
    for (const auto& row : transaction.exec_params(
             "select request_id::text from ledger_events where kind in (1, 5) and request_id = any($1::uuid[]) "
             "union all select request_id::text from money_ops where kind = 3 and request_id = any($1::uuid[])",
             pg_array(requests))) {
        settled.insert(row[0].as<std::string>());
    }
    return settled;
}

}  // namespace

std::vector<AccountId> resolve_lates(pqxx::transaction_base& transaction, std::vector<LateEvent> lates) {
    std::vector<AccountId> charged;
    if (lates.empty()) return charged;
    const std::unordered_set<std::string> settled = read_settled(transaction, lates);
    // In order of account, as everybody who locks several rows of account_ops must.
    std::stable_sort(lates.begin(), lates.end(),
                     [](const LateEvent& a, const LateEvent& b) { return a.account < b.account; });
    for (const LateEvent& late : lates) {
        if (settled.count(late.request_id) > 0) continue;
        transaction.exec_params("select 1 from account_ops where account_id = $1 for update", late.account);
        const auto row = transaction.exec_params1(
            "select exists (select 1 from ledger_events where request_id = $1::uuid and kind in (1, 5)) "
            "or exists (select 1 from money_ops where request_id = $1::uuid and kind = 3), "
            "coalesce((select sum(cost) from ledger_events where request_id = $1::uuid and kind = 6), 0)::bigint",
            late.request_id);
        if (row[0].as<bool>()) continue;
        const std::int64_t owed = late.cost - row[1].as<std::int64_t>();
        const auto recorded = transaction.exec_params(
            "with number as (update account_ops set next_opn = next_opn + 1 where account_id = $1 returning next_opn - "
            "1 as opn) "
            "insert into money_ops (account_id, opn, kind, amount, cost, key_id, request_id, note) "
            "select $1, opn, 3, $2, $3, $4, $5::uuid, $6 from number",
            late.account, -owed, owed, late.key, late.request_id, late.blob);
        if (recorded.affected_rows() != 1) {
            throw LedgerAlarm("late settle of an account that the book does not know: account=" +
                              std::to_string(late.account) + " request=" + late.request_id);
        }
        if (charged.empty() || charged.back() != late.account) charged.push_back(late.account);
    }
    return charged;
}

}  // namespace lumen::admind
