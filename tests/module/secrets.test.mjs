// Secrets are where they belong and nowhere else: not in a log, an answer, an event, an error, nor plain in a store.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { sql } from '../harness/sql.mjs';
import { startStack } from '../harness/stack.mjs';
import { LivePage } from './live_page.mjs';

const UPSTREAM = 'upstream-credential-7f3a';
const METRICS = 'metrics-token-91bc';
const MONITORING = 'monitoring-token-55de';
const CLIENT_SECRET = 'oauth-client-secret-02aa';

let stack;
let draftKey;
let ownKey;
let cookie;
const answers = [];

before(async () => {
  stack = await startStack({
    name: 'secrets',
    settings: {
      api: { prometheus: { enabled: true, token: METRICS }, monitoring: { token: MONITORING } },
      oauth2: { client_id: 'lumen', client_secret: CLIENT_SECRET },
      app: { logs: { level: 'debug', access: true } },
    },
    models: ([server]) => [
      { name: 'good', access: 'allowed', input_cost_per_million: 1, endpoints: [{ id: 'one', url: `${server}/v1`, api_key: UPSTREAM }] },
      { name: 'bad', access: 'allowed', input_cost_per_million: 1, endpoints: [{ id: 'two', url: `${server}/misbehave/503/v1`, api_key: UPSTREAM }] },
    ],
  });
});
after(() => stack?.stop());

async function get(target, headers = {}, options = {}) {
  const response = await fetch(`${stack.url}${target}`, { headers, redirect: 'manual', ...options });
  const text = await response.text();
  answers.push(`${target} ${response.status} ${[...response.headers].map(([name, value]) => (name === 'set-cookie' ? '' : `${name}: ${value}`)).join('; ')}\n${text}`);
  return { response, text };
}

test('a day of use, its mistakes included', async () => {
  const operator = { authorization: `Bearer ${stack.operator.token}` };
  const signedIn = await get('/api/v1/devlogin', { 'sec-fetch-site': 'same-origin' }, { method: 'POST' });
  cookie = signedIn.response.headers.get('set-cookie').split(';')[0];
  const browser = { cookie, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' };
  const draft = await fetch(`${stack.url}/api/v1/me/keys/draft`, { method: 'POST', headers: browser });
  draftKey = (await draft.json()).key;  // the one answer that may have it
  const me = (await stack.rest('GET', '/admin/users?q=ada@')).data[0];
  await stack.operator.change('PUT', `/admin/accounts/${me.account}/limits`, `/admin/accounts/${me.account}`, { max: '5' });
  ownKey = (await stack.operator.createKey(me.account, { name: 'own' })).key;
  const page = await LivePage.open(stack.url, { cookie: cookie.split('=')[1] });
  await page.next('balance');
  for (const target of ['/api/v1/me/profile', '/api/v1/me/keys', '/api/v1/me/models', '/profile'])
    await get(target, browser);
  for (const target of ['/admin/users', '/admin/models', '/admin/config', '/admin/config/status', '/admin/ledger', '/admin/audit', '/admin/operator-tokens',
    `/admin/accounts/${stack.account}`, `/admin/accounts/${stack.account}/keys?deleted=true`, `/admin/accounts/${stack.account}/keys?format=csv`, '/openapi.json'])
    await get(target === '/openapi.json' ? '/api/openapi.json' : `/api/v1${target}`, operator);
  for (const model of ['good', 'bad', 'none']) {
    const reply = await stack.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hello' }] });
    answers.push(`${model} ${reply.status} ${await reply.text()}`);
  }
  const seen = page.events.length;
  await stack.post('/v1/chat/completions', { model: 'good', messages: [{ role: 'user', content: 'hello' }] }, { key: ownKey });
  await page.next('balance', () => true, seen);
  answers.push(`events ${JSON.stringify(page.events)}`);
  page.close();
  await get('/v1/models', { authorization: `Bearer ${MONITORING}` });
  await get('/v1/models', { 'x-api-key': `${stack.key}x` });
  await get('/api/v1/me', { authorization: `Bearer ${stack.key}` });
  await get('/api/v1/admin/users', { authorization: `Bearer ${stack.operator.token}x` });
  await get('/api/v1/admin/users?cursor=%00', operator);
  await get('/api/v1/admin/accounts/1/grants', { ...operator, 'content-type': 'application/json' }, { method: 'POST', body: `{"coins":"${stack.key}"` });
});

const secrets = () => ({
  'the installation secret': stack.instance.installationSecret,
  'the session secret': stack.instance.sessionSecret,
  'a key': stack.key,
  'a drafted key': draftKey,
  'a key of the person who looks': ownKey,
  'an operator token': stack.operator.token,
  'a session cookie': cookie.split('=')[1],
  'an upstream credential': UPSTREAM,
  'the metrics token': METRICS,
  'the monitoring token': MONITORING,
  'the OAuth client secret': CLIENT_SECRET,
});

function assertNone(where, text, except = []) {
  for (const [name, secret] of Object.entries(secrets())) {
    assert.ok(secret.length > 8, `${name} is known to this test`);
    if (!except.includes(name)) assert.ok(!text.includes(secret), `${name} is in ${where}`);
  }
}

test('no log has one', () => {
  const logs = path.join(stack.instance.stateDir, 'log');
  const files = readdirSync(logs);
  assert.ok(files.includes('admind.log') && files.includes('nginx-error.log'));
  for (const file of files) assertNone(file, readFileSync(path.join(logs, file), 'latin1'));
});

test('no page, answer or error has one', () => {
  assert.ok(answers.length > 20);
  for (const answer of answers) assertNone(answer.slice(0, 60), answer);
});

test('no event or other value in Redis has one', async () => {
  const read = { string: ['GET'], hash: ['HGETALL'], set: ['SMEMBERS'], list: ['LRANGE', '0', '-1'], stream: ['XRANGE', '-', '+'], zset: ['ZRANGE', '0', '-1'] };
  let cursor = '0';
  let seen = 0;
  do {
    const [next, keys] = await stack.redis('SCAN', cursor, 'COUNT', '1000');
    cursor = next;
    for (const key of keys) {
      const type = await stack.redis('TYPE', key);
      if (type === 'none') continue;  // it expired
      const [command, ...rest] = read[type];
      assertNone(`Redis ${key}`, `${key} ${JSON.stringify(await stack.redis(command, key, ...rest))}`);
      seen += 1;
    }
  } while (cursor !== '0');
  assert.ok(seen > 100);
});

test('no table has one', async () => {
  const tables = await sql(stack.instance.postgres.url, "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')");
  assert.ok(tables.length > 15);
  for (const { relname } of tables) {
    const rows = await sql(stack.instance.postgres.url, `select coalesce(string_agg(t::text, E'\\n'), '') as content from ${relname} t`);
    assertNone(`table ${relname}`, rows[0].content ?? '');
  }
});
