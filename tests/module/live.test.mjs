// GET /api/v1/me/events, the pages' live view, answered by the module (spec/ui.md E1, E2, E4; what it costs, E5, is
// measured by `./lumen bench live`).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { formatCoins, parseCoins } from '../harness/coins.mjs';
import { LivePage, sessionKey, signIn } from './live_page.mjs';
import { chatBody } from './traffic.mjs';

const MAX_VIEWERS = 30;

let stack;
const slow = {};  // pages of the tests that need a quarter of a minute: opened first, looked at last

const model = (name, url) => ({
  name, access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000, endpoints: [{ id: `${name}-1`, url }],
});

before(async () => {
  stack = await startStack({
    name: 'live',
    workers: 2,
    nginx: (file, text) => text.replace(/viewers=\d+/, `viewers=${MAX_VIEWERS}`),
    models: ([server]) => [model('demo', `${server}/v1`), model('slow', `${server}/misbehave/pace-200+tokens-400/v1`)],
  });
  const person = await stack.newAccount({ max: '5' });
  const forgotten = await signIn(stack, person);
  for (const [name, cookie] of Object.entries({ quiet: await signIn(stack, person), forgotten })) {
    slow[name] = await LivePage.open(stack.url, { cookie });
    assert.equal(slow[name].status, 200);
  }
  await waitFor('a page to be open before its session is over', async () => {
    slow.expiring = await LivePage.open(stack.url, { cookie: await signIn(stack, { ...person, lifeMs: 2_000 }) });
    return slow.expiring.status === 200;
  });
  await stack.redis('DEL', sessionKey(forgotten));
});
after(async () => {
  for (const page of Object.values(slow)) page.close();
  await stack?.stop();
});

/// What a page shows of use is told as events are drained: also of the event that filled the wallet.
const isUsed = (wallet) => wallet.used !== null && wallet.used.nano !== '0';

async function newPage(limits = {}) {
  const person = await stack.newAccount({ max: '5', ...limits });
  await waitFor('the wallet to be booked', async () => {
    const [row] = await stack.sql(`select seq from account_balances where account_id = ${person.account}`);
    return BigInt(row?.seq ?? 0) === (await stack.wallet(person.account)).seq;
  });
  const cookie = await signIn(stack, person);
  const page = await LivePage.open(stack.url, { cookie });
  assert.equal(page.status, 200, page.body);
  const { data: first } = await page.next('balance');
  return { person, cookie, page, first };
}

const chat = (person, over = {}) => stack.post('/v1/chat/completions', chatBody(over), { key: person.key });
const coins = (text) => ({ coins: formatCoinsShort(text), nano: String(parseCoins(text)) });
const formatCoinsShort = (text) => text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

const REFUSED = [
  ['E1 without a cookie', () => ({}), 401, 'unauthenticated'],
  ['E1 with a cookie of another form', () => ({ cookie: 'not-a-session' }), 401, 'unauthenticated'],
  ['E1 with a session that does not exist', () => ({ cookie: 'a'.repeat(64) }), 401, 'unauthenticated'],
  ['E1 with an API key instead', () => ({ headers: { authorization: `Bearer ${stack.key}` } }), 401, 'unauthenticated'],
  ['E1 with a session that has expired', async () => ({ cookie: await signIn(stack, { ...stack, user: 1, lifeMs: -1 }) }), 401, 'unauthenticated'],
  ['REST other methods', async () => ({ method: 'POST' }), 405, 'method_not_allowed'],
];
for (const [name, options, status, code] of REFUSED) {
  test(`${name}: ${status} ${code} as problem+json`, async () => {
    const page = await LivePage.open(stack.url, await options());
    assert.equal(page.status, status);
    assert.equal(page.headers['content-type'], 'application/problem+json');
    assert.equal(page.headers['cache-control'], 'no-store');
    const problem = JSON.parse(page.body);
    assert.deepEqual([problem.status, problem.code, problem.request_id], [status, code, page.headers['x-request-id']]);
    if (status === 405) assert.equal(page.headers.allow, 'GET');
  });
}

test('E1 a stream begins with the wallet as it stands, and says so to proxies', async () => {
  const { page, first } = await newPage({ max: '12.45', refresh: '0.1' });
  assert.equal(page.headers['content-type'], 'text/event-stream');
  assert.equal(page.headers['x-accel-buffering'], 'no');
  assert.equal(page.headers['cache-control'], 'no-store');
  const { now, next_refill_at: refillAt, ...rest } = first;
  assert.deepEqual(rest, {
    state: 'limited', balance: coins('12.45'), held: coins('0'), free: coins('12.45'), limit: coins('12.45'), rate: coins('0.1'),
    used: null, tokens: null,
  });
  assert.ok(Math.abs(Date.parse(now) - Date.now()) < 60_000, now);
  const hourMs = 3_600_000;
  assert.equal(Date.parse(refillAt), (Math.floor(Date.parse(now) / hourMs) + 1) * hourMs);
  page.close();
});

test('P19 P20 what means nothing in a state is null', async () => {
  const { person, page } = await newPage({ max: '5' });
  const account = `/admin/accounts/${person.account}`;
  await stack.operator.change('PUT', `${account}/limits`, account, { max: '-2', refresh: '0', starting: '0' });
  const { data } = await page.next('balance', (wallet) => wallet.state === 'unlimited');
  assert.deepEqual([data.balance, data.held, data.free, data.limit, data.rate, data.next_refill_at], [null, null, null, null, null, null]);
  page.close();
});

test('E2 a settled request shows: balance, coins used, tokens, and the key it was made with', async () => {
  const { person, page } = await newPage();
  const response = await chat(person);
  const { usage } = await response.json();
  const cost = parseCoins(response.headers.get('x-lumen-cost'));
  const { data } = await page.next('balance', isUsed);
  assert.equal(data.used.nano, String(cost));
  assert.equal(data.balance.nano, String(parseCoins('5') - cost));
  assert.deepEqual(data.tokens, { input: usage.prompt_tokens, output: usage.completion_tokens, total: usage.total_tokens });
  const { data: key } = await page.next('key', ({ requests }) => requests > 0);
  const { last_used_at: lastUsedAt, ...counters } = key;
  assert.deepEqual(counters, {
    id: String(person.keyId), requests: 1, tokens: usage.total_tokens,
    coins: { coins: formatCoinsShort(formatCoins(cost)), nano: String(cost) },
  });
  assert.ok(Date.parse(lastUsedAt) > Date.now() - 60_000, lastUsedAt);
  page.close();
});

test('E1 P65 what else changes is told: a key that is made, a model that is new', async () => {
  const { person, page } = await newPage();
  const { id } = await stack.operator.createKey(person.account, { name: 'second' });
  const { data } = await page.next('key', (key) => key.id === String(id));
  assert.deepEqual(Object.keys(data), ['id'], 'an id alone: load the keys again');
  stack.writeSettings({ models: [...stack.models(stack.modelServers.map((server) => server.url)), model('late', `${stack.modelServers[0].url}/v1`)] });
  assert.deepEqual((await page.next('model')).data, {});
  page.close();
});

test('E1 F1 coins held by a running request show while it runs, and none when it has ended', async () => {
  const { person, page } = await newPage();
  const response = await chat(person, { model: 'slow', stream: true });
  const { data } = await page.next('balance', (wallet) => wallet.held.nano !== '0');
  assert.equal(BigInt(data.free.nano), BigInt(data.balance.nano) - BigInt(data.held.nano));
  await response.body.cancel();
  await page.next('balance', (wallet) => isUsed(wallet) && wallet.held.nano === '0');
  page.close();
});

test('E2 a burst is drawn together: at most four events a second, and the last one is the last state', async () => {
  const { person, page } = await newPage();
  const before = page.events.length;
  // What admind would say, faster than it ever does.
  for (let i = 1; i <= 60; i++) {
    await stack.redis('PUBLISH', `lumen:live:${person.account}`, JSON.stringify({ totals: { used: String(i), in: i, out: 0 } }));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await page.next('balance', (wallet) => wallet.used?.nano === '60');
  const events = page.events.slice(before);
  // In any window of two seconds, by the gate's clock.
  const times = events.map(({ data }) => Date.parse(data.now));
  for (const at of times) {
    const within = times.filter((other) => other >= at && other < at + 2_000).length;
    assert.ok(within <= 10, `${within} events within two seconds`);
  }
  page.close();
});

test('E2 a browser that comes back with the last id gets no balance again if nothing changed, and a new one if it did', async () => {
  const { person, cookie, page } = await newPage();
  const { id } = page.events[0];
  page.close();
  const same = await LivePage.open(stack.url, { cookie, headers: { 'last-event-id': id } });
  await waitFor('its first line', () => same.comments > 0);
  assert.equal(same.events.length, 0);
  same.close();
  await chat(person);
  await waitFor('the settle', async () => (await stack.wallet(person.account)).seq === 2n);
  const changed = await LivePage.open(stack.url, { cookie, headers: { 'last-event-id': id } });
  const { data } = await changed.next('balance');
  assert.equal(data.balance.nano, String((await stack.wallet(person.account)).balance));
  changed.close();
});

test('E4 nobody hears of others: an event of one account goes to its own pages only', async () => {
  const [one, other] = [await newPage(), await newPage()];
  const second = await LivePage.open(stack.url, { cookie: await signIn(stack, one.person) });
  await second.next('balance');
  await chat(one.person);
  for (const page of [one.page, second]) await page.next('balance', isUsed);
  for (const { event, data } of other.page.events) assert.ok(event === 'balance' && !isUsed(data), event);
  for (const page of [one.page, second, other.page]) {
    assert.doesNotMatch(JSON.stringify(page.events), /sk_|example\.edu/);
    page.close();
  }
});

test('E4 signing out ends the stream of that session, and no other', async () => {
  const { person, page } = await newPage({ email: 'ada@example.edu' });  // the stack's dev_user
  const origin = { origin: stack.url };
  const login = await fetch(`${stack.url}/api/v1/devlogin`, { method: 'POST', headers: origin, redirect: 'manual' });
  const cookie = /lumen_session=([0-9a-f]{64})/.exec(login.headers.get('set-cookie'))[1];
  const leaving = await LivePage.open(stack.url, { cookie });
  await leaving.next('balance');
  await fetch(`${stack.url}/api/v1/logout`, { method: 'POST', headers: { ...origin, cookie: `lumen_session=${cookie}` }, redirect: 'manual' });
  await leaving.untilEnded();
  assert.ok(leaving.ended, 'ended properly');
  assert.equal((await LivePage.open(stack.url, { cookie })).status, 401);
  await chat(person);
  await page.next('balance', isUsed);
  page.close();
});

test('E4 deactivation ends all streams of the account; its sessions are over for good', async () => {
  const { person, cookie, page } = await newPage();
  const resource = `/admin/users/${person.user}`;
  const setActive = (active) => stack.operator.change('PATCH', resource, resource, { active });
  await setActive(false);
  await page.untilEnded();
  assert.ok(page.ended);
  assert.equal((await LivePage.open(stack.url, { cookie })).status, 401);
  await setActive(true);
  assert.equal((await LivePage.open(stack.url, { cookie })).status, 401, 'the old session is still over');
  const again = await LivePage.open(stack.url, { cookie: await signIn(stack, person) });
  assert.equal(again.status, 200);
  again.close();
});

test('the number of open streams is bounded: 503 too_many_viewers, and there is room again when one leaves', async () => {
  const person = await stack.newAccount();
  const cookie = await signIn(stack, person);
  const pages = [];
  let refused;
  while (!refused) {
    assert.ok(pages.length <= 2 * MAX_VIEWERS, 'two workers hold no more');
    const page = await LivePage.open(stack.url, { cookie });
    if (page.status === 200) pages.push(page);
    else refused = page;
  }
  assert.equal(refused.status, 503);
  assert.equal(JSON.parse(refused.body).code, 'too_many_viewers');
  assert.ok(Number(refused.headers['retry-after']) > 0);
  for (const page of pages) page.close();
  await waitFor('room again', async () => {
    const page = await LivePage.open(stack.url, { cookie });
    page.close();
    return page.status === 200;
  });
});

test('E2 a stream without events hears a comment every 15 s', async () => {
  await waitFor('a comment', () => slow.quiet.comments > 0, 40);
});

test('E4 a session that is gone, or over, ends its stream within a quarter of a minute without any message', async () => {
  for (const name of ['forgotten', 'expiring']) {
    await waitFor(`the stream of the ${name} session to end`, () => slow[name].ended, 40);
  }
  assert.ok(!slow.quiet.ended && !slow.quiet.broken, 'the session that lives goes on');
});

test('streams live through a restart of Redis; after the gap totals are null until they are known again', async () => {
  const { person, page } = await newPage();
  await chat(person);
  await page.next('balance', isUsed);
  const before = page.events.length;
  await stack.kill('redis');
  await stack.start('redis');
  await page.next('balance', (wallet) => wallet.used === null, before);
  await waitFor('the gate to serve', async () => (await chat(person)).status === 200);
  await page.next('balance', isUsed, before);
  assert.ok(!page.ended && !page.broken);
  page.close();
});

test('a reload ends the streams properly, and the new workers take them', async () => {
  const { cookie, page } = await newPage();
  await stack.reload();
  await page.untilEnded();
  assert.ok(page.ended);
  const again = await LivePage.open(stack.url, { cookie });
  await again.next('balance');
  again.close();
});
