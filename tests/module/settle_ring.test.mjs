// The gate's memory of what is not settled yet: workers that die, Redis that stops, and a Redis that forgets (ledger.md
// 6.7, I11; stack.stop() checks the books).
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from './traffic.mjs';

const HEADER_BYTES = 16384;
const SLOT_BYTES = 512;
const REQUEST_AT = 24;  // in its slot
const STATES = ['free', 'admitting', 'running', 'settle', 'settled', 'torn'];
const ESTIMATED = 3;

let stack;
before(async () => {
  const model = (name, url) => ({
    name, access: 'allowed', input_cost_per_million: '0.15', output_cost_per_million: '0.6', endpoints: [{ id: `${name}-1`, url }],
  });
  stack = await startStack({
    name: 'settle_ring',
    redisTimeout: '1s',
    models: ([server]) => [
      model('demo', `${server}/v1`),
      model('long', `${server}/misbehave/pace-30+tokens-200/v1`),
      model('longer', `${server}/misbehave/pace-30+tokens-4000/v1`),
    ],
    // Small, as it is read again and again.
    nginx: (file, text) => text.replace('gate.ring:64m', 'gate.ring:1m'),
  });
});
after(() => stack?.stop());

/// {state, request} of each slot of the ring, read from its file.
function slotsInFile() {
  const file = path.join(stack.instance.stateDir, 'nginx/lib/gate.ring');
  assert.ok(existsSync(file), `${file} is there`);
  const bytes = readFileSync(file);
  return Array.from({ length: Math.floor((bytes.length - HEADER_BYTES) / SLOT_BYTES) }, (_, n) => {
    const at = HEADER_BYTES + n * SLOT_BYTES;
    return { state: STATES[bytes[at]], request: bytes.toString('latin1', at + REQUEST_AT, at + REQUEST_AT + 36) };
  });
}
/// How many are in each state.
function slots() {
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const { state } of slotsInFile()) counts[state]++;
  return counts;
}
const isKept = (id) => slotsInFile().some(({ state, request }) => request === id && state === 'settled');
const unsettled = () => { const { admitting, running, settle } = slots(); return admitting + running + settle; };

/// Begins a request and returns once it holds coins. `seen` grows with what comes; `answer` ends with it, also if it is cut.
async function begin(model, over = {}) {
  const begun = { ...await stack.newAccount(), seen: '' };
  begun.answer = (async () => {
    const response = await stack.post('/v1/chat/completions', chatBody({ model, ...over }), { key: begun.key });
    for await (const bytes of response.body) begun.seen += Buffer.from(bytes).toString('utf8');
    return response.status;
  })().catch((error) => error);
  await stack.waitForHold(begun.account, begun.answer);
  return begun;
}
const someTokens = (begun) => waitFor('some tokens', () => begun.seen.split('data: ').length > 8);

const rowsOf = ({ account }) => stack.sql('select * from ledger_events where account_id = :\'account\' and kind in (1, 5, 6, 7)', { account });
const booked = (owner) => waitFor('the book to have it', async () => {
  const rows = await rowsOf(owner);
  return rows.length > 0 && rows;
});

test('workers that die mid-stream: the next ones settle what had come, within seconds, once', async () => {
  const owner = await begin('longer', { stream: true });
  await someTokens(owner);
  for (const pid of stack.workers()) process.kill(pid, 'SIGKILL');
  await owner.answer;
  assert.ok(!owner.seen.includes('[DONE]'));
  const [row, ...more] = await booked(owner);
  assert.equal(more.length, 0);
  assert.equal(Number(row.usage_source), ESTIMATED);
  assert.ok(Number(row.tokens_out) > 0 && Number(row.tokens_out) < 4000);
  assert.equal(BigInt(row.cost), 5_000_000_000n - (await stack.wallet(owner.account)).balance);
  await waitFor('nothing unsettled', () => unsettled() === 0);
});

test('workers that die before the first byte: the hold is gone and nothing is charged', async () => {
  await stack.modelServers[0].behave('held');
  const owner = await begin('demo');
  for (const pid of stack.workers()) process.kill(pid, 'SIGKILL');
  await owner.answer;
  await stack.modelServers[0].behave('');
  await waitFor('the hold to end', async () => (await stack.wallet(owner.account)).running === 0n);
  assert.equal((await stack.wallet(owner.account)).balance, 5_000_000_000n);
});

test('L12: nginx killed whole: its next start settles from the file', async () => {
  const owner = await begin('longer', { stream: true });
  await someTokens(owner);
  const workers = stack.workers();
  await stack.kill('nginx');
  for (const pid of workers) try { process.kill(pid, 'SIGKILL'); } catch { /* it went with its master */ }
  await owner.answer;
  await waitFor('the workers to be gone', () => workers.every((pid) => !existsSync(`/proc/${pid}`)));
  assert.equal(unsettled(), 1);
  await stack.start('nginx');
  await stack.waitUntilServing();
  const rows = await booked(owner);
  assert.equal(rows.length, 1);
  assert.equal(Number(rows[0].usage_source), ESTIMATED);
  await waitFor('nothing unsettled', () => unsettled() === 0);
});

test('a reload lets a running stream end, and it is settled by its real usage', async () => {
  const owner = await begin('long', { stream: true });
  await stack.reload();
  await owner.answer;
  assert.match(owner.seen, /data: \[DONE\]/);
  const [row] = await booked(owner);
  assert.equal(Number(row.tokens_out), 200);
  await waitFor('nothing unsettled', () => unsettled() === 0);
});

test('Redis stops before the settle: the answer is complete, the settle follows when it is back', async () => {
  await stack.modelServers[0].behave('held');
  const owner = await begin('demo');
  stack.server('redis').kill('SIGSTOP');
  await stack.modelServers[0].behave('');
  assert.equal(await owner.answer, 200);
  assert.equal(unsettled(), 1);
  stack.server('redis').kill('SIGCONT');
  const rows = await booked(owner);
  assert.equal(rows.length, 1);
  await waitFor('nothing unsettled', () => unsettled() === 0);
});

test('no answer to admit in time: refused, and the hold that was placed all the same is voided', async () => {
  const owner = await stack.newAccount();
  stack.server('redis').kill('SIGSTOP');
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'demo' }), { key: owner.key });
  assert.equal(response.status, 503);
  assert.equal((await response.json()).error.code, 'billing_unavailable');
  stack.server('redis').kill('SIGCONT');
  await waitFor('nothing unsettled', () => unsettled() === 0);
  const wallet = await stack.wallet(owner.account);
  assert.deepEqual([wallet.balance, wallet.running], [5_000_000_000n, 0n]);
  assert.deepEqual(await rowsOf(owner), []);
});

test('Redis forgets all before the book saw it: the ring sends it again, and it is charged once', async () => {
  const owner = await stack.newAccount();
  await stack.kill('admind');  // nothing is drained
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'demo' }), { key: owner.key });
  const requestId = response.headers.get('x-request-id');
  await response.text();
  await waitFor('the settle', () => isKept(requestId) && unsettled() === 0);
  assert.equal(await stack.redis('FLUSHALL'), 'OK');
  await stack.start('admind');
  const rows = await waitFor('the charge', async () => {
    const found = await stack.sql('select * from ledger_events where request_id = :\'requestId\' and kind in (1, 5)', { requestId });
    return found.length > 0 && found;
  });
  assert.equal(rows.length, 1);
  const cost = BigInt(rows[0].cost);
  assert.ok(cost > 0n);
  await waitFor('the wallet to say so', async () => (await stack.wallet(owner.account)).balance === 5_000_000_000n - cost);
  await waitFor('the ring to be empty', () => { const now = slots(); return now.settled === 0 && unsettled() === 0; });
});
