// Rates with periods of their own, at the gate: what is left on every answer, and a wait that is true (spec/api.md §3).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from './traffic.mjs';

const DURATION = /^(\d+ms|(\d+h)?(\d+m)?\d+(\.\d{3})?s)$/;
const TOKENS = 4000;
let stack;

before(async () => {
  const price = { access: 'allowed', output_cost_per_million: 1 };
  stack = await startStack({
    name: 'rate_limits',
    settings: { rate_limiting: { limit: '2 per 10 seconds; 1000 per day', tokens: `${TOKENS} per 5 seconds` } },
    models: ([server]) => [
      { name: 'demo', ...price, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
    ],
  });
});
after(() => stack?.stop());

/// One request: {status, error, headers by name, at: when the answer was there}.
async function ask(key, over = {}) {
  const answer = await stack.post('/v1/chat/completions', chatBody({ max_tokens: 10, ...over }), { key });
  const body = await answer.json();
  return { status: answer.status, error: body.error, headers: Object.fromEntries(answer.headers), at: performance.now() };
}

/// Comes back after exactly the wait that was told.
async function waitAsTold({ headers, at }) {
  const untilMs = at + Number(headers['retry-after-ms']);
  while (performance.now() < untilMs) await new Promise((resolve) => { setTimeout(resolve, untilMs - performance.now()); });
}

function assertTells(answer, { requests, tokens }) {
  assert.equal(answer.headers['x-ratelimit-limit-requests'], String(requests));
  assert.equal(answer.headers['x-ratelimit-limit-tokens'], String(tokens));
  for (const name of ['requests', 'tokens']) {
    assert.match(answer.headers[`x-ratelimit-remaining-${name}`], /^\d+$/);
    assert.match(answer.headers[`x-ratelimit-reset-${name}`], DURATION);
  }
}

function assertToldToWait(answer, longestMs) {
  const ms = Number(answer.headers['retry-after-ms']);
  assert.ok(ms > 0 && ms <= longestMs, `${ms} ms`);
  assert.equal(answer.headers['retry-after'], String(Math.ceil(ms / 1000)));
}

test('an admitted request tells limit, rest and reset of requests and of tokens', async () => {
  const { key } = await stack.newAccount();
  const first = await ask(key);
  assert.equal(first.status, 200);
  assertTells(first, { requests: 2, tokens: TOKENS });
  assert.equal(first.headers['x-ratelimit-remaining-requests'], '1');
  assert.equal(first.headers['x-ratelimit-reset-requests'], '5s');
  const left = Number(first.headers['x-ratelimit-remaining-tokens']);
  assert.ok(left < TOKENS && left > TOKENS - 100, `${left} tokens left`);
});

test('`lumen-admind inspect` shows account, key and bucket as Redis has them, the packed rates too', async () => {
  const { account, key } = await stack.newAccount({ max: '3' });
  assert.equal((await ask(key)).status, 200);
  await waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);
  const [{ id }] = await stack.sql(`select id from api_keys where account_id = ${account}`);
  const inspect = (...what) => stack.instance.admind.run('inspect', ...what.map(String));
  const shownKey = inspect('key', id);
  assert.match(shownKey, new RegExp(`^account +${account}$`, 'm'));
  assert.match(shownKey, /^rate of requests +2 in 10 s, used up until \d{4}-/m);
  assert.match(shownKey, /^rate of requests +1000 in 86400 s, /m);
  assert.match(shownKey, new RegExp(`^rate of tokens +${TOKENS} in 5 s, `, 'm'));
  assert.match(inspect('account', account), /^limit +3 coins$/m);
  assert.match(inspect('account', account), /^held +0 coins$/m);
  assert.match(inspect('bucket', BigInt(account) % 256n), /^serves +yes$/m);
  assert.throws(() => inspect('account', 999_999), /no such account/);
});

test('too many requests: 429 with the same headers, and after the wait that was told the next one passes', async () => {
  const { key } = await stack.newAccount();
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(key)));
  const refused = answers.filter(({ status }) => status === 429).sort((a, b) => a.at - b.at).at(-1);
  assert.ok(refused, 'eight at once are more than two in ten seconds');
  assert.equal(refused.error.type, 'requests');
  assert.equal(refused.headers['x-ratelimit-remaining-requests'], '0');
  assertTells(refused, { requests: 2, tokens: TOKENS });
  assertToldToWait(refused, 5_000);
  await waitAsTold(refused);
  assert.equal((await ask(key)).status, 200);
});

test('too many tokens: 429 of type tokens, and after the wait that was told the same request passes', async () => {
  const { account, key } = await stack.newAccount();
  const most = { max_tokens: TOKENS - 200 };
  await stack.modelServers[0].behave('held');
  const slow = ask(key, most);
  await stack.waitForHold(account, slow);
  const refused = await ask(key, most);
  await stack.modelServers[0].behave('');
  assert.equal(refused.status, 429);
  assert.equal(refused.error.type, 'tokens');
  assert.equal(refused.error.code, 'rate_limit_exceeded');
  assertTells(refused, { requests: 2, tokens: TOKENS });
  assertToldToWait(refused, 5_000);
  assert.equal((await slow).status, 200);
  await waitAsTold(refused);
  assert.equal((await ask(key, most)).status, 200);
});

test('more tokens than the limit has, if less than twice as many: never, and no wait is told', async () => {
  const { key } = await stack.newAccount();
  const refused = await ask(key, { max_tokens: Math.ceil(1.2 * TOKENS) });
  assert.equal(refused.status, 400);
  assert.equal(refused.error.code, 'request_too_large_for_rate_limit');
  assert.equal(refused.headers['x-should-retry'], 'false');
  assert.equal(refused.headers['retry-after-ms'], undefined);
});

test('thirty an hour are thirty at once, then one every two minutes, not one a minute', async () => {
  stack.writeSettings({ rate_limiting: { limit: '30 per hour' } });
  const { key, first } = await waitFor('the limit to be in force', async () => {
    const owner = await stack.newAccount();
    const answer = await ask(owner.key);
    return answer.headers['x-ratelimit-limit-requests'] === '30' && { ...owner, first: answer };
  });
  assert.equal(first.headers['x-ratelimit-remaining-requests'], '29');
  assert.equal(first.headers['x-ratelimit-reset-requests'], '2m0s');
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(key)));
  const served = answers.filter(({ status }) => status === 200).length;
  assert.ok(served >= 29 && served <= 31, `${served} of 40`);
  const refused = answers.find(({ status }) => status === 429);
  assertToldToWait(refused, 120_000);
  assert.match(refused.headers['x-ratelimit-reset-requests'], /^(1h0m|5\dm)\d+(\.\d{3})?s$/);
});
