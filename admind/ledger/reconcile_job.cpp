#include "admind/ledger/reconcile_job.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

// At most so many accounts a call; the holds are read again for each.
constexpr std::size_t kAccountsPerCall = 500;

/// KEYS 1 {b}:meta  2 {b}:holds  3… accounts.  ARGV 1… their ids.  Replies nil when the bucket is not ready, else for
/// each account `bal seq held nh held_by_holds number_of_holds`, `-` for one that Redis does not know. Reads only.
constexpr std::string_view kCheckScript = R"lua(#!lua flags=no-writes,allow-oom
local ready = redis.call('HGET', KEYS[1], 'ready')
if not ready or not string.find(redis.call('INFO', 'replication'),
    'master_replid:' .. string.sub(ready, 1, 40) .. '\r\n', 1, true) then
  return false
end
local held, count = {}, {}
for _, hold in ipairs(redis.call('HVALS', KEYS[2])) do
  local amount, account = string.match(hold, '^(%d+) %d+ %d+ %a+ (%d+) ')
  if account then
    held[account] = (held[account] or 0) + amount
    count[account] = (count[account] or 0) + 1
  end
end
local lines = {}
for i, account in ipairs(ARGV) do
  local bal, seq, stored_held, nh = unpack(redis.call('HMGET', KEYS[i + 2], 'bal', 'seq', 'held', 'nh'))
  lines[i] = bal and bal .. ' ' .. seq .. ' ' .. stored_held .. ' ' .. nh .. ' ' ..
    string.format('%.0f %d', held[account] or 0, count[account] or 0) or '-'
end
return lines
)lua";

struct BookAccountState {
    AccountId account = 0;
    std::int64_t balance = 0;
    std::int64_t seq = 0;
};

std::vector<BookAccountState> read_states(PgPool& postgres, Bucket bucket) {
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    std::vector<BookAccountState> states;
    for (const auto& row : transaction.exec_params(
             "select account_id, balance, seq from account_balances where bucket = $1", static_cast<int>(bucket))) {
        states.push_back({row[0].as<AccountId>(), row[1].as<std::int64_t>(), row[2].as<std::int64_t>()});
    }
    return states;
}

struct RedisAccountState {
    long long balance = 0;
    long long seq = 0;
    long long held = 0;
    long long holds = 0;
    long long held_by_holds = 0;
    long long number_of_holds = 0;
};

bool parse_state(std::string_view line, RedisAccountState& state) {
    const std::string text(line);
    return std::sscanf(text.c_str(), "%lld %lld %lld %lld %lld %lld", &state.balance, &state.seq, &state.held,
                       &state.holds, &state.held_by_holds, &state.number_of_holds) == 6;
}

void compare(const BookAccountState& book, const RedisAccountState& redis, std::vector<Drift>& drifts) {
    const auto found = [&](long long amount, std::string what) {
        drifts.push_back({book.account, NanoCoins(std::llabs(amount)), std::move(what)});
    };
    if (redis.seq == book.seq && redis.balance != book.balance) {
        found(redis.balance - book.balance, "I1: balance " + std::to_string(redis.balance) + " in redis, " +
                                                std::to_string(book.balance) + " in the book at seq " +
                                                std::to_string(book.seq));
    }
    if (redis.seq < book.seq) found(0, "I1: redis is behind the book, at seq " + std::to_string(redis.seq));
    if (redis.held != redis.held_by_holds || redis.holds != redis.number_of_holds) {
        found(redis.held - redis.held_by_holds,
              "I4: held " + std::to_string(redis.held) + " by " + std::to_string(redis.holds) + ", but the holds are " +
                  std::to_string(redis.held_by_holds) + " in " + std::to_string(redis.number_of_holds));
    }
}

}  // namespace

std::vector<Drift> reconcile_bucket(PgPool& postgres, RedisLink& redis, Bucket bucket) {
    std::vector<Drift> drifts;
    // The book first: what Redis gains meanwhile only makes its seq higher, which is no drift.
    const std::vector<BookAccountState> states = read_states(postgres, bucket);
    for (std::size_t first = 0; first < states.size(); first += kAccountsPerCall) {
        const std::size_t end = std::min(states.size(), first + kAccountsPerCall);
        std::vector<std::string> keys{bucket_key(bucket, "meta"), bucket_key(bucket, "holds")};
        std::vector<std::string> ids;
        for (std::size_t i = first; i < end; ++i) {
            keys.push_back(account_key(states[i].account));
            ids.push_back(std::to_string(states[i].account));
        }
        const std::string key_count = std::to_string(keys.size());
        std::vector<std::string_view> command{"EVAL", kCheckScript, key_count};
        command.insert(command.end(), keys.begin(), keys.end());
        command.insert(command.end(), ids.begin(), ids.end());
        const RedisReply lines = redis.command(command);
        if (lines->type != REDIS_REPLY_ARRAY) return {};
        for (std::size_t i = first; i < end; ++i) {
            RedisAccountState state;
            if (parse_state(reply_text(lines->element[i - first]), state)) {
                compare(states[i], state, drifts);
            } else if (states[i].seq > 0) {
                drifts.push_back({states[i].account, NanoCoins(std::llabs(states[i].balance)),
                                  "I1: redis does not know the account"});
            }
        }
    }
    return drifts;
}

}  // namespace lumen::admind
