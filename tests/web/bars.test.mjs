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
    full: async () => {},
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
      const stops = await browser.tabWalk(`${where} at ${width}`);
      assert.ok(stops >= 8, `${where} at ${width}: only ${stops} stops`);
    }
    await browser.go('/models');
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
  assert.match(page.url(), /keys=-tokens/);
  await row.getByRole('button').focus();
  await press('Enter');
  await page.getByRole('dialog').waitFor();
  await press('Tab', 'Enter');
  await row.waitFor({ state: 'detached' });
});

test('B8 B10 400 % and 200 % zoom (320 and 640 px): no sideways scroll', async () => {
  for (const width of [320, 640]) {
    await open(undefined, { width });
    for (const where of ['/profile', '/models?sort_q=demo', '/models/demo', '/connect', '/help/profile', '/sign-in', '/nothing-here']) {
      await browser.go(where);
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
    await page.locator('header .purse').waitFor();
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
  await page.locator('header .purse').waitFor();
  return { bytes, requests: browser.requests.length };
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
  await client.send('Network.emulateNetworkConditions', { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 1.6e6 / 8 });
  let dataBytes = 0;
  client.on('Network.responseReceived', ({ requestId, response }) => { if (/me\/profile/.test(response.url)) dataBytes = requestId; });
  client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { if (requestId === dataBytes) dataBytes = encodedDataLength; });
  await page.addInitScript(() => {
    globalThis.layoutShift = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) globalThis.layoutShift += entry.value; }).observe({ type: 'layout-shift', buffered: true });
  });
  const began = Date.now();
  await browser.go('/profile');
  const took = Date.now() - began;
  assert.ok(dataBytes > 0 && dataBytes <= 32 * KIB, `the data: ${dataBytes} bytes`);
  assert.equal(await page.getByRole('table', { name: 'Model Access' }).getByRole('rowheader').count(), MODELS);
  assert.ok(took < 20_000, `interactive after ${took} ms`);
  const shift = await page.evaluate(() => globalThis.layoutShift);
  assert.ok(shift <= 0.02, `layout shift ${shift}`);
  console.log(`profile with ${answer.body.keys.data.length} keys and ${MODELS} models over 1.6 Mbit/s and 150 ms: ${took} ms, data ${dataBytes} bytes`);
});

test('B14 sorting and filtering a thousand rows is quick, and a row that did not change is not drawn again', async () => {
  await stack.sql(`insert into api_keys (account_id, name, hint, key_hash)
    select :account, 'more-' || i, 'sk_C…' || lpad(i::text, 4, '0'), sha256(('more' || i)::bytea) from generate_series(1, ${1000 - KEYS - 20}) i`, { account: owner.account });
  await open('/profile?models_q=none');
  const rows = page.getByRole('table', { name: 'API Keys' }).getByRole('rowheader');
  assert.ok(await rows.count() >= 980);
  const times = await page.evaluate(async () => {
    const table = document.querySelector('table.data');
    const headers = [...table.querySelectorAll('th button')];
    const first = table.querySelector('tbody tr');
    const took = [];
    for (const header of [headers[0], headers[1], headers[2], headers[0]]) {
      const began = performance.now();
      header.click();
      await new Promise((done) => setTimeout(done));  // Preact draws in a microtask; this is after it
      document.body.getBoundingClientRect();
      took.push(performance.now() - began);
    }
    return { took, kept: first.isConnected };
  });
  console.log(`sorting ${await rows.count()} rows: ${times.took.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  assert.ok(times.kept, 'the rows are the same elements as before');
  assert.ok(Math.min(...times.took) < 1000, `sorting took ${times.took} ms`);
});
