#include "admind/ledger/book_rules.h"

namespace lumen::admind {

namespace {

struct Rule {
    const char* name;
    const char* query;
};

constexpr Rule kRules[] = {
    {"I2: a balance is the sum of its rows",
     "select b.account_id, b.balance, b.seq, e.delta as rows_delta, e.last_seq as rows_seq, e.n as rows, "
     "x.delta as archived_delta, x.events as archived_rows "
     "from account_balances b "
     "left join (select account_id, sum(delta) as delta, max(seq) as last_seq, count(seq) as n "
     "from ledger_events group by account_id) e on e.account_id = b.account_id "
     "left join ledger_archived_accounts x on x.account_id = b.account_id "
     "where b.balance <> coalesce(e.delta, 0) + coalesce(x.delta, 0) "
     "or b.seq <> greatest(coalesce(e.last_seq, 0), coalesce(x.last_seq, 0)) "
     "or b.seq <> coalesce(e.n, 0) + coalesce(x.events, 0)"},
    // Where a row's neighbour is archived, the count above says whether one is missing.
    {"I2: seq runs 1…n and each balance follows from the one before",
     "select account_id, seq, delta, balance_after, balance_before from ("
     "select account_id, seq, delta, balance_after, lag(seq, 1, case when seq = 1 then 0::bigint end) over w as "
     "seq_before, lag(balance_after, 1, case when seq = 1 then 0::bigint end) over w as balance_before "
     "from ledger_events where seq is not null window w as (partition by account_id order by seq)) e "
     "where seq_before is not null and (seq <> seq_before + 1 or balance_after <> balance_before + delta)"},
    {"I3: a bucket has the events 1…last_bseq, each once",
     "select p.bucket, p.last_bseq, e.rows, e.n as different, e.lowest, e.highest, x.events as archived "
     "from stream_positions p "
     "left join (select bucket, count(*) as rows, count(distinct bseq) as n, min(bseq) as lowest, max(bseq) as highest "
     "from ledger_events group by bucket) e on e.bucket = p.bucket "
     "left join ledger_archived_buckets x on x.bucket = p.bucket "
     "where p.last_bseq <> coalesce(e.rows, 0) + coalesce(x.events, 0) "
     "or coalesce(e.rows, 0) <> coalesce(e.n, 0) "
     "or p.last_bseq <> greatest(coalesce(e.highest, 0), coalesce(x.last_bseq, 0))"},
    {"I5: at most one usage, one reap and one correction a request",
     "select request_id, kind, count(*) as n from ledger_events where kind in (1, 5, 6) "
     "group by request_id, kind having count(*) > 1"},
    {"I13: a drained money operation has one row",
     "select o.account_id, o.opn, count(e.opn) as rows from money_ops o "
     "join account_balances b on b.account_id = o.account_id and o.opn <= b.opn "
     "left join ledger_events e on e.account_id = o.account_id and e.opn = o.opn "
     "where o.created_at > coalesce((select max(ends) from ledger_archives), '-infinity') "
     "group by o.account_id, o.opn having count(e.opn) <> 1"},
    {"I16: spent is the sum of costs, of keys and of quarters",
     "select b.account_id, b.spent, e.cost as rows, x.cost as archived, k.spent as keys, q.cost as quarters "
     "from account_balances b left join ledger_archived_accounts x on x.account_id = b.account_id "
     "left join (select account_id, sum(cost) as cost from charged_use group by account_id) e "
     "on e.account_id = b.account_id "
     "left join (select account_id, sum(spent) as spent from key_totals group by account_id) k "
     "on k.account_id = b.account_id "
     "left join (select account_id, sum(cost) as cost from usage_quarter group by account_id) q "
     "on q.account_id = b.account_id "
     "where b.spent <> coalesce(e.cost, 0) + coalesce(x.cost, 0) or b.spent <> coalesce(k.spent, 0) or b.spent <> "
     "coalesce(q.cost, 0)"},
    {"P25: requests and tokens are the same over rows, keys and quarters",
     "select b.account_id, b.requests, b.tokens_in, b.tokens_out, k.requests as keys, q.requests as quarters "
     "from account_balances b left join ledger_archived_accounts x on x.account_id = b.account_id "
     "left join (select account_id, sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out "
     "from charged_use group by account_id) e on e.account_id = b.account_id "
     "left join (select account_id, sum(requests) as requests, sum(tokens_in) as tokens_in, "
     "sum(tokens_out) as tokens_out from key_totals group by account_id) k on k.account_id = b.account_id "
     "left join (select account_id, sum(requests) as requests, sum(tokens_in) as tokens_in, "
     "sum(tokens_out) as tokens_out from usage_quarter group by account_id) q on q.account_id = b.account_id "
     "where b.tokens_in <> coalesce(e.tokens_in, 0) + coalesce(x.tokens_in, 0) "
     "or b.tokens_out <> coalesce(e.tokens_out, 0) + coalesce(x.tokens_out, 0) "
     "or (b.requests, b.tokens_in, b.tokens_out) "
     "<> (coalesce(k.requests, 0), coalesce(k.tokens_in, 0), coalesce(k.tokens_out, 0)) "
     "or (b.requests, b.tokens_in, b.tokens_out) "
     "<> (coalesce(q.requests, 0), coalesce(q.tokens_in, 0), coalesce(q.tokens_out, 0))"},
    {"P25: what is counted of a model is the sum of its quarters",
     "select account_id, model_id, t.requests, q.requests as in_quarters, t.spent, q.cost as spent_in_quarters "
     "from model_totals t full join (select account_id, model_id, sum(requests) as requests, "
     "sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out, sum(cost) as cost from usage_quarter "
     "group by account_id, model_id) q using (account_id, model_id) "
     "where (coalesce(t.requests, 0), coalesce(t.tokens_in, 0), coalesce(t.tokens_out, 0), coalesce(t.spent, 0)) "
     "<> (coalesce(q.requests, 0), coalesce(q.tokens_in, 0), coalesce(q.tokens_out, 0), coalesce(q.cost, 0))"},
    {"6.1: the default partition stays empty", "select at, bucket, bseq from ledger_events_default"},
};

std::string finding_of(const Rule& rule, const pqxx::row& row) {
    std::string text = rule.name;
    text += ":";
    for (const auto& field : row) {
        text += std::string(" ") + field.name() + "=" + (field.is_null() ? "none" : field.c_str());
    }
    return text;
}

}  // namespace

std::vector<std::string> check_book(pqxx::transaction_base& transaction) {
    std::vector<std::string> findings;
    // Whole tables take longer than a page may; the time-out of this transaction only.
    transaction.exec("set local statement_timeout = '1h'");
    for (const Rule& rule : kRules) {
        const auto rows = transaction.exec(std::string(rule.query) + " limit " + std::to_string(kMaxFindings));
        for (const auto& row : rows) findings.push_back(finding_of(rule, row));
    }
    return findings;
}

}  // namespace lumen::admind
