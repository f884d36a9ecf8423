// The profile page's card, web chat row and what keeps them up to date (spec/ui.md P1–P30, F1–F5), in Chromium against a
// whole Lumen; and what is the same over REST.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from '../module/traffic.mjs';
import { Browser, OWNER } from './browser.mjs';

let stack;
let owner;
let browser;
let page;

before(async () => {
  stack = await startStack({
    name: 'profile',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000, endpoints: [{ id: 'one', url: `${server}/v1` }] },
    ],
    settings: {
      app: { avatar: 'initials', announcement: '', support: { address: 'help@ncsa.illinois.edu', subject: 'Lumen' } },
      groups: { staff: {}, 'illinois-computes': {} },
      users: { [OWNER]: { groups: ['staff', 'illinois-computes'] } },
      notices: { webhook: { url: 'http://127.0.0.1:9/in', secret: 'a secret of the webhook, long enough' } },
    },
  });
  owner = await stack.operator.createUser({ email: OWNER, name: 'Ada Lovelace', limits: { max: '50', refresh: '0.1', starting: '12.45', mode: 'soft' }, keyName: 'first' });
  // As if it had its refills of today already: none comes at the full hour in the middle of a test.
  await stack.redis('HINCRBY', `{b${String(BigInt(owner.account) % 256n).padStart(3, '0')}}:a:${owner.account}`, 'lrh', '24');
  browser = await Browser.launch(stack);
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});
afterEach(() => browser.noComplaints());

const limits = (body) => stack.operator.change('PUT', `/admin/accounts/${owner.account}/limits`, `/admin/accounts/${owner.account}`, body);
const grant = (coins) => stack.rest('POST', `/admin/accounts/${owner.account}/grants`, { coins, reason: 'a test' });
const chat = (over = {}, key = owner.key) => stack.post('/v1/chat/completions', chatBody(over), { key });
const open = async (options) => { page = await browser.open('/profile', options); };
const textOf = (name) => browser.tile(name).innerText();
/// Moves the balance to exactly this many coins.
async function setBalance(coins) {
  const { balance } = await stack.atRest(owner.account);
  const difference = BigInt(Math.round(coins * 1e6)) * 1000n - balance;
  if (difference === 0n) return;
  const text = `${difference < 0n ? '-' : ''}${String(difference < 0n ? -difference : difference).padStart(10, '0').replace(/(\d{9})$/, '.$1')}`;
  await grant(text);
}

test('P1 P7 P10 P14 P15 P23 B13 the card shows who it is and six tiles', async () => {
  await setBalance(12.45);
  await open();
  // Before it looks again by itself.
  await waitFor('it to listen', () => browser.requests.some((url) => /me\/events/.test(url)));
  assert.equal(new Set(browser.requests).size, browser.requests.length, 'nothing is asked for twice');
  assert.ok(browser.requests.length <= 8, `${browser.requests.length} requests`);
  assert.match(await page.title(), /^Profile/);
  assert.equal(await page.locator('h1').count(), 1);
  assert.match(await page.locator('.person').innerText(), /Ada Lovelace\s+ada@example\.edu/);
  assert.deepEqual((await page.locator('.card dt').allInnerTexts()).map((text) => text.split('\n')[0]).sort(),
    ['Coins Available', 'Coins Used', 'Favorite Model', 'Groups', 'Refill Rate', 'Tokens Used']);
  assert.match(await textOf('Coins Available'), /^12\.45 \/ 50\.00/);
  assert.match(await textOf('Refill Rate'), /\+0\.10 \/ hour\s+next in (\d+ min )?\d+ s/);
  assert.deepEqual(await browser.tile('Groups').locator('.badge').allInnerTexts(), ['illinois-computes', 'staff']);
  const meter = page.getByRole('meter', { name: 'Coins available' });
  assert.equal(await meter.getAttribute('aria-valuetext'), '12.45 of 50 coins');
  assert.equal(await meter.getAttribute('aria-valuenow'), '12.45');
  assert.equal(await meter.getAttribute('aria-valuemax'), '50');
  assert.match(await page.locator('header').innerText(), /12\.45\s+coins/);
});

test('P2 signed out, the page leads to the sign-in and back; the data is refused with 401', async () => {
  const answer = await fetch(`${stack.url}/profile`, { redirect: 'manual' });
  assert.equal(answer.status, 302);
  assert.match(answer.headers.get('location'), /next=(%2F|\/)profile$/);
  const data = await fetch(`${stack.url}/api/v1/me/profile`, { redirect: 'manual' });
  assert.equal(data.status, 401);
  assert.equal((await data.json()).code, 'unauthenticated');
  page = await browser.open('/profile?keys=-coins', { signedIn: false, ready: '.sign-in' });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${stack.url}/profile*`);
  await page.getByRole('heading', { name: 'Model Access' }).waitFor();
});

test('P8 P9 the picture comes from this site, initials where the site or the person wants no Gravatar', async () => {
  const { body: me } = await browser.rest('GET', '/me');
  assert.match(me.avatar_url, /^\/api\/v1\/me\/avatar\?/);
  const answer = await browser.rest('GET', '/me/avatar');
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^image\/svg\+xml/);
  assert.match(answer.headers.get('content-security-policy'), /sandbox/);
  assert.match(answer.body, />AL<\/text>/);
  const changed = await browser.rest('PATCH', '/me', { avatar: 'initials' });
  assert.equal(changed.body.avatar, 'initials');
  assert.equal((await browser.rest('PATCH', '/me', { avatar: 'webcam' })).status, 422);
});

test('P11 P12 P13 P25 P28 counters: chat and keys add up to the account, the favorite is the most used', async () => {
  await setBalance(12.45);
  for (let i = 0; i < 3; i++) assert.equal((await chat()).status, 200);
  const { account } = owner;
  const [profile, events] = await waitFor('the book to have them', async () => {
    const [row] = await stack.sql('select count(*) n, coalesce(sum(cost), 0) cost, coalesce(sum(tokens_in + tokens_out), 0) tokens from ledger_events where account_id = :account and kind = 1', { account });
    const { body } = await browser.rest('GET', '/me/profile');
    return Number(row.n) >= 3 && body.me.favorite_model && [body, row];
  });
  const spent = (list) => list.reduce((sum, row) => sum + BigInt(row.coins.nano), 0n);
  const keys = profile.keys.data;
  assert.equal(BigInt(profile.me.coins_used.nano), spent(keys) + BigInt(profile.me.chat.coins.nano));
  assert.equal(BigInt(profile.me.coins_used.nano), spent(profile.models.data));
  assert.equal(profile.me.coins_used.nano, events.cost);
  assert.equal(String(profile.me.tokens_used.total), events.tokens);
  assert.equal(profile.me.tokens_used.total, keys.reduce((sum, key) => sum + key.tokens, 0));
  assert.equal(profile.models.data.reduce((sum, model) => sum + model.requests, 0), keys.reduce((sum, key) => sum + key.requests, 0));
  await open();
  assert.equal(await textOf('Favorite Model'), 'demo');
  assert.equal(await browser.tile('Favorite Model').locator('a').getAttribute('href'), '/models/demo');
  assert.match(await textOf('Tokens Used'), /^[\d,]+$/);
});

test('P18 P24 low says so in a word, and the exact value shows on focus', async () => {
  await setBalance(9.999999);
  await open();
  assert.match(await textOf('Coins Available'), /^9\.99 \/ 50\.00\s*low/);
  const amount = browser.tile('Coins Available').locator('data').first();
  await amount.focus();
  assert.match(await amount.evaluate((element) => getComputedStyle(element, '::after').content), /9\.999999 coins/);
  assert.equal(await amount.getAttribute('title'), '9.999999 coins');
});

test('P17 a grant may pass the limit: the number is true, the bar full', async () => {
  await setBalance(80);
  await open();
  assert.match(await textOf('Coins Available'), /^80\.00 \/ 50\.00/);
  assert.equal(await page.getByRole('meter').getAttribute('aria-valuenow'), '50');
});

test('P19 Unlimited is a word: no number, bar or forecast', async () => {
  await limits({ max: '-2' });
  await open();
  assert.equal((await textOf('Coins Available')).trim(), 'Unlimited');
  assert.equal(await page.getByRole('meter').count(), 0);
  assert.equal((await textOf('Refill Rate')).trim(), '—');
  assert.equal((await chat()).status, 200);
  await limits({ max: '50', refresh: '0.1', starting: '12.45' });
});

test('P20 no budget is a dash with a name, and refuses with no_budget', async () => {
  await stack.operator.change('DELETE', `/admin/accounts/${owner.account}/limits`, `/admin/accounts/${owner.account}`);
  await open();
  await browser.tile('Coins Available').getByRole('img', { name: 'No budget has been set up for your account' }).waitFor();
  assert.equal(await page.getByRole('meter').count(), 0);
  const refused = await chat();
  assert.equal(refused.status, 403);
  assert.equal((await refused.json()).error.code, 'no_budget');
  await limits({ max: '50', refresh: '0.1', starting: '12.45' });
});

test('P21 P22 exhausted: a minus sign, an empty bar, when the next request is possible; a grant ends it at once', async () => {
  await setBalance(-0.25);
  await open();
  const text = await textOf('Coins Available');
  assert.match(text, /^−0\.25 \/ 50\.00/);
  assert.match(text, /Budget exhausted\. Next request possible in 2 h( \d+ min)?\.|Budget exhausted\. Next request possible in 3 h\./);
  assert.equal(await page.getByRole('meter').getAttribute('aria-valuenow'), '0');
  const asked = async () => (await stack.modelServers[0].report()).requests['/v1/chat/completions'];
  const before = await asked();
  const refused = await chat();
  assert.equal(refused.status, 402);
  const { error } = await refused.json();
  assert.equal(error.code, 'insufficient_quota');
  assert.ok(error.retry_at ?? refused.headers.get('x-lumen-retry-at'), 'it says when');
  assert.equal(await asked(), before, 'no model server was asked');
  await grant('5');
  assert.equal((await chat()).status, 200);

  await limits({ max: '50', refresh: '0', starting: '12.45' });
  await setBalance(0);
  await open();
  assert.match(await textOf('Coins Available'), /^0\.00 \/ 50\.00\s+Budget exhausted\. Ask an admin/);
  await limits({ max: '0' });
  await open();
  assert.match(await textOf('Coins Available'), /Budget exhausted\. Ask an admin/);
  assert.equal(await page.getByRole('meter').count(), 0, 'no bar without a limit above zero');
  await limits({ max: '50', refresh: '0.1', starting: '12.45' });
  await setBalance(12.45);
});

/// `work` is done while a request holds coins.
const whileRunning = (work, over = {}) => stack.whileRunning(owner.account, () => chat(over), work);

test('F1 F2 what running requests hold is shown, and is gone when they are', async () => {
  await setBalance(12.45);
  await whileRunning(async () => {
    await open();
    assert.match(await textOf('Coins Available'), /\d free · [\d.<]+ held by (1 running request|running requests)\b/);
  });
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await waitFor('the page to say so', async () => !/held/.test(await textOf('Coins Available')));
});

test('F3 all held: the balance stands, and the page says who holds it', async () => {
  await setBalance(0.01);
  await whileRunning(async () => {
    await open();
    await waitFor('the page to say so', async () => /^0\.01 .*all held by (1 running request|running requests)\b/s.test(await textOf('Coins Available')));
  }, { max_tokens: 300 });
  await setBalance(12.45);
});

test('F4 F5 the forecast is on the page, and why? shows the sum', async () => {
  await setBalance(12.45);
  // Enough use, begun long enough ago: the quarter of an hour is moved to where the forecast looks.
  for (let i = 0; i < 3; i++) assert.equal((await chat()).status, 200);
  await waitFor('the book to have five requests', async () => {
    const [row] = await stack.sql('select coalesce(sum(requests), 0) n from usage_quarter where account_id = :account', { account: owner.account });
    return Number(row.n) >= 5;
  });
  await stack.sql("update usage_quarter set slot = slot - interval '2 hours' where account_id = :account", { account: owner.account });
  const { body } = await browser.rest('GET', '/usage/forecast');
  assert.equal(body.window_hours, 24);
  assert.ok(BigInt(body.window_coins.nano) > 0n);
  assert.equal(BigInt(body.burn_per_hour.nano), BigInt(body.window_coins.nano) / 24n);
  assert.ok(['refill_covers', 'runs_out', 'beyond'].includes(body.state));
  await open();
  const outlook = browser.tile('Coins Available').locator('.outlook');
  assert.match(await outlook.innerText(), /Refill covers your use|At this pace lasts/);
  await outlook.getByText('why?').click();
  assert.match(await outlook.innerText(), /In the last 24 hours you used [\d.<]+ coins: ÷ 24 h = [\d.<]+ an hour/);
});

test('P16 the countdown ticks by the server\'s clock, whatever this computer\'s says, and shows the next target at zero', async () => {
  await setBalance(12.45);
  page = await browser.open(undefined);
  const wrong = Date.now() - 3_600_000;
  await page.clock.install({ time: wrong });
  await page.clock.pauseAt(wrong + 1_000);  // from here on it goes as this test lets it
  await page.route('**/api/v1/me/events', (route) => route.abort());  // this is about the clock, not about pushes
  let due;
  await page.route('**/api/v1/me/profile', async (route) => {
    // The server's own answer, with the hour's end moved to a few seconds from now: nobody waits an hour for a test.
    const answer = await route.fetch();
    const body = await answer.json();
    if (due === undefined) {
      due = new Date(Date.parse(body.me.now) + 4_000).toISOString();
      body.me.budget.next_refill_at = due;
    }
    await route.fulfill({ response: answer, json: body });
  });
  await browser.go('/profile');
  const refill = browser.tile('Refill Rate');
  assert.match(await refill.innerText(), /next in 4 s/);
  await grant('1');
  const seconds = async () => {
    const [, minutes = 0, rest] = /next in (?:(\d+) min )?(\d+) s/.exec(await refill.innerText());
    return 60 * Number(minutes) + Number(rest);
  };
  for (let tick = 0; tick < 2; tick++) await page.clock.runFor(1000);
  assert.ok((await seconds()) < 4, 'it ticks');
  for (let tick = 0; tick < 6; tick++) await page.clock.runFor(1000);
  await waitFor('the next target', async () => { await page.clock.runFor(1000); return (await seconds()) > 4; });
  await waitFor('the new balance', async () => { await page.clock.runFor(1000); return /13\.4/.test(await textOf('Coins Available')); });
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  browser.complaints = browser.complaints.filter((text) => !/ERR_FAILED/.test(text));
  await setBalance(12.45);
});

test('E3 the balance follows without a reload, and a lost connection says so', async () => {
  await setBalance(12.45);
  await open();
  await grant('2');
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await waitFor('the new balance', async () => /^14\.45/.test(await textOf('Coins Available')));
  await page.context().setOffline(true);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await page.getByText(/updated .*, reconnecting/).waitFor();
  assert.match(await textOf('Coins Available'), /^14\.45/, 'what was known stays');
  await page.context().setOffline(false);
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await page.locator('.live', { hasText: /live|up to date/ }).waitFor();
  browser.complaints = browser.complaints.filter((text) => !/ERR_INTERNET_DISCONNECTED/.test(text));
  await setBalance(12.45);
});

test('E1 E2 E3 a settled request is pushed to every tab, over one stream', async () => {
  await open();
  await page.locator('.live', { hasText: 'live' }).waitFor();
  const second = await page.context().newPage();
  const streams = [];
  second.on('request', (request) => { if (/me\/events/.test(request.url())) streams.push(request.url()); });
  await second.goto(`${stack.url}/profile`);
  await second.getByRole('heading', { name: 'Model Access' }).waitFor();
  const used = (tab) => tab.locator('.tile', { has: tab.locator('dt', { hasText: /^Coins Used/ }) }).locator('dd').innerText();
  const before = await used(page);
  const asked = browser.requests.filter((url) => /me\/profile/.test(url)).length;
  assert.equal((await chat()).status, 200);
  await waitFor('both tabs to show it', async () => (await used(page)) !== before && (await used(second)) === (await used(page)));
  assert.ok(browser.requests.filter((url) => /me\/profile/.test(url)).length <= asked + 1, 'pushed, not asked for');
  assert.deepEqual(streams, [], 'the second tab hears of it from the first');
  await second.close();
});

test('P26 P30 web chat is one row of five, with zeros and a dash before the first message', async () => {
  await open();
  const row = page.getByRole('region', { name: 'Web Chat' });
  assert.deepEqual(await row.locator('dt').allInnerTexts(), ['Conversations', 'Requests', 'Tokens', 'Coins', 'Last Used']);
  assert.deepEqual(await row.locator('dd').allInnerTexts(), ['0', '0', '0', '0.00', '—']);
});

test('notices are asked for on the page, by the ways that the site has', async () => {
  await open();
  const section = page.getByRole('region', { name: 'Notices' });
  assert.match(await section.innerText(), /at most 20 % of the limit/);
  const box = section.getByRole('checkbox');
  assert.equal(await box.count(), 1, 'this site sends no mail');
  assert.equal(await box.isChecked(), false);
  await section.getByLabel('through the webhook of this site').check();
  await section.getByText('Notices are on').waitFor({ state: 'attached' });
  assert.equal((await browser.rest('GET', '/me')).body.notices.webhook, true);
  await browser.go('/profile');
  assert.equal(await box.isChecked(), true);
  await box.uncheck();
  await waitFor('it to be off', async () => (await browser.rest('GET', '/me')).body.notices.webhook === false);
});

test('F4 F5 P25 L24 the forecast and the profile are nobody else\'s', async () => {
  for (const path of ['/me', '/me/profile', '/me/avatar', '/usage/forecast']) {
    assert.equal((await fetch(`${stack.url}/api/v1${path}`)).status, 401, path);
    assert.equal((await fetch(`${stack.url}/api/v1${path}`, { headers: { authorization: `Bearer ${owner.key}` } })).status, 401, `${path} with a key`);
  }
});
