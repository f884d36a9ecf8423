// The bars of spec/ui.md §4 over all pages and their states: axe, the Tab key, the narrowest screens, bytes and requests,
// speed with many rows, hostile text; in Chromium against a whole Lumen.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { Browser, OWNER } from './browser.mjs';

const HOSTILE = ['"><img src=x onerror=globalThis.fired=1>', "');globalThis.fired=1//", '</script><script>globalThis.fired=1</script>', 'javascript:globalThis.fired=1', '\u202Eoverride', 'W'.repeat(64)];
const HOSTILE_MODEL = "'><img/src=x/onerror=globalThis.fired=1>";  // as hostile as a model's name may be
const MODELS = 300;
const KEYS = 100;
const KIB = 1024;
const LONG_TASK_MS = 50;
const QUICK_MS = 50;
const USABLE_MS = 1000;
const LATENCY_MS = 150;
const LINE_BYTES_PER_MS = 200;  // 1.6 Mbit/s

let stack;
let owner;
let browser;
let page;

before(async () => {
  stack = await startStack({
    name: 'bars',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', description: HOSTILE[0], input_cost_per_million: 1, output_cost_per_million: 1, context_window: 131072, max_output_tokens: 8192,
        url: 'https://huggingface.co/org/demo', input_modalities: ['text', 'image'], endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: HOSTILE_MODEL, access: 'allowed', needs_ack: true, ack_message: `${HOSTILE.join('\n\n')}\n\n[x](javascript:globalThis.fired=1) <img src=x onerror=globalThis.fired=1>`,
        endpoints: [{ id: 'two', url: `${server}/v1` }] },
      { name: 'closed', access: 'blocked', endpoints: [{ id: 'three', url: `${server}/v1` }] },
    ],
    settings: {
      app: { name: 'Lumen', announcement: `An announcement ${HOSTILE.join(' ')} <a href="javascript:globalThis.fired=1">x</a>`, avatar: 'initials', support: { address: 'help@ncsa.illinois.edu', subject: 'Lumen' } },
      groups: { staff: {}, '"><img src=x onerror=globalThis.fired=1>': {} },
      users: { [OWNER]: { groups: ['staff', '"><img src=x onerror=globalThis.fired=1>'] } },
      notices: { webhook: { url: 'http://127.0.0.1:9/in', secret: 'a secret of the webhook, long enough' }, mail: { host: '127.0.0.1', port: 9, security: 'none', from: 'lumen@example.edu' } },
      health: { interval: 3600, timeout: 2 },
    },
  });
  owner = await stack.operator.createUser({ email: OWNER, name: `Ada ${HOSTILE[0]} ${HOSTILE[4]}`, limits: { max: '4000000', refresh: '0.1', starting: '1234567.890123456', mode: 'soft' }, keyName: HOSTILE[0].slice(0, 64) });
  for (const name of HOSTILE.slice(1)) await stack.operator.createKey(owner.account, { name });
  browser = await Browser.launch(stack);
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});
afterEach(() => {
  browser.complaints = browser.complaints.filter((text) => !/status of (404|502)/.test(text));
  browser.noComplaints();
});

const open = async (where, options) => { page = await browser.open(where, options); };
const openKeyDialog = async () => {
  await page.getByRole('button', { name: '+ New API Key' }).click();
  await waitFor('the new key', async () => (await page.getByLabel('Your new key').inputValue()) !== '');
};

/// Page → the states in which it is looked at; each is reached from the one before.
const STATES = {
  '/profile': {
    full: async () => { assert.equal(await page.getByRole('region', { name: 'Notices' }).getByRole('checkbox').count(), 2, 'the section Notices, both ways'); },
    menu: async () => { if (await page.getByRole('button', { name: 'Menu' }).isVisible()) await page.getByRole('button', { name: 'Menu' }).click(); },
    dialog: openKeyDialog,
    'dialog with an error': async () => { await page.getByRole('button', { name: 'Save Key' }).click(); },
    'dialog asking': async () => { await page.keyboard.press('Escape'); },
  },
  '/profile?models=access&models_q=onerror': {
    'consent dialog': async () => { await page.getByRole('button', { name: /Need Consent/ }).click(); },
  },
  '/profile?keys_q=none&models_q=none&deleted=1&disabled=1': { 'nothing found': async () => {} },
  '/models?sort_q=demo': { full: async () => {} },
  '/models/demo': { full: async () => { await page.getByText('README unavailable.').waitFor(); } },
  '/models/no-such': { unknown: async () => {} },
  '/connect?tab=python': { full: async () => {} },
  '/sign-in': { full: async () => {} },
  '/help/profile': { full: async () => {} },
  '/nothing-here': { full: async () => {} },
};

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 360]) {
    test(`B1 B9 B10 ${width} px, ${colorScheme}: no axe finding, nothing wider than the screen, on any page in any state`, async () => {
      await open(undefined, { width, colorScheme });
      for (const [where, states] of Object.entries(STATES)) {
        await browser.go(where);
        await browser.balanceShown();
        for (const [state, reach] of Object.entries(states)) {
          await reach();
          await browser.fits(`${where}, ${state}`);
          await browser.axe(`${where}, ${state}`);
        }
        if (await page.getByRole('dialog').count()) await page.evaluate(() => document.querySelector('dialog').close());
      }
    });
  }
}

test('B2 B3 every stop of the Tab key can be seen, on a desk and on a phone; the skip link comes first', async () => {
  for (const width of [1280, 360]) {
    await open(undefined, { width });
    for (const where of ['/profile?keys_q=override&models_q=demo', '/models?sort_q=demo', '/models/demo', '/connect', '/sign-in', '/help/models']) {
      await browser.go(where);
      await browser.balanceShown();
      const stops = await browser.tabWalk(`${where} at ${width}`);
      assert.ok(stops >= 8, `${where} at ${width}: only ${stops} stops`);
    }
    await browser.go('/models');
    await browser.balanceShown();
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  }
});

test('B3 by keys alone: a key is made, copied, saved and deleted, a table sorted', async () => {
  await open('/profile?keys_q=by-keys', { permissions: ['clipboard-read', 'clipboard-write'] });
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  await page.getByRole('button', { name: '+ New API Key' }).focus();
  await press('Enter');
  await waitFor('the new key', async () => (await page.getByLabel('Your new key').inputValue()) !== '');
  await press('Tab', 'Enter');
  await page.getByRole('status').filter({ hasText: 'Copied' }).waitFor();
  await press('Tab');
  await page.keyboard.type('by-keys');
  await press('Enter');
  const row = page.getByRole('row', { name: /by-keys/ });
  await row.waitFor();
  await page.getByRole('table', { name: 'API Keys' }).getByRole('button', { name: 'Tokens' }).focus();
  await press('Enter');
  await browser.address(/keys=-tokens/);
  await row.getByRole('button').focus();
  await press('Enter');
  await page.getByRole('dialog').waitFor();
  await press('Tab', 'Enter');
  await row.waitFor({ state: 'detached' });
});

test('B6 the balance is a meter, the countdown a timer that keeps silent, and what speaks is polite', async () => {
  await open('/profile');
  assert.equal(await page.getByRole('meter').count(), 1);
  const timer = page.getByRole('timer');
  assert.equal(await timer.count(), 1);
  assert.equal(await timer.getAttribute('aria-live'), null, 'a timer says nothing by itself');
  const spoken = await page.evaluate(() => [...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')]
    .filter((region) => region.contains(document.querySelector('[role=timer]')) || region.contains(document.querySelector('[role=meter]'))).length);
  assert.equal(spoken, 0, 'what ticks is in no region that speaks');
  assert.equal(await page.locator('[aria-live=assertive]').count(), 0);
});

test('B7 targets are 24 px at least, 44 px high for fingers; help is in the same place on every page', async () => {
  const small = (least) => page.evaluate((px) => [...document.querySelectorAll('button, a.button, select, input, header a, nav a')]
    .filter((element) => element.offsetParent !== null && !element.closest('.visually-hidden') && !element.matches('.skip'))
    .map((element) => [element, (element.matches('input[type=checkbox]') ? element.closest('label') : element).getBoundingClientRect()])
    .filter(([, box]) => box.height > 0 && box.height < px - 0.5)
    .map(([element, box]) => `${element.tagName} ${element.textContent.trim().slice(0, 20)} ${box.height}`), least);
  const places = new Set();
  for (const where of ['/profile', '/models', '/models/demo', '/connect', '/help/profile']) {
    await open(where);
    await browser.balanceShown();
    assert.deepEqual(await small(24), [], where);
    const links = await page.locator('header a, header button').allInnerTexts();
    places.add(links.slice(links.indexOf('Help')).length);
    assert.ok(links.includes('Help'), where);
  }
  assert.equal(places.size, 1, 'as many links after it on every page');
  for (const where of ['/profile', '/models', '/connect']) {
    await open(where, { width: 360, hasTouch: true, isMobile: true });
    await browser.balanceShown();
    assert.deepEqual(await small(44), [], `${where} for fingers`);
  }
});

test('B8 B10 400 % and 200 % zoom (320 and 640 px): no sideways scroll', async () => {
  for (const width of [320, 640]) {
    await open(undefined, { width });
    for (const where of ['/profile', '/models?sort_q=demo', '/models/demo', '/connect', '/help/profile', '/sign-in', '/nothing-here']) {
      await browser.go(where);
      await browser.balanceShown();
      await browser.fits(`${where} at ${width} px`);
    }
  }
});

test('B8 nothing moves for who does not want it, and forced colours keep the bar', async () => {
  await open('/profile', { reducedMotion: 'reduce', forcedColors: 'active' });
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((element) => getComputedStyle(element).transitionDuration !== '0s' || getComputedStyle(element).animationName !== 'none').length);
  assert.equal(moving, 0);
  assert.notEqual(await page.locator('.meter .free').evaluate((element) => getComputedStyle(element).backgroundColor), 'rgba(0, 0, 0, 0)');
});

test('B26 hostile names, notices and announcements are text, wherever they come up', async () => {
  for (const where of ['/profile', '/models', `/models/${HOSTILE_MODEL.split('/').map(encodeURIComponent).join('/')}`, '/connect', '/help', `/models/${encodeURIComponent(HOSTILE[0])}`, `/connect?model=${encodeURIComponent(HOSTILE[0])}&tab=${encodeURIComponent(HOSTILE[2])}`, `/profile?keys_q=${encodeURIComponent(HOSTILE[0])}`]) {
    await open(where);
    await browser.balanceShown();
    assert.equal(await page.evaluate(() => globalThis.fired), undefined, where);
    assert.equal(await page.locator('main img:not(.avatar), main script, a[href^="javascript:"]').count(), 0, where);
    browser.complaints = browser.complaints.filter((text) => !/status of (404|502)/.test(text));
    browser.noComplaints();
  }
  await open('/profile?models_q=onerror');
  await page.getByText(HOSTILE[0]).first().waitFor();
  await page.getByRole('button', { name: /Need Consent/ }).click();
  assert.match(await page.getByRole('dialog').innerText(), /javascript:globalThis\.fired=1/);
  assert.equal(await page.getByRole('dialog').locator('img, script, a[href^="javascript:"]').count(), 0);
  assert.equal(await page.evaluate(() => globalThis.fired), undefined);
});

/// Bytes over the wire and requests of a first load, as the network counts them.
async function firstLoad(where) {
  await open(undefined);
  const client = await page.context().newCDPSession(page);
  await client.send('Network.enable');
  let bytes = 0;
  const files = new Map();
  client.on('Network.responseReceived', ({ requestId, response }) => files.set(requestId, response.url));
  client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (!/\/api\//.test(files.get(requestId) ?? '')) bytes += encodedDataLength;
  });
  await browser.go(where);
  await browser.balanceShown();
  return { bytes, requests: browser.requests.length };
}

/// What the page asks for, as it comes: [{url, initiator: 'parser', 'script' …, size: bytes on the line}].
function loading(client) {
  const resources = new Map();
  client.on('Network.requestWillBeSent', ({ requestId, request, initiator }) => resources.set(requestId, { url: request.url, initiator: initiator.type, size: 0 }));
  client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { if (resources.has(requestId)) resources.get(requestId).size = encodedDataLength; });
  return { filter: (wanted) => [...resources.values()].filter(wanted) };
}

/// Rows come in portions.
const rowsOf = (table, count) => waitFor(`${count} rows of ${table}`,
  async () => (await page.getByRole('table', { name: table }).getByRole('rowheader').count()) === count, 120);

/// What the page's own thread does while `act` runs: its tasks, each {from, to, cpu} in milliseconds: by the clock, and of
/// processor time. A busy machine makes a task longer by the clock, but takes no more of the other.
async function tasksOf(client, act) {
  const events = [];
  const take = ({ value }) => events.push(...value);
  client.on('Tracing.dataCollected', take);
  const complete = new Promise((resolve) => { client.once('Tracing.tracingComplete', resolve); });
  await client.send('Tracing.start', { categories: 'toplevel,devtools.timeline,disabled-by-default-devtools.timeline', transferMode: 'ReportEvents' });
  await act();
  await client.send('Tracing.end');
  await complete;
  client.off('Tracing.dataCollected', take);
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid} ${tid}`);
  // One kind of event of the two that tell of a task, or each would count twice.
  const tasks = events.filter(({ name, pid, tid, tdur }) => /^(ThreadControllerImpl::)?RunTask$/.test(name) && mains.includes(`${pid} ${tid}`) && tdur !== undefined);
  const [{ name: kind } = {}] = tasks;
  assert.ok(kind, 'tasks were traced');
  return tasks.filter(({ name }) => name === kind).map(({ ts, dur, tdur }) => ({ from: ts / 1000, to: (ts + dur) / 1000, cpu: tdur / 1000 }));
}
const longestOf = (tasks) => Math.max(...tasks.map(({ cpu }) => cpu));
const sumOf = (tasks) => tasks.reduce((sum, { cpu }) => sum + cpu, 0);

/// The least of what `measure` says in up to `tries`, which end when it is enough: others share the processor's caches.
async function bestOf(tries, enough, measure) {
  let best = Infinity;
  for (let n = 0; n < tries && best > enough; n++) best = Math.min(best, await measure());
  return best;
}

test('B12 B13 first loads: at most 40 KB of page and 8 requests', async () => {
  for (const where of ['/profile', '/models', '/models/demo', '/connect', '/help/profile', '/sign-in']) {
    const { bytes, requests } = await firstLoad(where);
    // Help has a picture of what it explains.
    assert.ok(bytes <= (where.startsWith('/help') ? 100 : 40) * KIB, `${where}: ${bytes} bytes`);
    assert.ok(requests <= 8, `${where}: ${requests} requests: ${browser.requests.join(' ')}`);
  }
});

test('B13 B14 a hundred keys and three hundred models come in one small answer and are drawn without a long task', async () => {
  const { account } = owner;
  await stack.sql(`insert into api_keys (account_id, name, hint, key_hash)
    select :account, 'bulk-' || i, 'sk_B…' || lpad(i::text, 4, '0'), sha256(('bulk' || i)::bytea) from generate_series(1, ${KEYS}) i`, { account });
  await stack.sql(`insert into models (name, access) select 'family-' || i % 7 || '/model-' || i, 1 from generate_series(1, ${MODELS - 3}) i`);
  const answer = await browser.rest('GET', '/me/profile');
  assert.ok(answer.body.keys.data.length >= KEYS && answer.body.keys.next_cursor === null);
  assert.equal(answer.body.models.data.length, MODELS);

  await open(undefined);
  const client = await page.context().newCDPSession(page);
  await client.send('Network.enable');
  await client.send('Network.emulateNetworkConditions', { offline: false, latency: LATENCY_MS, downloadThroughput: LINE_BYTES_PER_MS * 1000, uploadThroughput: LINE_BYTES_PER_MS * 1000 });
  const resources = loading(client);
  await page.addInitScript(() => {
    globalThis.layoutShift = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) globalThis.layoutShift += entry.value; }).observe({ type: 'layout-shift', buffered: true });
  });
  const tasks = await tasksOf(client, async () => {
    await browser.go('/profile');
    await rowsOf('Model Access', MODELS);
  });

  // What the line takes: round trips one after the other (nothing is asked for that only a script knows of), and bytes.
  const upToData = resources.filter(({ url }) => /\/profile$|\/assets\//.test(url));
  assert.deepEqual(upToData.map(({ url }) => url.replace(/\.[0-9a-f]{10}\./, '.').replace(stack.url, '')).sort(),
    ['/api/v1/me/profile', '/assets/profile.js', '/assets/style.css', '/profile']);
  assert.deepEqual(upToData.filter(({ initiator }) => initiator === 'script'), [], 'a round trip too many');
  const bytes = upToData.reduce((sum, { size }) => sum + size, 0);
  const data = upToData.find(({ url }) => /api/.test(url));
  assert.ok(data.size > 0 && data.size <= 32 * KIB, `the data: ${data.size} bytes`);
  const lineMs = 2 * LATENCY_MS + bytes / LINE_BYTES_PER_MS;
  // What is left of a second is for connecting, the server (20 ms) and drawing (no task of 50 ms).
  assert.ok(lineMs <= 800, `the line alone takes ${lineMs.toFixed(0)} ms for ${bytes} bytes`);
  const longest = Math.min(longestOf(tasks), longestOf(tasks) <= LONG_TASK_MS ? Infinity : await bestOf(3, LONG_TASK_MS, async () => longestOf(await tasksOf(client, async () => {
    await page.reload();
    await rowsOf('Model Access', MODELS);
  }))));
  assert.ok(longest <= LONG_TASK_MS, `a task of ${longest.toFixed(0)} ms of processor time`);
  const shift = await page.evaluate(() => globalThis.layoutShift);
  assert.ok(shift <= 0.02, `layout shift ${shift}`);
  console.log(`profile with ${answer.body.keys.data.length} keys and ${MODELS} models: ${bytes} bytes, ${lineMs.toFixed(0)} ms of line, longest task ${longest.toFixed(1)} ms of processor time`);
});

test('B14 with a hundred keys and three hundred models the page can be used within a second at 1.6 Mbit/s and 150 ms', async () => {
  await open(undefined);
  const client = await page.context().newCDPSession(page);
  await client.send('Network.enable');
  await client.send('Network.setCacheDisabled', { cacheDisabled: true });
  await client.send('Network.emulateNetworkConditions', { offline: false, latency: LATENCY_MS, downloadThroughput: LINE_BYTES_PER_MS * 1000, uploadThroughput: LINE_BYTES_PER_MS * 1000 });
  // Usable: both tables are there, and a click would be answered at once. `performance.now()` begins with the navigation.
  await page.addInitScript(() => {
    const look = () => {
      if (document.querySelectorAll('main[data-filled] table.data tbody tr button.danger').length === 0 || document.querySelectorAll('table.data').length < 2) requestAnimationFrame(look);
      else setTimeout(() => { globalThis.usableAfter = performance.now(); });
    };
    look();
  });
  const times = [];
  const best = await bestOf(8, USABLE_MS, async () => {
    let clock;
    const tasks = await tasksOf(client, async () => {
      await page.goto(`${stack.url}/profile`);
      await page.waitForFunction(() => globalThis.usableAfter !== undefined);
      clock = await page.evaluate(() => globalThis.usableAfter);
    });
    // Not the page's fault: what its tasks waited for a processor that others had.
    const waited = tasks.filter(({ from, to }) => to - from > 1).reduce((sum, { from, to, cpu }) => sum + (to - from - cpu), 0);
    times.push(`${clock.toFixed(0)} (${waited.toFixed(0)} of them waiting for a processor)`);
    return clock - Math.max(0, waited);
  });
  console.log(`profile usable after ${times.join(', ')} ms`);
  assert.ok(best <= USABLE_MS, `usable after ${times.join(', ')} ms`);
});

test('B14 sorting and filtering a thousand rows takes 50 ms at most, frame included, and draws no row again', async () => {
  await stack.sql(`insert into api_keys (account_id, name, hint, key_hash)
    select :account, 'more-' || i, 'sk_C…' || lpad(i::text, 4, '0'), sha256(('more' || i)::bytea) from generate_series(1, ${1000 - KEYS - 20}) i`, { account: owner.account });
  await stack.sql(`insert into key_totals (key_id, account_id, requests, tokens_in, tokens_out, spent, last_used_at)
    select id, account_id, (id * 7919) % 1009, 0, 0, 0, now() - id * interval '1 minute' from api_keys where account_id = :account and name like 'more-%' and id % 3 > 0`, { account: owner.account });
  await open('/profile?models_q=none');
  const all = (await browser.rest('GET', '/me/profile')).body.keys.data.length;
  assert.ok(all >= 980);
  await rowsOf('API Keys', all);
  const client = await page.context().newCDPSession(page);
  const table = page.getByRole('table', { name: 'API Keys' });
  await table.evaluate((element) => { globalThis.rows = new Set(element.querySelectorAll('tbody tr')); });
  const drawn = () => page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); }));
  const sortBy = async (button) => sumOf(await tasksOf(client, async () => {
    await button.evaluate((element) => element.click());
    await drawn();
  }));
  // Found beforehand: looking for something by its role costs the page more than sorting does.
  const search = await page.getByLabel('Search keys by name or hint').elementHandle();
  const filterBy = async (text, found) => sumOf(await tasksOf(client, async () => {
    await search.evaluate((input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }, text);
    await page.waitForFunction((count) => document.querySelector('table.data').rows.length === count + 1, found, { polling: 100 });
    await drawn();
  }));
  const took = {};
  for (const label of ['Name', 'Requests', 'Tokens', 'Last Used']) {
    const button = await table.getByRole('button', { name: label }).elementHandle();
    took[label] = await bestOf(10, QUICK_MS, () => sortBy(button));
  }
  const matching = await table.evaluate((element) => [...element.querySelectorAll('tbody tr')].filter((row) => row.textContent.includes('-7')).length);
  took.search = Infinity;
  took['search cleared'] = Infinity;
  for (let tries = 0; tries < 10 && Math.max(took.search, took['search cleared']) > QUICK_MS; tries++) {
    took.search = Math.min(took.search, await filterBy('-7', matching));
    took['search cleared'] = Math.min(took['search cleared'], await filterBy('', all));
  }
  console.log(`${all} rows, ms of processor time: ${Object.entries(took).map(([what, ms]) => `${what} ${ms.toFixed(0)}`).join(', ')}`);
  for (const [what, ms] of Object.entries(took)) assert.ok(ms <= QUICK_MS, `${what}: ${ms.toFixed(0)} ms of processor time`);
  assert.equal(await table.evaluate((element) => [...element.querySelectorAll('tbody tr')].filter((row) => globalThis.rows.has(row)).length), all, 'the rows are the same elements as before');
  assert.deepEqual(await table.evaluate((element) => [...element.querySelectorAll('tbody tr')].map((row) => row.querySelectorAll('th, td').length).filter((count) => count !== 7)), []);
});
