// Several of everything on one Redis and one Postgres: two gates share wallets, limits and revocations; three admind have
// one leader, and one that sleeps through the loss of its lead does no harm when it wakes (I7, I9, I12).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody, codeOf, Connections, nano } from './traffic.mjs';

const METRICS_TOKEN = 'a token for the metrics page';

let stack;
let gates;
let adminds;
before(async () => {
  stack = await startStack({ name: 'several', settings: { api: { prometheus: { enabled: true, token: METRICS_TOKEN } } } });
  gates = [stack.server('nginx'), await stack.addGate()];
  adminds = [stack.server('admind'), await stack.addAdmind(), await stack.addAdmind()];
});
after(() => stack?.stop());

const bucketOf = (account) => String(BigInt(account) % 256n).padStart(3, '0');

async function leads(admind) {
  const page = await fetch(`${admind.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  assert.equal(page.status, 200);
  return /^lumen_leader 1$/m.test(await page.text());
}

/// The one that leads, once it is exactly one of those asked.
async function leaderOf(candidates) {
  return waitFor('one leader', async () => {
    const leading = await Promise.all(candidates.map(leads));
    return leading.filter(Boolean).length === 1 && candidates[leading.indexOf(true)];
  });
}

test('L12: strict coins for five requests admit five of forty that two gates get at once (I7)', async () => {
  const body = chatBody({ max_tokens: 16 });
  await stack.modelServers[0].behave('held');
  const probe = await stack.newAccount({ max: '10', mode: 'strict' });
  const first = stack.post('/v1/chat/completions', body, { key: probe.key });
  const { held: hold } = await stack.waitForHold(probe.account, first);
  const { account, key } = await stack.newAccount({ max: `0.${String(hold * 5n).padStart(9, '0')}`, mode: 'strict' });
  const connections = gates.map((gate) => new Connections(gate.url, 20));
  const asked = connections.flatMap((pool) => Array.from({ length: 20 }, (_, i) => pool.post(i, '/v1/chat/completions', key, body)));
  assert.equal((await stack.allDecided(account, asked)).running, 5);
  await stack.modelServers[0].behave('');
  const answers = await Promise.all(asked);
  connections.forEach((pool) => pool.close());
  assert.equal((await first).status, 200);
  assert.deepEqual(answers.filter(({ status }) => status !== 200).map((answer) => [answer.status, codeOf(answer)]), Array(35).fill([429, 'balance_held']));
  const { balance } = await stack.atRest(account);
  assert.ok(balance >= 0n, 'never below zero while a cost is at most its hold');
});

test('two gates on one host report under names of their own, and keep them over a restart', async () => {
  const names = async () => (await stack.redis('KEYS', 'lumen:gate:*')).filter((key) => !key.endsWith('/rehash')).sort();
  const before = await waitFor('both to report', async () => (await names()).length === 2 && names());
  await stack.restart('nginx');
  await stack.redis('DEL', ...before);  // what comes now is of those that run
  const after = await waitFor('both to report again', async () => (await names()).length === 2 && names());
  assert.deepEqual(after, before);
});

test('a key revoked through one gate fails at once on the other (I9)', async () => {
  const { account, key, keyId } = await stack.newAccount();
  for (const gate of gates) assert.equal((await ask(gate, key)).status, 200);
  await stack.operator.deleteKey(account, keyId);
  for (const gate of gates) assert.equal((await ask(gate, key)).status, 401);
});

function ask(gate, key) {
  return fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(chatBody()),
  });
}

test('one leads; stopped, it loses its lead; woken late, it refills nothing twice and another still leads (I12)', async () => {
  const first = await leaderOf(adminds);
  const others = adminds.filter((admind) => admind !== first);
  const accounts = [];
  for (let i = 0; i < 4; i++) accounts.push((await stack.newAccount({ max: '50', refresh: '0.25', starting: '1' })).account);
  process.kill(first.pid, 'SIGSTOP');
  try {
    // As the server does when the leader's host is gone: its session, and with it the lock, ends.
    await stack.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
    await leaderOf(others);
    for (const account of accounts) {
      const wallet = `{b${bucketOf(account)}}:a:${account}`;
      await stack.redis('HINCRBY', wallet, 'lrh', '-3');
      await stack.sql(`update account_balances set last_refill_hour = last_refill_hour - 3 where account_id = ${account}`);
    }
    const refill = await fetch(`${others[0].url}/api/v1/admin/refill`, {
      method: 'POST', body: '{}',
      headers: { authorization: `Bearer ${stack.operator.token}`, 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() },
    });
    assert.equal(refill.status, 200);
  } finally {
    process.kill(first.pid, 'SIGCONT');
  }
  await waitFor('the sleeper to see that it leads no more', async () => !(await leads(first)));
  const now = await leaderOf(adminds);
  assert.notEqual(now, first);
  await waitFor('the refills to be booked', async () => {
    const rows = await stack.sql(`select account_id, delta from ledger_events where account_id in (${accounts.join(',')}) and kind = 2`);
    return rows.length >= accounts.length;
  });
  const rows = await stack.sql(`select account_id, count(*) as n, sum(delta) as coins from ledger_events
    where account_id in (${accounts.join(',')}) and kind = 2 group by account_id`);
  assert.deepEqual(rows.map(({ n, coins }) => [n, coins]), accounts.map(() => ['1', String(nano('0.75'))]));
});

test('admind after admind is killed: the last one drains, refills and answers', async () => {
  const { account, key } = await stack.newAccount();
  const [kept, ...killed] = adminds;
  for (const admind of killed) admind.kill('SIGKILL');
  for (const admind of killed) await admind.waitUntilGone();
  const answer = await ask(gates[1], key);
  assert.equal(answer.status, 200);
  const [usage] = (await stack.ledger(answer.headers.get('x-request-id'))).filter((row) => row.kind === '1');
  assert.equal(usage.account_id, account);
  assert.equal(await leaderOf([kept]), kept);
  for (const admind of killed) await admind.start();
});
