#include "tests/harness/invariants.h"

#include <map>

#include "admind/ledger/book_rules.h"
#include "admind/ledger/stream_entry.h"
#include "lumen_core/account_bucket.h"

namespace lumen::harness {
namespace {

using admind::PgPool;
using admind::RedisLink;
using admind::RedisReply;
using admind::reply_text;

struct Wallet {
    std::int64_t balance = 0;
    std::int64_t seq = 0;
};

struct Book {
    std::map<AccountId, Wallet> wallets;
    std::map<int, std::int64_t> positions;
};

Book read_book(PgPool& postgres, std::vector<std::string>& findings) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    Book book;
    for (const auto& row : transaction.exec("select account_id, balance, seq from account_balances")) {
        book.wallets[row[0].as<AccountId>()] = {row[1].as<std::int64_t>(), row[2].as<std::int64_t>()};
    }
    for (const auto& row : transaction.exec("select bucket, last_bseq from stream_positions")) {
        book.positions[row[0].as<int>()] = row[1].as<std::int64_t>();
    }
    findings = admind::check_book(transaction);
    return book;
}

/// Moves the book's wallets to where the undrained events of a bucket take them.
void apply_undrained(RedisLink& redis, Bucket bucket, std::int64_t position, Book& book,
                     std::vector<std::string>& findings) {
    const RedisReply entries =
        redis.command({"XRANGE", bucket_key(bucket, "events"), admind::stream_id(position + 1), "+"});
    for (std::size_t i = 0; i < entries->elements; ++i) {
        const auto entry = admind::entry_of(bucket, *entries->element[i]);
        if (entry.bseq != ++position) {
            findings.push_back("I3: bucket " + std::to_string(bucket) + " has event " + std::to_string(entry.bseq) +
                               " where " + std::to_string(position) + " belongs");
        }
        if (entry.event.kind == EventKind::late) continue;
        Wallet& wallet = book.wallets[entry.event.account];
        wallet.balance += entry.event.delta.nano();
        ++wallet.seq;
        if (wallet.balance != entry.event.balance_after.nano() || wallet.seq != entry.event.seq) {
            findings.push_back("I2: undrained event " + std::to_string(entry.bseq) + " of bucket " +
                               std::to_string(bucket) + " does not follow from the one before");
        }
    }
}

struct HeldSums {
    std::int64_t amount = 0;
    std::int64_t count = 0;
};

std::map<AccountId, HeldSums> add_up_holds(RedisLink& redis, Bucket bucket, std::vector<std::string>& findings) {
    std::map<AccountId, HeldSums> sums;
    const RedisReply holds = redis.command({"HVALS", bucket_key(bucket, "holds")});
    for (std::size_t i = 0; i < holds->elements; ++i) {
        const auto hold = parse_hold(reply_text(holds->element[i]));
        if (!hold) {
            findings.push_back("I4: unreadable hold in bucket " + std::to_string(bucket));
            continue;
        }
        sums[hold->account].amount += hold->amount.nano();
        ++sums[hold->account].count;
    }
    return sums;
}

std::string text_or_zero(const redisReply* reply) {
    const std::string_view text = reply_text(reply);
    return text.empty() ? "0" : std::string(text);
}

void check_wallet(RedisLink& redis, AccountId account, const Wallet& wanted, const HeldSums& held,
                  std::vector<std::string>& findings) {
    const RedisReply fields = redis.command({"HMGET", account_key(account), "bal", "seq", "held", "nh"});
    const std::string found = text_or_zero(fields->element[0]) + " at seq " + text_or_zero(fields->element[1]);
    const std::string expected = std::to_string(wanted.balance) + " at seq " + std::to_string(wanted.seq);
    if (found != expected) {
        findings.push_back("I1: account " + std::to_string(account) + " has " + found +
                           " in redis; book and stream say " + expected);
    }
    const std::string found_held = text_or_zero(fields->element[2]) + " in " + text_or_zero(fields->element[3]);
    const std::string expected_held = std::to_string(held.amount) + " in " + std::to_string(held.count);
    if (found_held != expected_held) {
        findings.push_back("I4: account " + std::to_string(account) + " holds " + found_held + "; its holds are " +
                           expected_held);
    }
}

}  // namespace

std::vector<std::string> check_invariants(PgPool& postgres, RedisLink& redis, Running running) {
    std::vector<std::string> findings;
    Book book = read_book(postgres, findings);
    std::map<AccountId, HeldSums> held;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        apply_undrained(redis, bucket, book.positions[i], book, findings);
        held.merge(add_up_holds(redis, bucket, findings));
    }
    for (const auto& [account, wallet] : book.wallets) check_wallet(redis, account, wallet, held[account], findings);
    if (running == Running::nothing) {
        for (const auto& [account, sums] : held) {
            if (sums.count > 0)
                findings.push_back("I4: account " + std::to_string(account) + " holds while nothing runs");
        }
    }
    return findings;
}

}  // namespace lumen::harness
