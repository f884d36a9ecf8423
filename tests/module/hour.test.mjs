// An hour passes: each wallet is refilled once, never above its limit, also when two copies of admind do it at the same
// time, also after hours in which none ran (I12). The hour passes by lowering the last refilled hour in both stores, as
// ledger.md T12 says: the product has no clock to turn.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Operator } from '../harness/operator.mjs';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { withinAnHour } from './hours.mjs';
import { nano } from './traffic.mjs';

let stack;
let copy;
before(async () => {
  stack = await startStack({ name: 'hour' });
  copy = await stack.addAdmind();
});
after(() => stack?.stop());

const bucketOf = (account) => String(BigInt(account) % 256n).padStart(3, '0');

/// `hours` full hours lie behind this wallet that nobody has credited yet.
async function letHoursPass(account, hours) {
  const wallet = `{b${bucketOf(account)}}:a:${account}`;
  const now = Number(await stack.redis('HGET', wallet, 'lrh'));
  await stack.redis('HSET', wallet, 'lrh', String(now - hours));
  await stack.sql(`update account_balances set last_refill_hour = last_refill_hour - ${hours} where account_id = ${account}`);
}

const refills = (account) => stack.sql(`select delta, balance_after from ledger_events where account_id = ${account} and kind = 2 order by seq`);

async function refilledAll(accounts) {
  await waitFor('the refills to be booked', async () => {
    const counts = await Promise.all(accounts.map(async (account) => (await refills(account)).length));
    return counts.every((count) => count >= 1);
  });
}

/// Both copies go for the same accounts at the same moment, several times.
async function bothRefill() {
  await Promise.all([stack.server('admind'), copy].flatMap((server) => Array.from({ length: 3 }, () =>
    new Operator(server.url, stack.operator.token).rest('POST', '/admin/refill', {}))));
}

test('one hour: once each, by two copies at once, never above the limit', () => withinAnHour(async () => {
  const low = await stack.newAccount({ max: '5', refresh: '0.75', starting: '1' });
  const nearlyFull = await stack.newAccount({ max: '5', refresh: '0.75', starting: '4.9' });
  const full = await stack.newAccount({ max: '5', refresh: '0.75' });
  const still = await stack.newAccount({ max: '5', refresh: '0', starting: '1' });
  for (const { account } of [low, nearlyFull, full, still]) await letHoursPass(account, 1);
  await bothRefill();
  await refilledAll([low.account, nearlyFull.account]);
  assert.deepEqual(await refills(low.account), [{ delta: String(nano('0.75')), balance_after: String(nano('1.75')) }]);
  assert.deepEqual(await refills(nearlyFull.account), [{ delta: String(nano('0.1')), balance_after: String(nano('5')) }]);
  assert.deepEqual(await refills(full.account), []);
  assert.deepEqual(await refills(still.account), []);
}));

test('hours in which no admind ran are made up when one starts, once', () => withinAnHour(async () => {
  const { account } = await stack.newAccount({ max: '50', refresh: '0.25', starting: '1' });
  await stack.server('admind').stop();
  await copy.stop();
  await letHoursPass(account, 7);
  await Promise.all([stack.start('admind'), copy.start()]);
  await refilledAll([account]);
  assert.deepEqual(await refills(account), [{ delta: String(nano('1.75')), balance_after: String(nano('2.75')) }]);
}));

test('an admission does not wait for the refill job: a due hour is credited as the request arrives', () => withinAnHour(async () => {
  const { account, key } = await stack.newAccount({ max: '5', refresh: '0.5', starting: '0' });
  const post = () => stack.post('/v1/chat/completions', { model: 'demo', messages: [{ role: 'user', content: 'hi' }] }, { key });
  assert.equal((await post()).status, 402);
  await letHoursPass(account, 2);
  assert.equal((await post()).status, 200);
  await refilledAll([account]);
  assert.equal((await refills(account))[0].delta, String(nano('1')));
}));
