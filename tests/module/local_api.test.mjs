// What a key can ask about itself and its calls, what monitoring and other sites' pages may see (spec/rest.md §3,
// design.md §4): authorised by the gate, answered by admind, and by nobody else.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { costOf, parseCoins } from '../harness/coins.mjs';
import { serverEnvironment, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';
import { withinAnHour } from './hours.mjs';
import { chatBody, leave } from './traffic.mjs';

const PRICE = { input: '1000', output: '2000' };
const MONITORING = 'a-monitoring-token-of-32-characters';
const PAGE = 'https://app.example.edu';

let stack;
before(async () => {
  const priced = { input_cost_per_million: 1000, output_cost_per_million: 2000 };
  stack = await startStack({
    name: 'local_api',
    nginx: (file, text) => text.replace('lumen_drain_aborted 5s;', 'lumen_drain_aborted 60s;'),
    settings: { api: { monitoring: { token: MONITORING } }, app: { cors_origins: [PAGE] }, rate_limiting: { limit: '600 per minute' } },
    models: ([server]) => [
      { ...priced, name: 'demo', access: 'allowed', image_cost: 0.04, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { ...priced, name: 'blocked', access: 'blocked', hide_when_blocked: true, endpoints: [{ id: 'blocked-1', url: `${server}/v1` }] },
      { ...priced, name: 'retired', access: 'allowed', disabled: true, endpoints: [{ id: 'retired-1', url: `${server}/v1` }] },
      { ...priced, name: 'slow', access: 'allowed', endpoints: [{ id: 'slow-1', url: `${server}/misbehave/held-2+tokens-20/v1` }] },
      { ...priced, name: 'drained', access: 'allowed', endpoints: [{ id: 'drained-1', url: `${server}/v1`, state: 'draining' }] },
    ],
  });
});
after(() => stack?.stop());

async function get(target, options) {
  const answer = await stack.fetch(target, options);
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text === '' ? null : JSON.parse(text) };
}

async function chat(options, over = {}) {
  const answer = await stack.post('/v1/chat/completions', chatBody({ model: 'demo', ...over }), options);
  return { id: answer.headers.get('x-request-id'), body: await answer.json() };
}

test('L24: a key sees its name, budget and use', () => withinAnHour(async () => {
  const { account, key } = await stack.newAccount({ max: '5', refresh: '0.5' });
  const { body } = await chat({ key });
  const cost = costOf({ input: body.usage.prompt_tokens, output: body.usage.completion_tokens }, PRICE);
  const seen = await waitFor('the call to be in the book', async () => {
    const answer = await get('/v1/key', { key });
    return answer.body.usage.requests === 1 && answer;
  });
  assert.equal(seen.status, 200);
  const { object, name, hint, expires_at: expires, models, account: owner, budget, key_budget: keyBudget, usage, rate_limits: rates, ...rest } = seen.body;
  assert.deepEqual(rest, {});
  assert.deepEqual([object, expires, models, keyBudget], ['key', null, null, null]);
  assert.ok(name.startsWith('key-') && hint.endsWith(key.slice(-4)));
  assert.deepEqual(owner.type, 'user');
  assert.deepEqual([budget.state, budget.limit.nano, budget.held.nano], ['limited', String(parseCoins('5')), '0']);
  assert.equal(budget.balance.nano, String((await stack.wallet(account)).balance));
  assert.equal(BigInt(budget.balance.nano), parseCoins('5') - cost);
  assert.match(budget.next_refill_at, /:00:00\.000Z$/);
  assert.deepEqual([usage.requests, usage.tokens, usage.coins.nano], [1, body.usage.total_tokens, String(cost)]);
  assert.deepEqual(rates, { requests: [{ limit: 600, period_seconds: 60 }], tokens: [], concurrency: null });
  assert.equal(seen.headers.get('x-request-id').length, 36);
}));

test('a key without budget or coins sees that it has none', async () => {
  const none = await stack.operator.createUser({ email: 'none@example.edu', name: 'None', keyName: 'k' });
  assert.equal((await get('/v1/key', { key: none.key })).body.budget.state, 'none');
  const poor = await stack.newAccount({ max: '5', starting: '0' });
  assert.equal((await get('/v1/key', { key: poor.key })).body.budget.balance.nano, '0');
});

test('a key with a cap of its own sees what is left of it', async () => {
  const { account } = await stack.newAccount();
  const { key } = await stack.operator.createKey(account, { name: 'capped', budget: { coins: '1', period: 'day' } });
  const before = (await get('/v1/key', { key })).body.key_budget;
  assert.deepEqual([before.limit.coins, before.used.nano, before.remaining.coins], ['1', '0', '1']);
  const { body } = await chat({ key });
  const cost = costOf({ input: body.usage.prompt_tokens, output: body.usage.completion_tokens }, PRICE);
  await waitFor('the cap to be used', async () => (await get('/v1/key', { key })).body.key_budget.used.nano === String(cost));
});

test('a key that is narrowed sees to what, and is nobody elsewhere', async () => {
  const { account } = await stack.newAccount();
  const here = await stack.operator.createKey(account, { name: 'here', models: ['demo'], allowed_ips: ['127.0.0.0/8'] });
  assert.deepEqual((await get('/v1/key', { key: here.key })).body.models, ['demo']);
  const elsewhere = await stack.operator.createKey(account, { name: 'elsewhere', allowed_ips: ['203.0.113.0/24'] });
  for (const target of ['/v1/key', '/v1/models', '/v1/usage/018f0000-0000-7000-8000-000000000000']) {
    const answer = await get(target, { key: elsewhere.key });
    assert.deepEqual([answer.status, answer.body.error.code], [403, 'ip_not_allowed'], target);
  }
  const counted = await get('/v1/messages/count_tokens', { key: elsewhere.key, method: 'POST', body: JSON.stringify(chatBody({ model: 'demo' })) });
  assert.deepEqual([counted.status, counted.body.error.type], [403, 'permission_error']);
});

test('dead keys and other methods get nothing', async () => {
  const { id, key } = await stack.operator.createKey(stack.account, { name: 'dead' });
  assert.equal((await get('/v1/key', { key })).status, 200);
  await stack.operator.deleteKey(stack.account, id);
  for (const target of ['/v1/key', '/v1/usage/018f0000-0000-7000-8000-000000000000']) {
    for (const dead of [key, ownKey()]) {
      const answer = await get(target, { key: dead });
      assert.deepEqual([answer.status, answer.body.error.code], [401, 'invalid_api_key']);
    }
    const posted = await get(target, { method: 'POST' });
    assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD']);
  }
  assert.equal((await get('/v1/key', { method: 'HEAD' })).status, 200);
  assert.equal((await get('/v1/keys')).body.error.code, 'unknown_url');
});

test('nobody but the gate can say who is calling', async () => {
  const { key } = await stack.newAccount();
  const forged = 'account=1; key=1; at=1764000000000; signature=' + '0'.repeat(64);
  const mine = await get('/v1/key', { key, headers: { 'x-lumen-identity': forged } });
  assert.equal(mine.status, 200, 'a client\'s own copy is dropped');
  assert.ok(mine.body.hint.endsWith(key.slice(-4)));
  for (const headers of [{}, { 'x-lumen-identity': forged }, { authorization: `Bearer ${key}` }]) {
    const direct = await fetch(`${stack.server('admind').url}/v1/key`, { headers });
    assert.deepEqual([direct.status, (await direct.json()).error.code], [401, 'invalid_api_key']);
  }
});

// ---- one call ------------------------------------------------------------------------------------------------------

test('a call tells what it cost, to the key that made it and to no other', async () => {
  const { account, key } = await stack.newAccount();
  const { id, body } = await chat({ key });
  const cost = costOf({ input: body.usage.prompt_tokens, output: body.usage.completion_tokens }, PRICE);
  const first = await get(`/v1/usage/${id}`, { key });
  assert.equal(first.status, 200, 'also in the moment after the call');
  assert.match(first.body.status, /^(running|settled)$/);
  const seen = await waitFor('it to be settled', async () => {
    const { status, body: told } = await get(`/v1/usage/${id}`, { key });
    assert.equal(status, 200, 'once known it stays so');
    return told.status === 'settled' && told;
  });
  assert.deepEqual([seen.object, seen.request_id, seen.model, seen.status, seen.usage_source], ['usage', id, 'demo', 'settled', 'final']);
  assert.deepEqual([seen.tokens.input, seen.tokens.output], [body.usage.prompt_tokens, body.usage.completion_tokens]);
  assert.equal(seen.coins.nano, String(cost));
  const sibling = await stack.operator.createKey(account, { name: 'sibling' });
  for (const other of [sibling.key, stack.key]) {
    const hidden = await get(`/v1/usage/${id}`, { key: other });
    assert.deepEqual([hidden.status, hidden.body.error.code], [404, 'request_not_found']);
  }
});

test('a call that reached no model is none, and is said to be none at once', async () => {
  const { account, key } = await stack.newAccount();
  const answer = await stack.post('/v1/chat/completions', chatBody({ model: 'drained' }), { key });
  assert.equal(answer.status, 503, await answer.text());
  await waitFor('its hold to end', async () => (await stack.wallet(account)).running === 0n);
  const { status, body } = await get(`/v1/usage/${answer.headers.get('x-request-id')}`, { key });
  assert.deepEqual([status, body.error.code], [404, 'request_not_found']);
});

test('a call that has ended is known while the book is behind, and settled once it is there', async () => {
  const { key } = await stack.newAccount();
  const book = spawn('psql', ['-X', '-q', '-t', stack.instance.postgres.url], { env: serverEnvironment, stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    book.stdin.write("begin; lock table ledger_events in exclusive mode; select 'no more rows';\n");
    await once(book.stdout, 'data');
    const { id } = await chat({ key });
    const { status, body } = await get(`/v1/usage/${id}`, { key });
    assert.deepEqual([status, body.status, body.coins], [200, 'running', null]);
    book.stdin.end('rollback;\n');
    await waitFor('it to be settled', async () => (await get(`/v1/usage/${id}`, { key })).body.status === 'settled');
  } finally {
    book.kill();
  }
});

test('L27: a call whose client left tells what it cost, once it has ended', async () => {
  const { key } = await stack.newAccount();
  const abort = new AbortController();
  const answer = await stack.post('/v1/chat/completions', chatBody({ model: 'slow', stream: true }), { key, signal: abort.signal });
  const id = answer.headers.get('x-request-id');
  await answer.body.getReader().read();
  assert.equal((await get(`/v1/usage/${id}`, { key })).body.status, 'running');
  await leave(stack, abort);
  const settled = await waitFor('it to be settled', async () => {
    const { body } = await get(`/v1/usage/${id}`, { key });
    return body.status === 'settled' && body;
  });
  assert.equal(settled.tokens.output, 20, 'all that the model produced while it was read on');
});

for (const id of ['018f0000-0000-7000-8000-000000000000', 'nothing', '', "'; drop table users", '%2e%2e']) {
  test(`no call: ${id || '(empty)'}`, async () => {
    const { status, body } = await get(`/v1/usage/${encodeURIComponent(id)}`);
    assert.equal(status, 404);
    assert.match(body.error.code, /^(request_not_found|unknown_url)$/);
  });
}

// ---- monitoring ----------------------------------------------------------------------------------------------------

test('the monitoring token sees all enabled models, and their state', async () => {
  const { status, body } = await get('/v1/models', { key: MONITORING });
  assert.equal(status, 200);
  assert.deepEqual(body.data.map(({ id }) => id).sort(), ['blocked', 'demo', 'drained', 'slow']);
  for (const model of body.data) {
    assert.deepEqual([model.status, model.instances], [model.id === 'drained' ? 'down' : 'ok', 1]);
    assert.deepEqual(model.lumen, { access: null, consent_url: null });
  }
  assert.deepEqual(body.data.find(({ id }) => id === 'demo').pricing, {
    unit: 'coins_per_1m_tokens', input: '1000', output: '2000', cached_input: '1000', cache_write: '1000', reasoning: '2000',
    audio_hour: '0', speech_characters: '0', image: '0.04', request: '0',
  });
});

for (const [method, target] of [['GET', '/v1/models/demo'], ['GET', '/v1/key'], ['POST', '/v1/models'], ['POST', '/v1/chat/completions'], ['POST', '/v1/messages'], ['GET', '/v1/nothing']]) {
  test(`the monitoring token may not ${method} ${target}`, async () => {
    const { status, body } = await get(target, { key: MONITORING, method, ...(method === 'POST' ? { body: JSON.stringify(chatBody()) } : {}) });
    assert.equal(status, 403);
    assert.equal(body.error.type, 'permission_error');
  });
}

// ---- pages of other sites ------------------------------------------------------------------------------------------

const preflight = (target, origin) => stack.fetch(target, { method: 'OPTIONS', key: '', headers: {
  authorization: '', origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,x-stainless-os',
} });

test('a page of an allowed origin may call, and read what SDKs read', async () => {
  for (const target of ['/v1/chat/completions', '/v1/audio/transcriptions', '/v1/key']) {
    const asked = await preflight(target, PAGE);
    assert.equal(asked.status, 204, target);
    assert.equal(asked.headers.get('access-control-allow-origin'), PAGE);
    assert.equal(asked.headers.get('access-control-allow-methods'), 'GET, HEAD, POST');
    assert.equal(asked.headers.get('access-control-allow-headers'), 'authorization,content-type,x-stainless-os');
    assert.equal(await asked.text(), '');
  }
  const answers = [
    await stack.post('/v1/chat/completions', chatBody({ model: 'demo' }), { headers: { origin: PAGE } }),
    await stack.post('/v1/chat/completions', chatBody({ model: 'demo', stream: true }), { headers: { origin: PAGE } }),
    await stack.post('/v1/chat/completions', chatBody(), { key: 'wrong', headers: { origin: PAGE } }),
    await stack.fetch('/v1/key', { headers: { origin: PAGE } }),
  ];
  for (const answer of answers) {
    await answer.text();
    assert.equal(answer.headers.get('access-control-allow-origin'), PAGE, `${answer.status}`);
    assert.match(answer.headers.get('access-control-expose-headers'), /x-request-id.*x-lumen-cost.*x-ratelimit-reset-tokens/);
    assert.equal(answer.headers.get('vary'), 'Origin');
  }
});

test('a page of any other origin may not', async () => {
  for (const origin of ['https://app.example.edu.evil.example', 'http://app.example.edu', 'null']) {
    const asked = await preflight('/v1/chat/completions', origin);
    assert.notEqual(asked.status, 204);
    const answer = await stack.fetch('/v1/models', { headers: { origin } });
    for (const { headers } of [asked, answer]) assert.equal(headers.get('access-control-allow-origin'), null);
    await Promise.all([asked.text(), answer.text()]);
  }
});

// ---- admind away: last ---------------------------------------------------------------------------------------------

test('while admind is away its answers are 503, and calls go on', async () => {
  await stack.server('admind').stop();
  const { status, headers, body } = await get('/v1/key');
  assert.deepEqual([status, body.error.code, headers.get('retry-after')], [503, 'billing_unavailable', '1']);
  assert.match(body.error.message, /books/);
  assert.equal((await chat({ key: stack.key })).body.object, 'chat.completion');
  await stack.start('admind');
  await waitFor('admind to answer', async () => (await get('/v1/key')).status === 200);
});
