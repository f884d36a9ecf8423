// The error table (spec/api.md §2), row by row: exactly that status, type, code, param and headers, in OpenAI's words and
// in Anthropic's, over HTTP/1.1 and HTTP/2. What is refused at admission costs nothing: no coin moves, no model server is
// asked.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { freePort, quickestOf, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';
import { chatBody } from './traffic.mjs';
import { Wires, WIRES } from './wires.mjs';

// What an endpoint does, and what the client is told of it.
const UPSTREAM_FAILED = { status: 502, type: 'server_error', code: 'upstream_error' };
const OVERLOADED = { status: 503, type: 'service_unavailable_error', code: 'server_is_overloaded', headers: { 'retry-after': '2' } };
const UPSTREAM = [
  { row: 'all endpoints answer 429', words: '429-retry-7', ...OVERLOADED },
  { row: 'all endpoints answer 503', words: '503', ...OVERLOADED },
  ...[400, 404, 413, 422].map((status) => ({ row: `upstream ${status}`, words: `${status}`, status, type: 'server_error' })),
  { row: 'upstream 422 in vLLM\'s old form, flat and with an integer code', words: 'integer-code+422', status: 422, type: 'invalid_request_error' },
  ...[401, 403].map((status) => ({ row: `upstream ${status}`, words: `${status}`, status: 502, type: 'server_error', code: 'upstream_auth_failed' })),
  { row: 'upstream 402, which is about our account there', words: '402', ...UPSTREAM_FAILED },
  { row: 'upstream 500', words: '500', ...UPSTREAM_FAILED },
  { row: 'upstream resets', words: 'refuse', ...UPSTREAM_FAILED },
  { row: 'upstream answers with an HTML page', words: 'garbage', ...UPSTREAM_FAILED },
  { row: 'upstream timed out before the first byte', words: 'hang', hasty: true, status: 504, type: 'server_error', code: 'upstream_timeout' },
].map((each) => ({ ...each, model: `up-${each.words.replaceAll('+', '-')}` }));

const MAX_BODY = 16 * 1024 * 1024;
const RING_SLOTS = 96;  // of the smallest ring

let stack;
let wires;
let [patientUrls, hastyUrls] = [];  // by protocol
before(async () => {
  const http2Port = await freePort();
  const [patientPorts, hastyPorts] = [[await freePort(), await freePort()], [await freePort(), await freePort()]];
  stack = await startStack({
    name: 'refusals',
    workers: 1,  // a slot that one has set aside is none for another
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { name: 'org/consent', access: 'allowed', needs_ack: true, endpoints: [{ id: 'consent-1', url: `${server}/v1` }] },
      { name: 'blocked', access: 'blocked', endpoints: [{ id: 'blocked-1', url: `${server}/v1` }] },
      { name: 'hidden', access: 'blocked', hide_when_blocked: true, endpoints: [{ id: 'hidden-1', url: `${server}/v1` }] },
      { name: 'retired', access: 'allowed', disabled: true, endpoints: [{ id: 'retired-1', url: `${server}/v1` }] },
      ...UPSTREAM.map(({ model, words }) => ({ name: model, access: 'allowed', endpoints: [{ id: `${model}-1`, url: `${server}/misbehave/${words}/v1` }] })),
      { name: 'free', access: 'allowed', endpoints: [{ id: 'free-1', url: `${server}/v1` }] },
      { name: 'long', access: 'allowed', input_cost_per_million: '0.15', output_cost_per_million: '0.6', endpoints: [{ id: 'long-1', url: `${server}/misbehave/tokens-4000/v1` }] },
      { name: 'lasting', access: 'allowed', endpoints: [{ id: 'lasting-1', url: `${server}/misbehave/pace-500+tokens-200/v1` }] },
      { name: 'cut', access: 'allowed', endpoints: [{ id: 'cut-1', url: `${server}/misbehave/cut-3+tokens-40/v1` }] },
      { name: 'drained', access: 'allowed', endpoints: [{ id: 'drained-1', url: `${server}/v1`, state: 'draining' }] },
    ],
    // HTTP/2 on a port of its own; the smallest ring; a server whose empty wallets answer 429; and one that waits for an answer
    // no longer than a test does.
    nginx: (file, text) => {
      if (file === 'lumen_proxy.conf') return text.replace('proxy_read_timeout 600s;', '');  // for a server to say
      if (file === 'lumen.conf') return text.replace('lumen_drain_aborted 5s;', 'lumen_drain_aborted 300ms;');
      if (file !== 'nginx.conf') return text;
      const server = (ports, location, more = '') =>
        `server { listen 127.0.0.1:${ports[0]}; listen 127.0.0.1:${ports[1]} http2; ${more} location /v1/ { lumen on; ${location} include lumen_proxy.conf; proxy_pass https://lumen_models; } }\n`;
      const servers = server(patientPorts, 'lumen_exhausted_status 429;') + server(hastyPorts, '', 'proxy_read_timeout 1s;');
      return text.replace(/listen 127\.0\.0\.1:\d+;/, `$&\n        listen 127.0.0.1:${http2Port} http2;`).replace('gate.ring:64m', `gate.ring:${16 + RING_SLOTS / 2}k`).replace(/\}\s*$/, `${servers}}\n`);
    },
  });
  wires = new Wires(stack, http2Port);
  [patientUrls, hastyUrls] = [patientPorts, hastyPorts].map((ports) => Object.fromEntries(ports.map((port, i) => [i + 1, `http://127.0.0.1:${port}`])));
});
after(() => stack?.stop());

// ---- requests ------------------------------------------------------------------------------------------------------

const path = () => wires.path;
const send = (...args) => wires.send(...args);
const chat = (...args) => wires.chat(...args);

/// For what no client library would send.
function sendRaw(text) {
  const { hostname, port } = new URL(stack.url);
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, hostname, () => socket.write(text));
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(parseAnswer(Buffer.concat(chunks).toString())));
  });
}

/// Likewise, over the wire's protocol.
async function sendWithCurl(...args) {
  const overHttp2 = wires.wire.protocol === 2;
  const url = (overHttp2 ? `http://127.0.0.1:${wires.http2Port}` : stack.url) + path();
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-i', '--max-time', '20', overHttp2 ? '--http2-prior-knowledge' : '--http1.1', ...args, url]);
  return parseAnswer(stdout);
}

function parseAnswer(answer) {
  const [head, text] = answer.split('\r\n\r\n', 2);
  const [statusLine, ...lines] = head.split('\r\n');
  return { status: Number(statusLine.split(' ')[1]), headers: new Headers(lines.map((line) => line.split(/: ?(.*)/s).slice(0, 2))), text };
}

const settled = (account) => stack.atRest(account);

/// The refusal costs nothing: the wallet is as before, nothing is held, and no model server was asked.
async function costsNothing(account, refuse) {
  const asked = async () => {
    const calls = Object.entries((await stack.modelServers[0].report()).requests).filter(([path]) => !/\/(health|models)$/.test(path));
    return calls.reduce((sum, [, count]) => sum + count, 0);
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
// Of a site whose only rate is ten million requests a minute: one of them takes 6 µs.
const RATES = { 'x-ratelimit-limit-requests': '10000000', 'x-ratelimit-remaining-requests': /^(9999\d{3}|10000000)$/, 'x-ratelimit-reset-requests': /^\d+ms$/, 'x-ratelimit-limit-tokens': null };
const NEVER_RETRY = { 'x-should-retry': 'false' };

// ---- the rows ------------------------------------------------------------------------------------------------------

// name: the row's; as: whose wallet must not move (the stack's, unless set up by the row).
const ROWS = [
  { name: 'no Authorization', refuse: () => send(path(), { method: 'POST', body: '{}' }), ...KEY_REFUSED },
  { name: 'malformed Authorization: another scheme', refuse: () => chat(undefined, chatBody(), { headers: { authorization: 'Basic c2s6c2s=' } }), ...KEY_REFUSED },
  { name: 'malformed Authorization: no key', refuse: () => chat(undefined, chatBody(), { headers: { authorization: 'Bearer' } }), ...KEY_REFUSED },
  { name: 'malformed Authorization: longer than any key', refuse: () => chat('k'.repeat(129)), ...KEY_REFUSED },
  { name: 'unknown key: a checksum that does not verify', refuse: () => chat(`${stack.key.slice(0, -1)}${stack.key.endsWith('x') ? 'y' : 'x'}`), ...KEY_REFUSED },
  { name: 'unknown key of our form', refuse: () => chat(ownKey()), ...KEY_REFUSED },
  { name: 'unknown key of another form', refuse: () => chat('some-other-systems-key'), ...KEY_REFUSED },
  { name: 'unknown key in the other header', refuse: () => chat(undefined, chatBody(), { headers: wires.wire.dialect === 'OpenAI' ? { 'x-api-key': ownKey() } : { authorization: `Bearer ${ownKey()}` } }), ...KEY_REFUSED },
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
  {
    name: "caller's address not in the key's scope", refuse: ({ key }) => chat(key), status: 403, type: 'permission_error', code: 'ip_not_allowed',
    setup: () => stack.operator.createKey(stack.account, { name: 'elsewhere', allowed_ips: ['192.0.2.0/24', '2001:db8::/32'] }),
  },
  { name: 'model unknown', refuse: () => chat(stack.key, chatBody({ model: 'nobody-has-this' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model disabled', refuse: () => chat(stack.key, chatBody({ model: 'retired' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model blocked and not to be revealed', refuse: () => chat(stack.key, chatBody({ model: 'hidden' })), status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' },
  { name: 'model blocked', refuse: () => chat(stack.key, chatBody({ model: 'blocked' })), status: 403, type: 'permission_error', code: 'model_access_denied', param: 'model' },
  {
    name: 'model needs consent', refuse: () => chat(stack.key, chatBody({ model: 'org/consent' })),
    status: 403, type: 'permission_error', code: 'model_consent_required', param: 'model', members: { consent_url: /^http.*\/profile$/ },
    check: (answer) => assert.ok(JSON.parse(answer.text).error.message.includes(`${stack.url}/profile`)),
  },
  { name: 'no key may learn about models: a dead key and a blocked model', setup: async () => {
    const { id, key } = await stack.operator.createKey(stack.account, { name: 'oracle' });
    assert.equal((await send('/v1/models', { key })).status, 200);
    await stack.operator.deleteKey(stack.account, id);
    return { key };
  }, refuse: ({ key }) => chat(key, chatBody({ model: 'blocked' })), ...KEY_REFUSED },
  {
    name: 'no budget set up', refuse: ({ key }) => chat(key), status: 403, type: 'permission_error', code: 'no_budget', headers: NEVER_RETRY,
    setup: () => stack.operator.createUser({ email: 'no-budget@example.edu', name: 'No Budget', keyName: 'key' }),
  },
  {
    name: 'out of coins, a refill to come',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0.05' }),
    refuse: ({ key }) => chat(key), status: 402, type: 'insufficient_quota', code: 'insufficient_quota',
    headers: { ...NEVER_RETRY, 'x-lumen-balance': '0', 'x-lumen-retry-at': /^\d{4}-\d\d-\d\dT\d\d:00:00Z$/ }, members: { retry_at: /:00:00Z$/ },
    check: (answer) => {
      const wait = Date.parse(answer.headers.get('x-lumen-retry-at')) - Date.now();
      assert.ok(wait > -60_000 && wait <= 3_600_000, `the next full hour, not in ${wait} ms`);
      if (wires.wire.dialect === 'OpenAI') assert.equal(JSON.parse(answer.text).error.retry_at, answer.headers.get('x-lumen-retry-at'));
    },
  },
  {
    name: 'L28: out of coins, no refill ever',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0' }),
    refuse: ({ key }) => chat(key), status: 402, type: 'insufficient_quota', code: 'insufficient_quota', headers: { ...NEVER_RETRY, 'x-lumen-balance': '0' },
  },
  {
    name: 'L26: an empty wallet, whatever the model costs',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0' }),
    refuse: ({ key }) => chat(key, chatBody({ model: 'free' })), status: 402, type: 'insufficient_quota', code: 'insufficient_quota', headers: { ...NEVER_RETRY, 'x-lumen-balance': '0' },
    check: (answer) => assert.match(JSON.parse(answer.text).error.message, /no coins left/),
  },
  {
    name: 'out of coins where lumen_exhausted_status is 429',
    setup: () => stack.newAccount({ max: '5', starting: '0', refresh: '0' }),
    refuse: ({ key }) => chat(key, chatBody(), { url: patientUrls[wires.wire.protocol] }),
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
    name: 'strict budget and the request can never fit', setup: () => stack.newAccount({ max: '0.000001', mode: 'strict' }),
    refuse: ({ key }) => chat(key, chatBody({ max_tokens: 1000 })), status: 400, type: 'invalid_request_error', code: 'request_exceeds_budget', param: 'max_tokens',
  },
  { name: 'no healthy endpoint', refuse: () => chat(stack.key, chatBody({ model: 'drained' })), status: 503, type: 'service_unavailable_error', code: 'no_healthy_endpoint', headers: { 'retry-after': '10', 'retry-after-ms': '10000' } },
  { name: 'unknown /v1/* path', refuse: () => chat(stack.key, chatBody(), { target: wires.wire.dialect === 'OpenAI' ? '/v1/threads' : '/v1/messages/batches' }), status: 404, type: 'invalid_request_error', code: 'unknown_url' },
  { name: 'wrong method', refuse: () => send(path(), { key: stack.key }), status: 405, type: 'invalid_request_error', code: 'method_not_allowed', headers: { allow: 'POST' } },
  { name: 'wrong method for the models', dialects: ['OpenAI'], refuse: () => chat(stack.key, '{}', { target: '/v1/models' }), status: 405, type: 'invalid_request_error', code: 'method_not_allowed', headers: { allow: 'GET, HEAD' } },
  { name: 'body not JSON', refuse: () => chat(stack.key, '{"model": "demo"'), status: 400, type: 'invalid_request_error' },
  { name: 'body empty', refuse: () => chat(stack.key, ''), status: 400, type: 'invalid_request_error' },
  { name: 'body not an object', refuse: () => chat(stack.key, '["demo"]'), status: 400, type: 'invalid_request_error' },
  { name: '`model` missing', refuse: () => chat(stack.key, { messages: [] }), status: 400, type: 'invalid_request_error', param: 'model' },
  { name: '`model` not a string', refuse: () => chat(stack.key, { model: 7, messages: [] }), status: 400, type: 'invalid_request_error', code: 'invalid_value', param: 'model' },
  { name: 'a second `model`', refuse: () => chat(stack.key, '{"model": "demo", "model": "blocked"}'), status: 400, type: 'invalid_request_error', code: 'invalid_value', param: 'model' },
  { name: 'body too large', refuse: () => chat(stack.key, 'x'.repeat(MAX_BODY + 1)), status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  {
    name: 'body too large, in chunks', protocols: [1],
    refuse: () => sendRaw(`POST ${path()} HTTP/1.1\r\nHost: lumen\r\nAuthorization: Bearer ${stack.key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${(MAX_BODY + 1).toString(16)}\r\n{`),
    status: 413, type: 'invalid_request_error', code: 'request_too_large',
  },
  {
    name: 'headers that nginx refuses: two Authorization lines',
    refuse: () => sendWithCurl('-X', 'POST', ...[1, 2].flatMap(() => ['-H', `Authorization: Bearer ${stack.key}`])),
    status: 400, type: 'invalid_request_error',
  },
];

for (const { name, setup = () => ({}), refuse, check = () => {}, dialects, protocols, ...expected } of ROWS) {
  let made;  // once for all wires
  for (const each of WIRES.filter(({ dialect, protocol }) => (dialects ?? [dialect]).includes(dialect) && (protocols ?? [protocol]).includes(protocol))) {
    test(`${name} (${each.name})`, async () => {
      wires.wire = each;
      made ??= { account: stack.account, key: stack.key, ...await setup() };
      const answer = await costsNothing(made.account, () => refuse(made));
      wires.assertRefused(answer, expected);
      check(answer);
    });
  }
}

// ---- what the endpoints did -----------------------------------------------------------------------------------------

// Side by side, as some of it is waiting: each asks by itself.
describe('what the endpoints did', { concurrency: WIRES.length }, () => {
  for (const { row, model, hasty, ...expected } of UPSTREAM) {
    for (const each of WIRES) {
      test(`${row} (${each.name})`, async () => {
        const own = new Wires(stack, wires.http2Port);
        own.wire = each;
        const { account, key } = await stack.newAccount();
        own.assertRefused(await own.chat(key, chatBody({ model }), hasty ? { url: hastyUrls[each.protocol] } : {}), { ...expected, headers: { 'x-lumen-balance': '5', ...expected.headers } });
        await settled(account);
        assert.equal((await stack.wallet(account)).balance, 5_000_000_000n, 'an answer that is none costs nothing');
      });
    }
  }
});

for (const each of WIRES) {
  test(`L29: upstream cut after the first byte (${each.name})`, async () => {
    wires.wire = each;
    const answer = await chat(stack.key, chatBody({ model: 'cut', stream: true }));
    assert.equal(answer.status, 200);
    wires.assertTellsNothing(answer);
    const last = answer.text.trimEnd().split('\n\n').at(-1);
    const { error } = JSON.parse(/^data: (.*)$/m.exec(last)[1]);
    assert.ok(!/\[DONE\]|message_stop/.test(answer.text), 'never like a success');
    if (each.dialect === 'Anthropic') {
      assert.match(last, /^event: error\n/);
      assert.equal(error.type, 'api_error');
    } else {
      assert.deepEqual([error.type, error.code, error.param], ['server_error', 'upstream_stream_interrupted', null]);
    }
  });
}

for (const each of WIRES) {
  test(`stream stopped because the coins ran out (strict) (${each.name})`, async () => {
    wires.wire = each;
    const { account, key } = await stack.newAccount({ max: '0.0014', mode: 'strict' });  // of 0.0024 that it would cost
    const answer = await chat(key, chatBody({ model: 'long', stream: true, max_tokens: 4000 }));
    assert.equal(answer.status, 200, answer.text);
    const last = answer.text.trimEnd().split('\n\n').at(-1);
    const { error } = JSON.parse(/^data: (.*)$/m.exec(last)[1]);
    assert.ok(!/\[DONE\]|message_stop/.test(answer.text), 'never like a success');
    if (each.dialect === 'Anthropic') assert.match(last, /^event: error\n/);
    assert.deepEqual([error.type, error.code], each.dialect === 'Anthropic' ? ['billing_error', undefined] : ['insufficient_quota', 'insufficient_quota']);
    await settled(account);
    assert.ok((await stack.wallet(account)).balance >= 0n);
  });
}

const openAI = () => { wires.wire = WIRES[0]; };

test('unknown, revoked and mistyped keys get the same words', async () => {
  openAI();
  const { id, key } = await stack.operator.createKey(stack.account, { name: 'words' });
  await stack.operator.deleteKey(stack.account, id);
  const words = await Promise.all([key, ownKey(), 'another-systems-key', `${ownKey().slice(0, -1)}-`]
    .map(async (wrong) => JSON.parse((await chat(wrong)).text).error.message));
  assert.equal(new Set(words).size, 1, words.join('\n'));
});

test('L26: only an unlimited wallet passes without coins', async () => {
  openAI();
  const { key } = await stack.newAccount({ max: '-2', starting: '0' });
  assert.equal((await chat(key, chatBody({ model: 'free' }))).status, 200);
});

test('balance positive but all of it held by a running request', async () => {
  openAI();
  const { account, key } = await stack.newAccount({ max: '0.001' });
  await stack.whileRunning(account, () => chat(key, chatBody({ max_tokens: 500 })), () =>
    wires.assertRefusedOnAll(() => chat(key), { status: 429, type: 'requests', code: 'balance_held', headers: { 'retry-after-ms': '250', ...RATES } }));
});

test('malformed amount', async () => {
  openAI();
  stack.allowAlerts = /an amount is out of range/;
  const { account, key } = await stack.newAccount();
  const hash = `{b${String(BigInt(account) % 256n).padStart(3, '0')}}:a:${account}`;
  await stack.redis('HINCRBY', hash, 'bal', '4000000000000000');  // more than anybody can own
  await wires.assertRefusedOnAll(() => costsNothing(account, () => chat(key)), { status: 500, type: 'server_error', code: 'internal_error' });
  await stack.redis('HINCRBY', hash, 'bal', '-4000000000000000');
  assert.match(stack.log('nginx-error'), /\[alert\].*lumen: admit of \S+: an amount is out of range/);
});

test('strict and beyond all measure, beside a running request: never, and no fault of ours', async () => {
  openAI();
  const { account, key } = await stack.newAccount({ mode: 'strict' });
  await stack.whileRunning(account, () => chat(key, chatBody({ max_tokens: 10 })), async () =>
    wires.assertRefused(await chat(key, chatBody({ max_tokens: 2 ** 31 - 1, n: 128 })), { status: 400, type: 'invalid_request_error', code: 'request_exceeds_budget', param: 'max_tokens' }));
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
  await wires.assertRefusedOnAll(() => costsNothing(account, () => chat(key)), {
    status: 429, type: 'requests', code: 'rate_limit_exceeded',
    headers: { 'retry-after': /^([1-9]|[1-5]\d|60)$/, 'retry-after-ms': /^\d+$/, 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': /^(\d+m)?\d+(\.\d{3})?m?s$/ },
  });
});

test('tokens-per-minute limit, and a request that can never fit it', async () => {
  const { account, key } = await underLimits({ limit: '10000000 per minute', tokens: '400 per minute' }, 'x-ratelimit-remaining-tokens', 400, chatBody({ max_tokens: 10 }));
  await stack.whileRunning(account, () => chat(key, chatBody({ max_tokens: 200 })), () => wires.assertRefusedOnAll(() => chat(key, chatBody({ max_tokens: 300 })), {
    status: 429, type: 'tokens', code: 'rate_limit_exceeded',
    headers: { 'retry-after': /^\d+$/, 'retry-after-ms': /^\d+$/, 'x-ratelimit-remaining-tokens': /^\d+$/, 'x-ratelimit-reset-tokens': /s$/ },
  }));
  await wires.assertRefusedOnAll(() => costsNothing(account, () => chat(key, chatBody({ max_tokens: 5000 }))), {
    status: 400, type: 'invalid_request_error', code: 'request_too_large_for_rate_limit', headers: NEVER_RETRY,
  });
});

test('too many in flight', async () => {
  stack.writeSettings({ rate_limiting: { login: '100000 per minute', limit: '10000000 per minute', concurrency: 1 } });
  const refused = await waitFor('the limit to be in force', async () => {
    const { account, key } = await stack.newAccount();
    const others = WIRES.map((wire) => ({ wire }));
    await stack.whileRunning(account, () => chat(key), async (running) => {
      for (const other of others) {
        wires.wire = other.wire;
        other.asked = chat(key).then((answer) => { other.answer = answer; });
      }
      openAI();
      // Before the limit is in force they hold coins too.
      await stack.allDecided(account, [running, ...others.map(({ asked }) => asked)]);
    });
    await Promise.all(others.map(({ asked }) => asked));
    return others.every(({ answer }) => answer.status !== 200) && others;
  });
  for (const { wire, answer } of refused) {
    wires.wire = wire;
    wires.assertRefused(answer, { status: 429, type: 'requests', code: 'concurrency_limit_exceeded', headers: { 'retry-after-ms': '250', ...RATES } });
  }
  openAI();
});

// ---- fail closed: last, as it takes away what all need --------------------------------------------------------------

const refused = { status: 503, type: 'server_error', code: 'billing_unavailable', headers: { 'retry-after': '1' } };
const served = () => waitFor('the gate to serve', async () => (await chat(stack.key)).status === 200);

test('ring full', async () => {
  stack.writeSettings({});
  openAI();
  const { account, key } = await waitFor('no limit to hold any more', async () => {
    const owner = await stack.newAccount({ max: '-2', starting: '0' });
    const both = await Promise.all([chat(owner.key), chat(owner.key)]);
    return both.every(({ status }) => status === 200) && owner;
  });
  const left = new AbortController();
  const stream = () => stack.post(path(), chatBody({ model: 'lasting', stream: true }), { key, signal: left.signal });
  const running = [];  // kept: an answer that nobody reads is given up with the last reference to it
  await waitFor('all slots to be taken, those that were kept for a replay too', async () => {
    const asked = await Promise.all(Array.from({ length: RING_SLOTS - running.length }, stream));
    running.push(...asked.filter(({ status }) => status === 200));
    return running.length === RING_SLOTS;
  });
  await wires.assertRefusedOnAll(() => chat(key), refused);
  assert.equal((await stack.wallet(account)).running, BigInt(running.length));
  left.abort();
  await settled(account);
  await served();
});

test('bucket not ready, and then no catalogue yet', async () => {
  openAI();
  await stack.server('admind').stop();  // or both would be back before anybody looked
  try {
    const meta = `{b${String(BigInt(stack.account) % 256n).padStart(3, '0')}}:meta`;
    const ready = await stack.redis('HGET', meta, 'ready');
    await stack.redis('HDEL', meta, 'ready');
    await wires.assertRefusedOnAll(() => chat(stack.key), refused);
    await stack.redis('HSET', meta, 'ready', ready);
    await served();

    const catalogue = await stack.redis('GET', 'lumen:catalogue');
    await stack.redis('DEL', 'lumen:catalogue');
    await stack.reload();  // workers that never saw one
    await wires.assertRefusedOnAll(() => chat(stack.key), refused);
    wires.assertRefused(await send('/v1/models', { key: stack.key }), refused);
    await stack.redis('SET', 'lumen:catalogue', catalogue);
    await stack.redis('PUBLISH', 'lumen:catalogue', String(JSON.parse(catalogue).version));
    await served();
  } finally {
    await stack.start('admind');
  }
});

test('Redis unreachable: refused fast, and served again when it is back', async () => {
  await stack.kill('redis');
  const quickest = await quickestOf(10, 1_000, async () => {
    wires.assertRefused(await chat(stack.key), refused);
    wires.assertRefused(await send('/v1/models', { key: stack.key }), refused);
  });
  assert.ok(quickest < 1_000, `fast, not in ${quickest} ms`);
  await wires.assertRefusedOnAll(() => chat(stack.key), refused);
  await stack.start('redis');
  await served();
});
