// The admission part of the error table (spec/api.md §2), row by row: exactly that status, type, code, param and headers,
// for whoever asks, and it costs nothing: no coin moves, no model server is asked.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';
import { chatBody } from './traffic.mjs';

const CHAT = '/v1/chat/completions';
const REQUEST_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const MAX_BODY = 16 * 1024 * 1024;

let stack;
before(async () => {
  stack = await startStack({
    name: 'refusals',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { name: 'org/consent', access: 'allowed', needs_ack: true, endpoints: [{ id: 'consent-1', url: `${server}/v1` }] },
      { name: 'blocked', access: 'blocked', endpoints: [{ id: 'blocked-1', url: `${server}/v1` }] },
      { name: 'hidden', access: 'blocked', hide_when_blocked: true, endpoints: [{ id: 'hidden-1', url: `${server}/v1` }] },
      { name: 'retired', access: 'allowed', disabled: true, endpoints: [{ id: 'retired-1', url: `${server}/v1` }] },
      { name: 'drained', access: 'allowed', endpoints: [{ id: 'drained-1', url: `${server}/v1`, state: 'draining' }] },
    ],
    // A second gate whose empty wallets answer 429.
    nginx: (file, text) => (file === 'lumen.conf'
      ? `${text}\nlocation = /v1/completions {\n  lumen on;\n  lumen_exhausted_status 429;\n  include lumen_proxy.conf;\n  proxy_pass https://lumen_models;\n}\n`
      : text),
  });
});
after(() => stack?.stop());

// ---- requests ------------------------------------------------------------------------------------------------------

/// One request on a connection of its own: {status, headers, text, body}.
async function send(target, { key, headers = {}, ...options } = {}) {
  const answer = await fetch(stack.url + target, {
    ...options,
    headers: { connection: 'close', ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text };
}

const chat = (key, body = chatBody(), options = {}) => send(options.target ?? CHAT, {
  method: 'POST', key, body: typeof body === 'string' ? body : JSON.stringify(body), ...options,
});

/// For what no client library would send.
function sendRaw(text) {
  const { hostname, port } = new URL(stack.url);
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, hostname, () => socket.write(text));
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => {
      const [head, body] = Buffer.concat(chunks).toString().split('\r\n\r\n', 2);
      const [statusLine, ...lines] = head.split('\r\n');
      const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
      resolve({ status: Number(statusLine.split(' ')[1]), headers, text: body });
    });
  });
}

// ---- what every refusal must be ------------------------------------------------------------------------------------

/// `headers`: name → text, pattern, or null for "not there"; `members`: of the error object.
function assertRefused(answer, { status, type, code = null, param = null, headers = {}, members = {} }) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get('content-type'), /^application\/json/);
  assert.match(answer.headers.get('x-request-id'), REQUEST_ID);
  const { error, ...rest } = JSON.parse(answer.text);
  assert.deepEqual(rest, {}, 'nothing beside `error`');
  const { message, ...seen } = error;
  assert.ok(message.length > 10, 'the message helps');
  const expected = { type, code, param, ...members };
  for (const [name, value] of Object.entries(expected)) {
    if (value instanceof RegExp) {
      assert.match(seen[name], value);
      expected[name] = seen[name];
    }
  }
  assert.deepEqual(seen, expected);
  const defaults = { 'x-should-retry': null, 'retry-after': null, 'retry-after-ms': null, 'x-lumen-balance': null, 'x-lumen-retry-at': null, 'www-authenticate': null };
  for (const [name, value] of Object.entries({ ...defaults, ...headers })) {
    const header = answer.headers.get(name);
    if (value instanceof RegExp) assert.match(header ?? '', value, name);
    else assert.equal(header, value, name);
  }
}

const settled = (account) => waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);

/// The refusal costs nothing: the wallet is as before, nothing is held, and no model server was asked.
async function costsNothing(account, refuse) {
  const asked = async () => {
    const { '/health': probes = 0, ...priced } = (await stack.modelServers[0].report()).requests;
    return Object.values(priced).reduce((sum, count) => sum + count, 0);
  };
  const [wallet, requests] = [await stack.wallet(account), await asked()];
  const answer = await refuse();
  assert.deepEqual(await waitFor('nothing to be held', async () => {
    const now = await stack.wallet(account);
    return now.running === wallet.running && now;
  }), wallet);
  assert.equal(await asked(), requests, 'a model server was asked');
  return answer;
}

const KEY_REFUSED = { status: 401, type: 'invalid_request_error', code: 'invalid_api_key', headers: { 'www-authenticate': 'Bearer' } };
const NEVER_RETRY = { 'x-should-retry': 'false' };

// ---- the rows ------------------------------------------------------------------------------------------------------

// name: the row's; as: whose wallet must not move (the stack's, unless set up by the row).
const ROWS = [
  { name: 'no Authorization', refuse: () => send(CHAT, { method: 'POST', body: '{}' }), ...KEY_REFUSED },
  { name: 'malformed Authorization: another scheme', refuse: () => chat(undefined, chatBody(), { headers: { authorization: 'Basic c2s6c2s=' } }), ...KEY_REFUSED },
  { name: 'malformed Authorization: no key', refuse: () => chat(undefined, chatBody(), { headers: { authorization: 'Bearer' } }), ...KEY_REFUSED },
  { name: 'malformed Authorization: longer than any key', refuse: () => chat('k'.repeat(129)), ...KEY_REFUSED },
  { name: 'unknown key: a checksum that does not verify', refuse: () => chat(`${stack.key.slice(0, -1)}${stack.key.endsWith('x') ? 'y' : 'x'}`), ...KEY_REFUSED },
  { name: 'unknown key of our form', refuse: () => chat(ownKey()), ...KEY_REFUSED },
  { name: 'unknown key of another form', refuse: () => chat('some-other-systems-key'), ...KEY_REFUSED },
  { name: 'unknown key in x-api-key', refuse: () => chat(undefined, chatBody(), { headers: { 'x-api-key': ownKey() } }), ...KEY_REFUSED },
  {
    name: 'revoked key',
    setup: async () => {
      const { id, key } = await stack.operator.createKey(stack.account, { name: 'revoked' });
      assert.equal((await send('/v1/models', { key })).status, 200, 'it worked before');
      await stack.operator.deleteKey(stack.account, id);
      return { key };
    },
    refuse: ({ key }) => chat(key), ...KEY_REFUSED,
  },
  {
    name: 'expired key',
    setup: async () => {
      const { key } = await stack.operator.createKey(stack.account, { name: 'expires', expires_at: new Date(Date.now() + 3_000).toISOString() });
      await waitFor('the key to expire', async () => (await send('/v1/models', { key })).status === 401);
      return { key };
    },
    refuse: ({ key }) => chat(key), ...KEY_REFUSED, code: 'api_key_expired',
  },
  {
    name: 'account deactivated',
    setup: async () => {
      const owner = await stack.newAccount();
      await stack.operator.change('PATCH', `/admin/users/${owner.user}`, `/admin/users/${owner.user}`, { active: false });
      return owner;
    },
    refuse: ({ key }) => chat(key), status: 403, type: 'permission_error', code: 'account_disabled', headers: NEVER_RETRY,
  },
  { name: 'model unknown', refuse: () => chat(stack.key, chatBody({ model: 'nobody-has-this' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model disabled', refuse: () => chat(stack.key, chatBody({ model: 'retired' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model blocked and not to be revealed', refuse: () => chat(stack.key, chatBody({ model: 'hidden' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model blocked', refuse: () => chat(stack.key, chatBody({ model: 'blocked' })), status: 403, type: 'permission_error', code: 'model_access_denied', param: 'model' },
  {
    name: 'model needs consent', refuse: () => chat(stack.key, chatBody({ model: 'org/consent' })),
    status: 403, type: 'permission_error', code: 'model_consent_required', param: 'model', members: { consent_url: /^http.*\/profile$/ },
    check: (answer) => assert.ok(JSON.parse(answer.text).error.message.includes(JSON.parse(answer.text).error.consent_url)),
  },
  { name: 'no key may learn about models: a dead key and a blocked model', setup: async () => {
    const { id, key } = await stack.operator.createKey(stack.account, { name: 'oracle' });
    assert.equal((await send('/v1/models', { key })).status, 200);
    await stack.operator.deleteKey(stack.account, id);
    return { key };
  }, refuse: ({ key }) => chat(key, chatBody({ model: 'blocked' })), ...KEY_REFUSED },
  {
    name: 'no budget set up',
    setup: () => stack.operator.createUser({ email: 'no-budget@example.edu', name: 'No Budget', keyName: 'key' }),
    refuse: ({ key }) => chat(key), status: 403, type: 'permission_error', code: 'no_budget', headers: NEVER_RETRY,
  },
  {
    name: 'out of coins, a refill to come',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0.05' }),
    refuse: ({ key }) => chat(key), status: 402, type: 'insufficient_quota', code: 'insufficient_quota',
    headers: { ...NEVER_RETRY, 'x-lumen-balance': '0', 'x-lumen-retry-at': /^\d{4}-\d\d-\d\dT\d\d:00:00Z$/ }, members: { retry_at: /:00:00Z$/ },
    check: (answer) => {
      const wait = Date.parse(answer.headers.get('x-lumen-retry-at')) - Date.now();
      assert.ok(wait > -60_000 && wait <= 3_600_000, `the next full hour, not in ${wait} ms`);
      assert.equal(JSON.parse(answer.text).error.retry_at, answer.headers.get('x-lumen-retry-at'));
    },
  },
  {
    name: 'out of coins, no refill ever',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0' }),
    refuse: ({ key }) => chat(key), status: 402, type: 'insufficient_quota', code: 'insufficient_quota', headers: { ...NEVER_RETRY, 'x-lumen-balance': '0' },
  },
  {
    name: 'out of coins where lumen_exhausted_status is 429',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0' }),
    refuse: ({ key }) => chat(key, { model: 'demo', prompt: 'hello' }, { target: '/v1/completions' }),
    status: 429, type: 'insufficient_quota', code: 'insufficient_quota', headers: { ...NEVER_RETRY, 'x-lumen-balance': '0' },
  },
  {
    name: "key's own spending cap reached",
    setup: async () => {
      const owner = await stack.newAccount();
      const { key } = await stack.operator.createKey(owner.account, { name: 'capped', budget: { coins: '0.000000001', period: 'total' } });
      assert.equal((await chat(key)).status, 200, 'the first request finds the cap untouched');
      await settled(owner.account);
      return { ...owner, key };
    },
    refuse: ({ key }) => chat(key), status: 402, type: 'insufficient_quota', code: 'insufficient_quota', headers: NEVER_RETRY, members: { scope: 'key' },
  },
  {
    name: 'strict budget and the request can never fit',
    setup: () => stack.newAccount({ max: '0.000001', mode: 'strict' }),
    refuse: ({ key }) => chat(key, chatBody({ max_tokens: 1000 })), status: 400, type: 'invalid_request_error', code: 'request_exceeds_budget', param: 'max_tokens',
  },
  { name: 'no healthy endpoint', refuse: () => chat(stack.key, chatBody({ model: 'drained' })), status: 503, type: 'service_unavailable_error', code: 'no_healthy_endpoint', headers: { 'retry-after': '10', 'retry-after-ms': '10000' } },
  { name: 'unknown /v1/* path', refuse: () => chat(stack.key, chatBody(), { target: '/v1/threads' }), status: 404, type: 'invalid_request_error', code: 'unknown_url' },
  { name: 'wrong method', refuse: () => send(CHAT, { key: stack.key }), status: 405, type: 'invalid_request_error', code: 'method_not_allowed', headers: { allow: 'POST' } },
  { name: 'wrong method for the models', refuse: () => chat(stack.key, '{}', { target: '/v1/models' }), status: 405, type: 'invalid_request_error', code: 'method_not_allowed', headers: { allow: 'GET, HEAD' } },
  { name: 'body not JSON', refuse: () => chat(stack.key, '{"model": "demo"'), status: 400, type: 'invalid_request_error' },
  { name: 'body empty', refuse: () => chat(stack.key, ''), status: 400, type: 'invalid_request_error' },
  { name: 'body not an object', refuse: () => chat(stack.key, '["demo"]'), status: 400, type: 'invalid_request_error' },
  { name: '`model` missing', refuse: () => chat(stack.key, { messages: [] }), status: 400, type: 'invalid_request_error', param: 'model' },
  { name: '`model` not a string', refuse: () => chat(stack.key, { model: 7, messages: [] }), status: 400, type: 'invalid_request_error', code: 'invalid_value', param: 'model' },
  { name: 'a second `model`', refuse: () => chat(stack.key, '{"model": "demo", "model": "blocked"}'), status: 400, type: 'invalid_request_error', code: 'invalid_value', param: 'model' },
  { name: 'body too large', refuse: () => chat(stack.key, 'x'.repeat(MAX_BODY + 1)), status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  {
    name: 'body too large, in chunks',
    refuse: () => sendRaw(`POST ${CHAT} HTTP/1.1\r\nHost: lumen\r\nAuthorization: Bearer ${stack.key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${(MAX_BODY + 1).toString(16)}\r\n{`),
    status: 413, type: 'invalid_request_error', code: 'request_too_large',
  },
  {
    name: 'headers that nginx refuses: two Authorization lines',
    refuse: () => sendRaw(`POST ${CHAT} HTTP/1.1\r\nHost: lumen\r\nAuthorization: Bearer ${stack.key}\r\nAuthorization: Bearer ${stack.key}\r\nConnection: close\r\n\r\n`),
    status: 400, type: 'invalid_request_error',
  },
];

for (const { name, setup = () => ({}), refuse, check = () => {}, ...expected } of ROWS) {
  test(name, async () => {
    const made = { account: stack.account, key: stack.key, ...await setup() };
    const answer = await costsNothing(made.account, () => refuse(made));
    assertRefused(answer, expected);
    check(answer);
  });
}

test('unknown, revoked and mistyped keys get the same words', async () => {
  const { id, key } = await stack.operator.createKey(stack.account, { name: 'words' });
  await stack.operator.deleteKey(stack.account, id);
  const words = await Promise.all([key, ownKey(), 'another-systems-key', `${ownKey().slice(0, -1)}-`]
    .map(async (wrong) => JSON.parse((await chat(wrong)).text).error.message));
  assert.equal(new Set(words).size, 1, words.join('\n'));
});

test('balance positive but all of it held by a running request', async () => {
  const { account, key } = await stack.newAccount({ max: '0.001' });
  await stack.modelServers[0].behave('slow-3000');
  try {
    const slow = chat(key, chatBody({ max_tokens: 500 }));
    await waitFor('the hold to be there', async () => (await stack.wallet(account)).running === 1n);
    assertRefused(await chat(key), { status: 429, type: 'requests', code: 'balance_held', headers: { 'retry-after-ms': '250' } });
    assert.equal((await slow).status, 200);
  } finally {
    await stack.modelServers[0].behave('');
  }
  await settled(account);
});

// ---- limits: they are the site's, so they change for all ------------------------------------------------------------

/// Puts the limits in force; the first account whose admitted request shows them, by what is left of at most `limit`,
/// and the answer to that request.
async function underLimits(rateLimiting, header, limit, body = chatBody()) {
  stack.writeSettings({ rate_limiting: { login: '100000 per minute', ...rateLimiting } });
  return waitFor(`${header} to appear`, async () => {
    const owner = await stack.newAccount();
    const first = await chat(owner.key, body);
    assert.equal(first.status, 200, first.text);
    await settled(owner.account);
    return first.headers.has(header) && Number(first.headers.get(header)) < limit && { ...owner, first };
  });
}

test('requests-per-minute limit', async () => {
  const { account, key, first } = await underLimits({ limit: '1 per minute' }, 'x-ratelimit-remaining-requests', 1);
  assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '0');
  assertRefused(await costsNothing(account, () => chat(key)), {
    status: 429, type: 'requests', code: 'rate_limit_exceeded',
    headers: { 'retry-after': /^([1-9]|[1-5]\d|60)$/, 'retry-after-ms': /^\d+$/, 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': /^(\d+m)?\d+(\.\d{3})?m?s$/ },
  });
});

test('tokens-per-minute limit, and a request that can never fit it', async () => {
  const body = chatBody({ max_tokens: 60 });
  const { account, key } = await underLimits({ limit: '10000000 per minute', tokens: '120 per minute' }, 'x-ratelimit-remaining-tokens', 120, body);
  const refused = await waitFor('the limit to be reached', async () => {
    const answer = await chat(key, body);
    return answer.status !== 200 && answer;
  });
  assertRefused(refused, {
    status: 429, type: 'tokens', code: 'rate_limit_exceeded',
    headers: { 'retry-after': /^\d+$/, 'retry-after-ms': /^\d+$/, 'x-ratelimit-remaining-tokens': /^\d+$/, 'x-ratelimit-reset-tokens': /s$/ },
  });
  assertRefused(await costsNothing(account, () => chat(key, chatBody({ max_tokens: 5000 }))), {
    status: 400, type: 'invalid_request_error', code: 'request_too_large_for_rate_limit', headers: NEVER_RETRY,
  });
});

test('too many in flight', async () => {
  stack.writeSettings({ rate_limiting: { login: '100000 per minute', limit: '10000000 per minute', concurrency: 1 } });
  await stack.modelServers[0].behave('slow-1000');
  try {
    const refused = await waitFor('the limit to be in force', async () => {
      const { account, key } = await stack.newAccount();
      const slow = chat(key);
      await waitFor('the hold to be there', async () => (await stack.wallet(account)).running === 1n);
      const second = await chat(key);
      assert.equal((await slow).status, 200);
      await settled(account);
      return second.status !== 200 && second;
    });
    assertRefused(refused, { status: 429, type: 'requests', code: 'concurrency_limit_exceeded', headers: { 'retry-after-ms': '250' } });
  } finally {
    await stack.modelServers[0].behave('');
  }
});

// ---- fail closed: last, as it takes Redis away ----------------------------------------------------------------------

test('Redis unreachable: refused fast, and served again when it is back', async () => {
  const refused = { status: 503, type: 'server_error', code: 'billing_unavailable', headers: { 'retry-after': '1' } };
  await stack.kill('redis');
  const began = performance.now();
  assertRefused(await chat(stack.key), refused);
  assertRefused(await send('/v1/models', { key: stack.key }), refused);
  assert.ok(performance.now() - began < 1_000, 'fast');
  await stack.start('redis');
  await waitFor('the gate to serve', async () => (await chat(stack.key)).status === 200);
});
