#include "tests/simulation/simulated_admind.h"

#include <algorithm>
#include <set>
#include <utility>

#include "admind/ledger/config_sync.h"
#include "admind/ledger/event_batch.h"
#include "lumen_core/account_bucket.h"

namespace lumen::simulation {

namespace {

using admind::version_in_redis;

RequestId request_id_of(const std::string& text) {
    RequestId id;
    std::copy(text.begin(), text.end(), id.text.begin());
    return id;
}

admind::ReapedRequests reaped_in(const SimulatedBook& book) {
    admind::ReapedRequests reaped;
    for (const BookRow& row : book.rows) {
        if (row.kind == EventKind::reap) reaped[row.request] = {true, row.cost, 0, 0};
    }
    return reaped;
}

/// One transaction: all accounts of the batch stand where it begins, or the drain stops (6.1, 4).
void apply(const admind::EventBatch& batch, SimulatedBook& draft) {
    for (const auto& [account, sums] : batch.accounts()) {
        const auto found = draft.wallets.find(account);
        if (found == draft.wallets.end() || found->second.seq != sums.first_seq - 1 ||
            found->second.balance + sums.delta != sums.balance) {
            throw Violation("the book of account " + std::to_string(account) + " does not lead to its events");
        }
        BookWallet& wallet = found->second;
        wallet.balance = sums.balance;
        wallet.seq = sums.last_seq;
        wallet.opn = std::max(wallet.opn, sums.opn);
        wallet.last_refill_hour = std::max(wallet.last_refill_hour, sums.last_refill_hour);
        wallet.spent += sums.cost;
        wallet.requests += sums.requests;
    }
}

}  // namespace

void SimulatedAdmind::drain(SimulatedRedis& redis) {
    SimulatedBook draft = book_;
    if (mutation_ != Mutation::no_source_check && draft.source != redis.replication_id()) return;
    const std::size_t count = 1 + random_() % 40;
    const auto events = redis.events_after(draft.last_bseq, count);
    if (events.empty()) return;
    admind::EventBatch batch;
    batch.know_reaped(reaped_in(draft));
    try {
        for (const auto& [number, text] : events) {
            if (number != draft.last_bseq + 1) throw Violation("hole in the stream at " + std::to_string(number));
            const auto event = parse_event(text);
            if (!event) throw Violation("unreadable event: " + text);
            batch.add(account_bucket(event->account), number, *event);
            draft.rows.push_back({number, event->kind, event->account, event->delta.nano(), event->cost.nano(),
                                  event->balance_after.nano(), event->seq, event->last_refill_hour,
                                  std::string(event->request), event->opn});
            draft.last_bseq = number;
        }
    } catch (const admind::LedgerAlarm& alarm) {
        throw Violation(alarm.what());
    }
    apply(batch, draft);
    for (const auto& [number, text] : events) {
        const auto event = parse_event(text);
        if (event->kind == EventKind::late) resolve_late(draft, *event);
    }
    if (mutation_ == Mutation::trim_before_commit) redis.model.drop_events_up_to(draft.last_bseq);
    point();
    book_ = std::move(draft);
    point();
    send_pending(redis);
}

void SimulatedAdmind::resolve_late(SimulatedBook& draft, const LedgerEvent& late) const {
    std::int64_t reaped = 0;
    for (const BookRow& row : draft.rows) {
        if (row.request != late.request) continue;
        if (row.kind == EventKind::usage || row.kind == EventKind::correction) return;
        if (row.kind == EventKind::reap) reaped += row.cost;
    }
    for (const BookOperation& operation : draft.operations) {
        if (operation.kind == MoneyOpKind::late && operation.request == late.request) return;
    }
    const std::int64_t owed = late.cost.nano() - (mutation_ == Mutation::late_charges_full_cost ? 0 : reaped);
    BookWallet& wallet = draft.wallets.at(late.account);
    draft.operations.push_back(
        {late.account, wallet.next_opn++, MoneyOpKind::late, -owed, owed, late.key, std::string(late.request), ""});
}

void SimulatedAdmind::trim(SimulatedRedis& redis, std::int64_t age_ms) {
    if (book_.source != redis.replication_id()) return;
    const std::int64_t oldest_kept_ms = redis.model.now_us / 1000 - age_ms;
    std::int64_t up_to = 0;
    for (const auto& [number, text] : redis.events_after(0, SIZE_MAX)) {
        if (number > book_.last_bseq || parse_event(text)->at_ms >= oldest_kept_ms) break;
        up_to = number;
    }
    redis.model.drop_events_up_to(up_to);
}

void SimulatedAdmind::send_pending(SimulatedRedis& redis) {
    for (const BookOperation& operation : book_.operations) {
        if (operation.opn <= book_.wallets.at(operation.account).opn) continue;
        MoneyOpArguments arguments;
        arguments.account = operation.account;
        arguments.opn = operation.opn;
        arguments.kind = operation.kind;
        arguments.amount = NanoCoins(operation.amount);
        arguments.cost = NanoCoins(operation.cost);
        arguments.key = operation.key;
        arguments.request = operation.request;
        redis.model.money_op(arguments);
        if (dies_()) throw Crash{};
    }
}

void SimulatedAdmind::grant(SimulatedRedis& redis, AccountId account, std::int64_t amount,
                            const std::string& idem_key) {
    SimulatedBook draft = book_;
    for (const BookOperation& operation : draft.operations) {
        if (operation.idem_key == idem_key) {
            send_pending(redis);
            return;
        }
    }
    draft.operations.push_back(
        {account, draft.wallets.at(account).next_opn++, MoneyOpKind::add, amount, 0, 0, "", idem_key});
    point();
    book_ = std::move(draft);
    point();
    send_pending(redis);
}

bool SimulatedAdmind::revoke(SimulatedRedis& redis, KeyId key) {
    KeyConfig& config = book_.keys.at(key);
    if (config.state != KeyState::revoked) {
        config.state = KeyState::revoked;
        ++config.version;
    }
    point();
    return redis.model.set_key(config) != "RANGE";
}

void SimulatedAdmind::tell_everything(SimulatedRedis& redis, const SimulatedBook& from) const {
    for (const auto& [id, key] : from.keys) redis.model.set_key(key);
    for (const auto& [id, wallet] : from.wallets) {
        AccountConfig config = wallet.config;
        config.version = version_in_redis(config.version);
        redis.model.set_account(config);
    }
}

void SimulatedAdmind::rebuild(SimulatedRedis& redis, SimulatedBook& draft, const std::string& nonce) {
    std::set<std::string> settled;
    for (const BookRow& row : draft.rows) {
        if (!row.request.empty()) settled.insert(row.request);
    }
    struct Held {
        std::int64_t amount = 0;
        std::int64_t count = 0;
    };
    std::map<AccountId, Held> held;
    std::map<KeyId, Held> held_by_key;
    std::vector<std::string> dropped;
    for (const auto& [request, text] : redis.model.holds_hash()) {
        if (settled.count(request) > 0 && mutation_ != Mutation::keep_resurrected_holds) {
            dropped.push_back(request);
            continue;
        }
        const auto hold = parse_hold(text);
        held[hold->account].amount += hold->amount.nano();
        ++held[hold->account].count;
        ++held_by_key[hold->key].count;
    }
    for (const auto& [id, wallet] : draft.wallets) {
        LoadAccountArguments arguments;
        arguments.account = id;
        arguments.balance = NanoCoins(wallet.balance);
        arguments.held = NanoCoins(held[id].amount);
        arguments.holds = held[id].count;
        arguments.seq = wallet.seq;
        arguments.opn = wallet.opn;
        arguments.last_refill_hour = std::max(wallet.last_refill_hour, wallet.rate_since_hour);
        if (redis.model.load_account(nonce, arguments) != "OK") throw Crash{};
        if (dies_()) throw Crash{};
    }
    for (const auto& [id, key] : draft.keys) {
        KeyCounters counters;
        counters.holds = held_by_key[id].count;
        if (redis.model.set_key(key, nonce, counters) != "OK") throw Crash{};
    }
    tell_everything(redis, draft);
    point();
    draft.epoch = std::max(draft.epoch, redis.epoch) + 1;
    redis.model.reset_stream(draft.last_bseq, dropped);
    redis.epoch = draft.epoch;
    point();
}

void SimulatedAdmind::reconcile(SimulatedRedis& redis) {
    if (redis.ready() && book_.source == redis.replication_id()) return;
    SimulatedBook draft = book_;
    const std::string nonce = "n" + std::to_string(random_());
    redis.model.begin_rebuild(nonce);
    point();
    const bool went_on = redis.epoch > draft.epoch && redis.bseq() > draft.last_bseq;
    const bool lost = (redis.epoch != draft.epoch && !went_on) || redis.bseq() < draft.last_bseq;
    if (mutation_ == Mutation::serve_without_reconciliation && redis.epoch >= 0) {
        tell_everything(redis, draft);
    } else if (lost) {
        rebuild(redis, draft, nonce);
    } else {
        if (redis.first_bseq() > draft.last_bseq + 1) throw Violation("hole: blocked until a person decides");
        tell_everything(redis, draft);
        draft.epoch = std::max(draft.epoch, redis.epoch) + 1 + static_cast<std::int64_t>(random_() % 1'000'000);
        redis.epoch = draft.epoch;
        point();
    }
    draft.source = redis.replication_id();
    point();
    book_ = draft;
    point();
    redis.model.mark_ready(nonce, redis.replication_id());
}

void SimulatedAdmind::reap(SimulatedRedis& redis) {
    if (!redis.ready()) return;
    for (const auto& [request, text] : redis.model.holds_hash()) {
        const auto hold = parse_hold(text);
        if (hold->deadline_ms <= redis.model.now_us / 1000) {
            redis.model.reap(request_id_of(request), hold->account, hold->key);
        }
        if (dies_()) throw Crash{};
    }
}

void SimulatedAdmind::refill(SimulatedRedis& redis) {
    for (const auto& [id, wallet] : book_.wallets) {
        redis.model.refill(id, -1);
        if (dies_()) throw Crash{};
    }
}

}  // namespace lumen::simulation
