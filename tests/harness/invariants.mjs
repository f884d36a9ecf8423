// The books balance: I1, I2, I3, I4 and I16 of ledger.md over every account of a stack, read from both stores.
// `checkInvariants` waits until all events are drained and no request runs, and returns what is wrong as sentences;
// an empty list is a pass.
import { waitFor } from './machine.mjs';

const BUCKETS = 256;
const DRAIN_SECONDS = 60;
const MOST_LOOKS = 3;

const bucketName = (bucket) => `{b${String(bucket).padStart(3, '0')}}`;
const accountKey = (account) => `${bucketName(Number(BigInt(account) % BigInt(BUCKETS)))}:a:${account}`;

/// Number of the last event of each bucket's stream.
async function lastEvents(redis) {
  const ids = await Promise.all(Array.from({ length: BUCKETS }, async (_, bucket) => {
    const [newest] = await redis('XREVRANGE', `${bucketName(bucket)}:events`, '+', '-', 'COUNT', '1');
    return newest ? Number(newest[0].split('-')[0]) : 0;
  }));
  return ids;
}

async function drained({ sql, redis }) {
  const wanted = await lastEvents(redis);
  const rows = await sql('select bucket, last_bseq from stream_positions');
  const positions = new Map(rows.map((row) => [Number(row.bucket), Number(row.last_bseq)]));
  const pending = await sql(`
    select count(*) as n
      from money_ops
      join account_balances using (account_id)
     where money_ops.opn > account_balances.opn`);
  return pending[0].n === '0' && wanted.every((last, bucket) => (positions.get(bucket) ?? 0) >= last);
}

async function heldRequests({ redis }) {
  const counts = await Promise.all(Array.from({ length: BUCKETS }, (_, bucket) => redis('HLEN', `${bucketName(bucket)}:holds`)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/// I1, I4: each wallet in Redis against the book.
async function walletFindings({ sql, redis }) {
  const book = await sql(`
    select accounts.id, balance, seq
      from accounts
      left join account_balances on account_id = accounts.id`);
  const findings = [];
  await Promise.all(book.map(async ({ id, balance, seq }) => {
    const [bal, held, running, redisSeq] = await redis('HMGET', accountKey(id), 'bal', 'held', 'nh', 'seq');
    if ((bal ?? '0') !== (balance ?? '0'))
      findings.push(`I1: account ${id} has ${bal} in Redis and ${balance} in the book, all events drained`);
    if ((redisSeq ?? '0') !== (seq ?? '0')) findings.push(`I1: account ${id} is at seq ${redisSeq} in Redis, ${seq} in the book`);
    if ((held ?? '0') !== '0' || (running ?? '0') !== '0')
      findings.push(`I4: account ${id} has ${held} held by ${running} requests while nothing runs`);
  }));
  return findings;
}

// Each query lists what breaks its rule; none may return a row.
const BOOK_RULES = {
  'I2: balance is the sum of its rows': `
    select b.account_id, b.balance, b.seq, coalesce(e.delta, 0) as delta, coalesce(e.last_seq, 0) as last_seq, coalesce(e.n, 0) as n
      from account_balances b
      left join (select account_id, sum(delta) as delta, max(seq) as last_seq, count(seq) as n
                   from ledger_events group by account_id) e using (account_id)
     where b.balance <> coalesce(e.delta, 0) or b.seq <> coalesce(e.last_seq, 0) or b.seq <> coalesce(e.n, 0)`,
  'I2: seq runs 1…n and each balance follows from the one before': `
    select account_id, seq, delta, balance_after
      from (select account_id, seq, delta, balance_after,
                   lag(seq, 1, 0::bigint) over w as seq_before, lag(balance_after, 1, 0::bigint) over w as balance_before
              from ledger_events where seq is not null
            window w as (partition by account_id order by seq)) e
     where seq <> seq_before + 1 or balance_after <> balance_before + delta`,
  'I3: a bucket has the events 1…last_bseq, each once': `
    select p.bucket, p.last_bseq, e.n, e.lowest, e.highest
      from stream_positions p
      left join (select bucket, count(distinct bseq) as n, min(bseq) as lowest, max(bseq) as highest, count(*) as rows
                   from ledger_events group by bucket) e using (bucket)
     where p.last_bseq <> coalesce(e.n, 0) or coalesce(e.rows, 0) <> coalesce(e.n, 0)
        or (p.last_bseq > 0 and (e.lowest <> 1 or e.highest <> p.last_bseq))`,
  'I5: one usage row a request, and one correction at most': `
    select request_id, kind, count(*) as n
      from ledger_events
     where kind in (1, 5)
     group by request_id, kind
    having count(*) > 1`,
  'I16: spent = Σ cost of its rows': `
    select b.account_id, b.spent, coalesce(e.cost, 0) as cost
      from account_balances b
      left join (select account_id, sum(cost) as cost
                   from charged_use group by account_id) e using (account_id)
     where b.spent <> coalesce(e.cost, 0)`,
  'I16: spent = Σ of its keys': `
    select b.account_id, b.spent, coalesce(k.spent, 0) as keys
      from account_balances b
      left join (select account_id, sum(spent) as spent from key_totals group by account_id) k using (account_id)
     where b.spent <> coalesce(k.spent, 0)`,
  'I16: spent = Σ of its quarters': `
    select b.account_id, b.spent, coalesce(q.cost, 0) as quarters
      from account_balances b
      left join (select account_id, sum(cost) as cost from usage_quarter group by account_id) q using (account_id)
     where b.spent <> coalesce(q.cost, 0)`,
  'I16: what is counted of a model = Σ of its quarters': `
    select account_id, model_id, t.requests, q.requests as in_quarters, t.spent, q.cost as spent_in_quarters
      from model_totals t
      full join (select account_id, model_id, sum(requests) as requests, sum(cost) as cost
                   from usage_quarter group by account_id, model_id) q using (account_id, model_id)
     where (coalesce(t.requests, 0), coalesce(t.spent, 0)) <> (coalesce(q.requests, 0), coalesce(q.cost, 0))`,
};

/// `stores`: {sql(text) → rows, redis(...args) → reply}. What is wrong stays wrong: it is looked at again, as a refill of the
/// full hour may come between the two stores' answers.
export async function checkInvariants(stores) {
  let findings;
  for (let looks = 0; looks < MOST_LOOKS && findings?.length !== 0; looks++) findings = await lookAtBooks(stores);
  return findings;
}

async function lookAtBooks(stores) {
  await waitFor('requests to end and their holds to go (I4)', async () => (await heldRequests(stores)) === 0, DRAIN_SECONDS);
  await waitFor('every event to be drained', () => drained(stores), DRAIN_SECONDS, 50);
  const findings = await walletFindings(stores);
  for (const [rule, query] of Object.entries(BOOK_RULES)) {
    const rows = await stores.sql(query);
    for (const row of rows.slice(0, 5)) findings.push(`${rule}: ${JSON.stringify(row)}`);
    if (rows.length > 5) findings.push(`${rule}: and ${rows.length - 5} more`);
  }
  return findings;
}
