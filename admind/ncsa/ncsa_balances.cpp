#include "admind/ncsa/ncsa_balances.h"

#include <set>
#include <string>

namespace lumen::admind {

namespace {

constexpr const char* kActor = "import-ncsa";

std::set<std::int64_t> done_before(const Services& services) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::set<std::int64_t> done;
    for (const auto& row : transaction.exec("select old_id from ncsa_imports where kind = 'balance'")) {
        done.insert(row[0].as<std::int64_t>());
    }
    return done;
}

void note_done(const Services& services, std::int64_t entity, AccountId account) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0(
        "insert into ncsa_imports (kind, old_id, new_id) values ('balance', $1, $2) on conflict do nothing", entity,
        account);
    transaction.commit();
}

void set_balance(const Services& services, const NcsaEntity& old, AccountId account, NcsaReport& report) {
    MoneyRequest request;
    request.account = account;
    request.kind = MoneyOpKind::set;
    request.amount = *old.balance;
    request.idem_key = "import-ncsa balance " + std::to_string(old.id);
    request.actor = kActor;
    request.reason = "balance carried over from NCSA Lumen";
    const MoneyOutcome outcome = services.ledger.move_money(request);
    if (outcome.result == MoneyResult::recorded) report.pending = true;
    if (outcome.result == MoneyResult::out_of_range) {
        report.remarks.push_back("balances: entity " + std::to_string(old.id) +
                                 " has more than 4000000 coins; nothing was moved");
    }
}

}  // namespace

void import_balances(const Services& services, const NcsaData& data, const std::map<std::int64_t, AccountId>& accounts,
                     ImportMode mode, NcsaReport& report) {
    NcsaReport::Counts& counts = report.kinds["balances"];
    const std::set<std::int64_t> done = done_before(services);
    for (const NcsaEntity& old : data.entities) {
        if (!old.balance) continue;
        ++counts.found;
        const auto account = accounts.find(old.id);
        if (account == accounts.end()) {
            ++counts.skipped;
        } else if (done.count(old.id) > 0) {
            ++counts.there;
        } else {
            ++counts.made;
            if (mode == ImportMode::dry_run) continue;
            set_balance(services, old, account->second, report);
            note_done(services, old.id, account->second);
        }
    }
}

}  // namespace lumen::admind
