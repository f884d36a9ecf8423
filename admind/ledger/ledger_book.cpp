#include "admind/ledger/ledger_book.h"

#include <charconv>
#include <optional>
#include <vector>

#include "admind/ledger/config_sync.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

namespace {

// How far back in a bucket's stream the event of an operation just sent is looked for; the book has older ones.
constexpr const char* kEventsToSearch = "500";

/// Runs one statement in a transaction of its own.
template <class Read>
auto read_book(PgPool& postgres, Read read) {
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    return read(transaction);
}

struct Recorded {
    bool account_exists = false;
    bool key_reused = false;
    std::int64_t opn = 0;
};

/// The operation's number: a new one, or the one its idem_key has already. The lock on account_ops orders both.
Recorded record_money(pqxx::transaction_base& transaction, const MoneyRequest& request) {
    Recorded recorded;
    const auto next =
        transaction.exec_params("select next_opn from account_ops where account_id = $1 for update", request.account);
    if (next.empty()) return recorded;
    recorded.account_exists = true;
    const int kind = static_cast<int>(request.kind) + 1;
    const auto same = transaction.exec_params(
        "select opn, account_id = $2 and kind = $3 and amount = $4 from money_ops where idem_key = $1",
        request.idem_key, request.account, kind, request.amount.nano());
    if (!same.empty()) {
        recorded.opn = same[0][0].as<std::int64_t>();
        recorded.key_reused = !same[0][1].as<bool>();
        return recorded;
    }
    recorded.opn = next[0][0].as<std::int64_t>();
    transaction.exec_params(
        "insert into money_ops (account_id, opn, kind, amount, idem_key, actor, reason) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        request.account, recorded.opn, kind, request.amount.nano(), request.idem_key, request.actor, request.reason);
    transaction.exec_params("update account_ops set next_opn = next_opn + 1 where account_id = $1", request.account);
    return recorded;
}

MoneyOpArguments arguments_of(AccountId account, const MoneyOp& operation) {
    MoneyOpArguments arguments;
    arguments.account = account;
    arguments.opn = operation.opn;
    arguments.kind = operation.kind;
    arguments.amount = operation.amount;
    arguments.cost = operation.cost;
    arguments.key = operation.key;
    arguments.request = operation.request_id;
    arguments.note = operation.note;
    return arguments;
}

}  // namespace

LedgerBook::LedgerBook(PgPool& postgres, RedisPool& redis, const std::string& notes_directory)
    : postgres_(postgres), redis_(redis) {
    if (!notes_directory.empty()) notes_.emplace(notes_directory + "/revocations");
}

void LedgerBook::note_unfinished_account(AccountId account) {
    std::lock_guard lock(mutex_);
    unfinished_accounts_.insert(account);
}

void LedgerBook::note_unfinished_key(KeyId key) {
    std::lock_guard lock(mutex_);
    unfinished_keys_.insert(key);
}

InForce LedgerBook::enforce_account(AccountId account) {
    const auto found =
        read_book(postgres_, [&](pqxx::transaction_base& transaction) { return read_account(transaction, account); });
    if (!found) return InForce::yes;
    try {
        auto redis = redis_.acquire();
        if (tell_account(*redis, *found) == Told::all && replicated(*redis, account_bucket(account))) {
            return InForce::yes;
        }
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
        // Loading, full, a replica: as good as away.
    }
    note_unfinished_account(account);
    return InForce::not_yet;
}

InForce LedgerBook::enforce_key(KeyId key) {
    const auto found =
        read_book(postgres_, [&](pqxx::transaction_base& transaction) { return read_key(transaction, key); });
    if (!found) return InForce::yes;
    try {
        auto redis = redis_.acquire();
        tell_key(*redis, *found);
        if (replicated(*redis, account_bucket(found->config.account))) return InForce::yes;
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
    }
    note_unfinished_key(key);
    return InForce::not_yet;
}

LedgerBook::Revocation LedgerBook::revoke_key(AccountId account, KeyId key, std::string_view actor) {
    try {
        auto connection = postgres_.acquire();
        pqxx::work transaction(*connection);
        mark_key_revoked(transaction, account, key, actor);
        transaction.commit();
    } catch (const pqxx::unexpected_rows&) {
        return {};
    } catch (const DatabaseUnavailable&) {
        return revoke_without_book(account, key);
    } catch (const pqxx::broken_connection&) {
        return revoke_without_book(account, key);
    } catch (const pqxx::in_doubt_error&) {
        return revoke_without_book(account, key);
    }
    return {true, enforce_key(key)};
}

LedgerBook::Revocation LedgerBook::revoke_without_book(AccountId account, KeyId key) {
    if (!notes_) throw DatabaseUnavailable("the database is away, and there is no directory to note a revocation in");
    notes_->add({account, key});
    KeyConfig config;
    config.account = account;
    config.key = key;
    config.state = KeyState::revoked;
    // Version 0 is never newer than what is there: only the state changes.
    try {
        auto redis = redis_.acquire();
        tell_key(*redis, BookKey{config, std::nullopt});
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
        // Both are away: the note brings it to both.
    }
    return {true, InForce::not_yet};
}

void LedgerBook::record_notes() {
    if (!notes_) return;
    const std::vector<RevocationNote> notes = notes_->read();
    if (notes.empty()) return;
    for (const RevocationNote& note : notes) {
        {
            auto connection = postgres_.acquire();
            pqxx::work transaction(*connection);
            try {
                mark_key_revoked(transaction, note.account, note.key, "noted while the database was away");
                transaction.commit();
            } catch (const pqxx::unexpected_rows&) {
                continue;  // never was that account's key
            }
        }
        enforce_key(note.key);
    }
    notes_->remove(notes);
}

bool LedgerBook::send_pending_money(AccountId account) {
    const auto pending = read_book(
        postgres_, [&](pqxx::transaction_base& transaction) { return read_pending_money(transaction, account); });
    try {
        auto redis = redis_.acquire();
        for (const MoneyOp& operation : pending) {
            MoneyOpCall call(arguments_of(account, operation));
            const Reply reply = parse_reply(Script::money_op, redis->call(call)).reply;
            // GAP: Redis lacks operations that the book has drained, so it lost data; its rebuild brings them.
            if (reply != Reply::ok && reply != Reply::dup && reply != Reply::range) {
                note_unfinished_account(account);
                return false;
            }
        }
        return pending.size() < static_cast<std::size_t>(kMaxPendingMoneyOps);
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
    }
    note_unfinished_account(account);
    return false;
}

MoneyOutcome LedgerBook::move_money(const MoneyRequest& request) {
    Recorded recorded;
    {
        auto connection = postgres_.acquire();
        pqxx::work transaction(*connection);
        recorded = record_money(transaction, request);
        transaction.commit();
    }
    MoneyOutcome outcome;
    outcome.opn = recorded.opn;
    if (!recorded.account_exists) {
        outcome.result = MoneyResult::no_account;
        return outcome;
    }
    if (recorded.key_reused) {
        outcome.result = MoneyResult::key_reused;
        return outcome;
    }
    if (!send_pending_money(request.account)) return outcome;
    const auto effect = find_effect(request.account, recorded.opn);
    if (!effect) return outcome;
    outcome.after = effect->after;
    outcome.before = NanoCoins(effect->after.nano() - effect->delta.nano());
    const bool moved =
        request.kind == MoneyOpKind::set ? effect->after == request.amount : effect->delta == request.amount;
    outcome.result = moved ? MoneyResult::done : MoneyResult::out_of_range;
    return outcome;
}

std::optional<LedgerBook::Effect> LedgerBook::find_effect(AccountId account, std::int64_t opn) {
    // The stream first: the event is there, unless it was drained more than trim_after ago, and then the book has it.
    const auto effect = effect_in_stream(account, opn);
    return effect ? effect : effect_in_book(account, opn);
}

std::optional<LedgerBook::Effect> LedgerBook::effect_in_stream(AccountId account, std::int64_t opn) {
    try {
        auto redis = redis_.acquire();
        const RedisReply newest = redis->command(
            {"XREVRANGE", bucket_key(account_bucket(account), "events"), "+", "-", "COUNT", kEventsToSearch});
        for (std::size_t i = 0; i < newest->elements; ++i) {
            const redisReply& entry = *newest->element[i];
            if (entry.elements != 2 || entry.element[1]->elements != 2) continue;
            const auto event = parse_event(reply_text(entry.element[1]->element[1]));
            if (event && event->account == account && event->opn == opn) {
                return Effect{event->delta, event->balance_after};
            }
        }
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
    }
    return std::nullopt;
}

std::optional<LedgerBook::Effect> LedgerBook::effect_in_book(AccountId account, std::int64_t opn) {
    return read_book(postgres_, [&](pqxx::transaction_base& transaction) -> std::optional<Effect> {
        // The time bound spares the older partitions; a day is more than two clocks ever differ.
        const auto rows = transaction.exec_params(
            "select e.delta, e.balance_after from ledger_events e "
            "join money_ops o on o.account_id = e.account_id and o.opn = e.opn "
            "where e.account_id = $1 and e.opn = $2 and e.at >= o.created_at - interval '1 day'",
            account, opn);
        if (rows.empty()) return std::nullopt;
        return Effect{NanoCoins(rows[0][0].as<std::int64_t>()), NanoCoins(rows[0][1].as<std::int64_t>())};
    });
}

AccountBalance LedgerBook::balance(AccountId account) {
    try {
        auto redis = redis_.acquire();
        const RedisReply fields = redis->command({"HMGET", account_key(account), "bal", "held", "lrh"});
        const auto live = parse_nano(reply_text(fields->element[0]));
        const auto held = parse_nano(reply_text(fields->element[1]));
        const auto hour = parse_nano(reply_text(fields->element[2]));
        if (live && held && hour) return {*live, *held, hour->nano(), true};
    } catch (const RedisUnavailable&) {
    } catch (const RedisError&) {
    }
    return read_book(postgres_, [&](pqxx::transaction_base& transaction) {
        const auto row = transaction.exec_params1(
            "select balance, last_refill_hour from account_balances where account_id = $1", account);
        return AccountBalance{NanoCoins(row[0].as<std::int64_t>()), NanoCoins(), row[1].as<std::int64_t>(), false};
    });
}

void LedgerBook::repeat_unfinished() {
    record_notes();
    std::set<AccountId> accounts;
    std::set<KeyId> keys;
    {
        std::lock_guard lock(mutex_);
        accounts.swap(unfinished_accounts_);
        keys.swap(unfinished_keys_);
    }
    try {
        while (!keys.empty()) {
            enforce_key(*keys.begin());
            keys.erase(keys.begin());
        }
        while (!accounts.empty()) {
            const AccountId account = *accounts.begin();
            enforce_account(account);
            send_pending_money(account);
            accounts.erase(accounts.begin());
        }
    } catch (...) {
        std::lock_guard lock(mutex_);
        unfinished_keys_.merge(keys);
        unfinished_accounts_.merge(accounts);
        throw;
    }
}

void LedgerBook::send_all_pending_money() {
    const auto accounts = read_book(
        postgres_, [&](pqxx::transaction_base& transaction) { return accounts_with_pending_money(transaction); });
    for (AccountId account : accounts) send_pending_money(account);
}

std::size_t LedgerBook::unfinished() const {
    std::lock_guard lock(mutex_);
    return unfinished_accounts_.size() + unfinished_keys_.size();
}

}  // namespace lumen::admind
