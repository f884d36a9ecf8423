// What a key's owner decides about it holds at the gate, from the request after the answer on: models, addresses, rates,
// concurrency, a cap of its own, expiry, pause; and the API-marked rows P31–P54 that need a gate.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { BrowserSession } from './browser_session.mjs';
import { chatBody } from './traffic.mjs';

let stack;
let person;
let account;
let key;   // {id, secret, …} of the test

before(async () => {
  const price = { access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000 };
  stack = await startStack({
    name: 'key_limits',
    // Behind a proxy that nginx trusts: callers are who it says they are.
    nginx: (file, text) => (file === 'nginx.conf' ? text.replace('server_tokens off;', 'server_tokens off;\n    set_real_ip_from 127.0.0.1;\n    real_ip_header X-Real-Client;') : text),
    models: ([server]) => [
      { name: 'demo', ...price, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { name: 'org/other', ...price, endpoints: [{ id: 'other-1', url: `${server}/v1` }] },
      { name: 'stopping', ...price, endpoints: [{ id: 'stopping-1', url: `${server}/misbehave/held-2+tokens-30/v1` }] },
    ],
  });
  person = await BrowserSession.ofDevUser(stack);
  const { data: [owner] } = await stack.rest('GET', '/admin/users?q=ada@example.edu');
  ({ account } = owner);
  await stack.operator.change('PUT', `/admin/accounts/${account}/limits`, `/admin/accounts/${account}`, { max: '100', starting: '100' });
});
after(() => stack?.stop());
beforeEach(async () => { key = await newKey(); });

async function newKey(terms = {}) {
  const draft = await person.call('POST', '/me/keys/draft');
  const saved = await person.call('POST', '/me/keys', { draft_id: draft.body.draft_id, name: 'mine', ...terms });
  assert.equal(saved.status, 201, saved.text);
  return { ...saved.body, secret: draft.body.key };
}

async function change(terms) {
  const answer = await person.call('PATCH', `/me/keys/${key.id}`, terms);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

/// "200", or status and code of the refusal.
async function ask(over = {}, headers = {}) {
  const answer = await stack.post('/v1/chat/completions', chatBody(over), { key: key.secret, headers });
  const text = await answer.text();
  return answer.status === 200 ? '200' : `${answer.status} ${JSON.parse(text).error.code}`;
}

test('P31 P34 P38 a draft cannot authenticate; saved, it does at once and on the first try', async () => {
  const draft = await person.call('POST', '/me/keys/draft');
  assert.equal(draft.headers.get('cache-control'), 'no-store');
  assert.equal((await stack.fetch('/v1/models', { key: draft.body.key })).status, 401);
  await person.call('POST', '/me/keys', { draft_id: draft.body.draft_id, name: 'second' });
  assert.equal((await stack.fetch('/v1/models', { key: draft.body.key })).status, 200);
});

test('P32 each key has its own counters, and its requests are its owner\'s', async () => {
  const other = await newKey();
  assert.equal(await ask(), '200');
  await waitFor('the row to count', async () => {
    const { body } = await person.call('GET', '/me/keys?limit=200');
    const [mine, others] = [key, other].map(({ id }) => body.data.find((row) => row.id === id));
    return mine.requests === 1 && mine.tokens > 0 && others.requests === 0;
  });
});

test('a list of models narrows what the account may use, and null widens it again', async () => {
  await change({ models: ['org/other'] });
  assert.equal(await ask(), '403 model_access_denied');
  assert.equal(await ask({ model: 'org/other' }), '200');
  const listing = await (await stack.fetch('/v1/models', { key: key.secret })).json();
  assert.deepEqual(listing.data.map(({ id }) => id), ['org/other']);
  await change({ models: null });
  assert.equal(await ask(), '200');
});

test('a key answers only to callers from its ranges', async () => {
  await change({ allowed_ips: ['192.0.2.0/24'] });
  assert.equal(await ask(), '403 ip_not_allowed');
  assert.equal((await (await stack.fetch('/v1/models', { key: key.secret })).json()).error.code, 'ip_not_allowed');
  assert.equal(await ask({ model: 'no-such-model' }), '403 ip_not_allowed', 'from elsewhere, names are not told');
  await change({ allowed_ips: ['192.0.2.0/24', '127.0.0.0/8'] });
  assert.equal(await ask(), '200');
  await change({ allowed_ips: null });
  assert.equal(await ask(), '200');
});

test('behind a trusted proxy the ranges are about its callers, IPv4 and IPv6', async () => {
  await change({ allowed_ips: ['192.0.2.0/24', '2001:db8:7::/48', '198.51.100.9'] });
  const from = (address) => ask({}, { 'x-real-client': address });
  for (const inside of ['192.0.2.0', '192.0.2.255', '2001:db8:7::1', '2001:db8:7:ffff:ffff:ffff:ffff:ffff', '::ffff:192.0.2.7', '198.51.100.9'])
    assert.equal(await from(inside), '200', inside);
  for (const outside of ['192.0.3.0', '2001:db8:8::1', '::ffff:192.0.3.7', '::192.0.2.7', '198.51.100.8', 'no address'])
    assert.equal(await from(outside), '403 ip_not_allowed', outside);
  await change({ allowed_ips: null });
});

test('a paused key answers as an unknown one, and works again at once when resumed', async () => {
  assert.equal(await ask(), '200');
  await change({ paused: true });
  assert.equal(await ask(), '401 invalid_api_key');
  await change({ paused: false });
  assert.equal(await ask(), '200');
});

test('a key\'s own rates hold: requests, tokens, running requests', async () => {
  await change({ rpm: 1 });
  assert.equal(await ask(), '200');
  assert.equal(await ask(), '429 rate_limit_exceeded');
  await change({ rpm: null, tpm: 10 });
  assert.equal(await ask({ max_tokens: 1000 }), '400 request_too_large_for_rate_limit');
  await change({ tpm: null, concurrency: 1 });
  const running = await stack.post('/v1/chat/completions', chatBody({ model: 'stopping', stream: true }), { key: key.secret });
  assert.equal(await ask(), '429 concurrency_limit_exceeded');
  await stack.modelServers[0].behave('');
  await running.text();
  await waitFor('the stream to be settled', async () => (await stack.wallet(account)).running === 0n);
  assert.equal(await ask(), '200');
});

test('a key\'s own rate outlives a change of the site\'s, and the stricter of both holds', async () => {
  await change({ rpm: 5 });
  const effective = async () => (await stack.sql(`select request_rates from api_keys where id = ${key.id}`))[0].request_rates;
  stack.writeSettings({ rate_limiting: { limit: '3 per minute' } });
  await waitFor('the site\'s rate to hold', async () => (await effective()) === '3/60');
  stack.writeSettings({});
  await waitFor('the key\'s own rate to hold again', async () => (await effective()) === '5/60');
});

test('a cap of its own stops a key while the wallet has coins; another period counts anew', async () => {
  await change({ budget: { coins: '0.000000001', period: 'day' } });
  assert.equal(await ask(), '200', 'the first one still fits');
  await waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);
  const refused = await stack.post('/v1/chat/completions', chatBody(), { key: key.secret });
  assert.equal(refused.status, 402);
  assert.equal((await refused.json()).error.scope, 'key');
  await change({ budget: { coins: '0.000000001', period: 'week' } });
  assert.equal(await ask(), '200');
  await waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);
  await change({ budget: { coins: '5', period: 'week' } });
  assert.equal(await ask(), '200', 'a larger cap of the same period has room');
});

test('L10: a term that is misspelt is an error and changes nothing; what is answered is what holds', async () => {
  const refused = await person.call('PATCH', `/me/keys/${key.id}`, { rpm: 1, budgets: { coins: '0', period: 'day' } });
  assert.equal(refused.status, 422);
  assert.deepEqual(refused.body.errors.map(({ path, code }) => [path, code]), [['budgets', 'unknown_field']]);
  assert.equal(await ask(), '200');
  assert.equal(await ask(), '200', 'nor is the half that could be read');
  const terms = { rpm: 7, budget: { coins: '1.5', period: 'week' }, models: ['demo'], allowed_ips: ['127.0.0.0/8'] };
  const stored = await change(terms);
  const { body } = await person.call('GET', '/me/keys?limit=200');
  for (const told of [stored, body.data.find(({ id }) => id === key.id)])
    assert.deepEqual(Object.fromEntries(Object.keys(terms).map((name) => [name, told[name]])), terms);
});

test('a key expires by itself, and its owner may prolong it', async () => {
  // On a machine that stalls a second and a half may be over before admind reads of it.
  await waitFor('an expiry that is still to come', async () => {
    const answer = await person.call('PATCH', `/me/keys/${key.id}`, { expires_at: new Date(Date.now() + 1500).toISOString() });
    return answer.status === 200;
  });
  await waitFor('the key to expire', async () => (await ask()) === '401 api_key_expired');
  await change({ expires_at: null });
  assert.equal(await ask(), '200');
});

test('P51 P52 P53 a deleted key fails on the next request; what runs finishes and is billed to it; its history stays', async () => {
  const running = await stack.post('/v1/chat/completions', chatBody({ model: 'stopping', stream: true }), { key: key.secret });
  assert.equal((await person.call('DELETE', `/me/keys/${key.id}`)).status, 204);
  assert.equal(await ask(), '401 invalid_api_key');
  await stack.modelServers[0].behave('');
  const text = await running.text();
  assert.match(text, /data: \[DONE\]\s*$/);
  const [row] = await stack.ledger(running.headers.get('x-request-id'));
  assert.equal(row.key_id, key.id);
  assert.ok(BigInt(row.cost) > 0n);
  await waitFor('the deleted key to show its use', async () => {
    const { body } = await person.call('GET', '/me/keys?deleted=true&limit=200');
    const shown = body.data.find(({ id }) => id === key.id);
    return shown.deleted_at !== null && shown.requests === 1 && shown.coins.nano === row.cost;
  });
  assert.equal((await person.call('DELETE', `/me/keys/${key.id}`)).status, 204, 'again is no error');
});

test('P40 the secret is in one answer only: no log, list, page or event has it', async () => {
  await ask();
  const seen = [
    ...['/me', '/me/profile', '/me/keys?deleted=true&limit=200'].map(async (path) => (await person.call('GET', path)).text),
    ...['admind', 'nginx-access', 'nginx-error'].map((name) => stack.log(name)),
    stack.sql('select * from ledger_events').then((rows) => JSON.stringify(rows)),
    stack.redis('GET', 'lumen:catalogue'),
  ];
  for (const text of await Promise.all(seen)) assert.ok(!text.includes(key.secret));
});
