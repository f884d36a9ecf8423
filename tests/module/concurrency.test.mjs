// 1,000 requests at once on one wallet: strict admits exactly those that fit, soft stops when nothing is free (I7, I8, L1).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { chatBody, codeOf, Connections, nano } from './traffic.mjs';

const REQUESTS = 1000;
const MAX_TOKENS = 1000;

let stack;
before(async () => { stack = await startStack({ name: 'concurrency' }); });
after(() => stack?.stop());

/// What one request of this suite holds, learnt from one that runs.
async function holdOfOne(mode) {
  await stack.modelServers[0].behave('held');
  const { account, key } = await stack.newAccount({ max: '1000', mode });
  const one = new Connections(stack.url, 1);
  const answer = one.post(0, '/v1/chat/completions', key, chatBody({ max_tokens: MAX_TOKENS }));
  const { held } = await stack.waitForHold(account, answer);
  await stack.modelServers[0].behave('');
  assert.equal((await answer).status, 200);
  one.close();
  return held;
}

function asCoins(amount) {
  return `${amount / 1_000_000_000n}.${String(amount % 1_000_000_000n).padStart(9, '0')}`;
}

/// All at once, while none can end before the last has been decided about.
async function rush({ account, key }) {
  await stack.modelServers[0].behave('held');
  const connections = new Connections(stack.url, REQUESTS);
  const asked = connections.agents.map((_, i) => connections.post(i, '/v1/chat/completions', key, chatBody({ max_tokens: MAX_TOKENS })));
  await stack.allDecided(account, asked);
  await stack.modelServers[0].behave('');
  const answers = await Promise.all(asked);
  connections.close();
  return answers;
}

const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0n);
const costs = (answers) => answers.map((answer) => nano(answer.headers['x-lumen-cost']));

test('strict admits exactly the requests whose holds fit', async () => {
  const hold = await holdOfOne('strict');
  const fitting = 137n;
  const start = hold * fitting + hold / 2n;
  const owner = await stack.newAccount({ max: asCoins(start), mode: 'strict' });
  const answers = await rush(owner);
  const admitted = answers.filter((answer) => answer.status === 200);
  const refused = answers.filter((answer) => answer.status !== 200);
  assert.equal(BigInt(admitted.length), fitting);
  assert.ok(refused.every((answer) => answer.status === 429 && codeOf(answer) === 'balance_held'), refused[0]?.body);
  const wallet = await stack.atRest(owner.account);
  assert.equal(wallet.held, 0n);
  assert.equal(wallet.balance, start - sum(costs(admitted)));
  assert.ok(wallet.balance >= 0n);
});

test('soft admits while coins are free, and overspends by one hold at most', async () => {
  const hold = await holdOfOne('soft');
  const wholeHolds = 90n;
  const start = hold * wholeHolds + hold / 2n;
  const owner = await stack.newAccount({ max: asCoins(start), mode: 'soft' });
  const answers = await rush(owner);
  const admitted = answers.filter((answer) => answer.status === 200);
  assert.equal(BigInt(admitted.length), wholeHolds + 1n);
  assert.ok(answers.filter((answer) => answer.status !== 200).every((answer) => codeOf(answer) === 'balance_held'));
  const wallet = await stack.atRest(owner.account);
  const overHold = sum(costs(admitted).map((cost) => (cost > hold ? cost - hold : 0n)));
  assert.ok(wallet.balance >= -(hold + overHold), `balance ${wallet.balance}, hold ${hold}`);
  assert.equal(wallet.balance, start - sum(costs(admitted)));
});

test('a wallet emptied by its own requests refuses the next one with 402', async () => {
  await stack.modelServers[0].behave('tokens-2000');
  const { account, key } = await stack.newAccount({ max: '0.0005', mode: 'soft' });
  const first = await stack.post('/v1/chat/completions', chatBody(), { key });
  assert.equal(first.status, 200);
  const { balance } = await stack.atRest(account);
  assert.ok(balance <= 0n);
  const second = await stack.post('/v1/chat/completions', chatBody(), { key });
  assert.equal(second.status, 402);
  assert.equal((await second.json()).error.code, 'insufficient_quota');
});
