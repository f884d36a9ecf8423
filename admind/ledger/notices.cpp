#include "admind/ledger/notices.h"

#include <utility>

#include "admind/stores/pg_arrays.h"

namespace lumen::admind {

namespace {

/// 0 above both thresholds, 1 low, 2 exhausted. Products stay below 2^63: amounts are at most 4×10^15.
std::string level_of(const std::string& balance) {
    return "case when " + balance + " <= 0 then 2 when " + balance +
           " * 100 <= a.lim * s.low_balance_percent then 1 else 0 end";
}

/// People who may act for the account: its user, or a project's managers, the owner among them.
constexpr const char* kPutIntoOutbox =
    "insert into notice_deliveries (notice_id, user_id, channel)"
    " select n.id, u.id, c.channel from notices n"
    " join users u on u.active and (u.account_id = n.account_id or exists ("
    " select from projects p join project_managers m on m.project_id = p.id"
    " where p.account_id = n.account_id and m.user_id = u.id))"
    " cross join site_state s"
    " cross join lateral (values ('mail', u.notice_mail and s.offers_mail),"
    " ('webhook', u.notice_webhook and s.offers_webhook)) as c (channel, wanted)"
    " where n.id = $1 and c.wanted";

}  // namespace

std::vector<Crossing> note_crossings(pqxx::transaction_base& transaction, const EventBatch& batch) {
    std::vector<std::pair<AccountId, const AccountSums*>> fallen;
    for (const auto& [account, sums] : batch.accounts()) {
        if (sums.balance < sums.highest) fallen.emplace_back(account, &sums);
    }
    std::vector<Crossing> crossings;
    if (fallen.empty()) return crossings;
    const auto column = [&](std::int64_t AccountSums::*member) {
        return pg_integers(fallen, [member](const auto& entry) { return entry.second->*member; });
    };
    const auto rows = transaction.exec_params(
        "with crossed as (select x.account_id, x.seq, x.balance, a.lim, " + level_of("x.balance") + " as after, " +
            level_of("x.highest") +
            " as before from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])"
            " as x (account_id, seq, highest, balance)"
            " join accounts a on a.id = x.account_id and a.lim > 0 and not a.unlimited cross join site_state s)"
            " insert into notices (account_id, seq, kind, balance, lim)"
            " select account_id, seq, case after when 2 then 'exhausted' else 'low_balance' end, balance, lim"
            " from crossed where after > before"
            " returning id, account_id, kind, balance, lim, (extract(epoch from at) * 1000)::bigint",
        pg_integers(fallen, [](const auto& entry) { return entry.first; }), column(&AccountSums::last_seq),
        column(&AccountSums::highest), column(&AccountSums::balance));
    for (const auto& row : rows) {
        crossings.push_back({row[0].as<std::string>(), row[1].as<AccountId>(), row[2].as<std::string>(),
                             NanoCoins(row[3].as<std::int64_t>()), NanoCoins(row[4].as<std::int64_t>()),
                             row[5].as<std::int64_t>()});
        transaction.exec_params0(kPutIntoOutbox, crossings.back().notice_id);
    }
    return crossings;
}

Json crossing_json(const Crossing& crossing) {
    return {{"notice", crossing.kind},
            {"id", crossing.notice_id},
            {"balance", coins_json(crossing.balance)},
            {"limit", coins_json(crossing.limit)},
            {"at", utc_json(crossing.at_ms)}};
}

}  // namespace lumen::admind
