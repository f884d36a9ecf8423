// The first profile page against a whole Lumen, in Chromium: what is shown, a key's life from the dialog to its end, one
// consent, and the bars that every page has to hold (spec/ui.md P7, P14, P33–P40, P50–P51, P58–P59, B1, B10, B16, B18).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, beforeEach, afterEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { chatBody, codeOf } from '../module/traffic.mjs';

const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const AXE_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const OWNER = 'ada@example.edu';  // the stack's dev_user

let stack;
let browser;
let page;
let complaints;

before(async () => {
  stack = await startStack({
    name: 'profile',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 1, output_cost_per_million: 1, endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'careful', access: 'allowed', needs_ack: true, ack_message: 'Answers may be wrong.', endpoints: [{ id: 'two', url: `${server}/v1` }] },
      { name: 'closed', access: 'blocked', endpoints: [{ id: 'three', url: `${server}/v1` }] },
    ],
  });
  stack.owner = await stack.newAccount({ email: OWNER, max: '50', starting: '12.45', refresh: '0.1' });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});

beforeEach(async () => { await open({}); });
afterEach(async () => {
  assert.deepEqual(complaints, [], 'the browser complained: errors, refused resources, requests to others');
  await page.context().close();
});

/// Signs in on a page of its own and waits until the profile is there.
async function open({ width = 1280, colorScheme = 'light' }) {
  await page?.context().close().catch(() => {});
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  page = await context.newPage();
  complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => { if (!request.url().startsWith(stack.url)) complaints.push(`request to ${request.url()}`); });
  await page.goto(`${stack.url}/profile`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Model Access' }).waitFor();
}

const tile = (name) => page.locator('.tile', { has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('dd');
const post = (key) => stack.post('/v1/chat/completions', chatBody(), { key });

test('P2 signed out, the page leads to the sign-in and back; the data is refused with 401', async () => {
  const answer = await fetch(`${stack.url}/profile`, { redirect: 'manual' });
  assert.equal(answer.status, 302);
  assert.match(answer.headers.get('location'), /next=(%2F|\/)profile$/);
  const data = await fetch(`${stack.url}/api/v1/me`);
  assert.equal(data.status, 401);
  assert.equal((await data.json()).code, 'unauthenticated');
  assert.ok(page.url().endsWith('/profile'));
});

test('P7 P14 P15 the card shows who it is and six tiles, the balance first', async () => {
  assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'Profile');
  assert.match(await page.locator('.person').textContent(), new RegExp(OWNER));
  assert.equal(await page.locator('.card .tile').count(), 6);
  assert.match(await tile('Coins Available').textContent(), /12\.4\d \/ 50\.00/);
  assert.match(await tile('Refill Rate').textContent(), /\+0\.10 \/ hour.*next in/);
  const meter = page.getByRole('meter', { name: 'Coins available' });
  assert.match(await meter.getAttribute('aria-valuetext'), /^12\.4\d of 50\.00 coins$/);
});

test('P33 P38 P51 a key from the dialog works after Save Key, and fails on the request after Delete', async () => {
  await page.getByRole('button', { name: '+ New API Key' }).click();
  const field = page.getByLabel('Your new key');
  await waitFor('the new key', async () => (await field.inputValue()) !== '');
  const key = await field.inputValue();
  assert.match(key, /^sk_[0-9A-Za-z]{49}$/);
  assert.equal(await field.getAttribute('readonly'), '');
  assert.equal((await post(key)).status, 401, 'a draft does not authenticate');

  await page.getByLabel('Name', { exact: true }).fill('from the page');
  await page.getByRole('button', { name: 'Save Key' }).click();
  await page.getByRole('button', { name: 'Save it anyway' }).click();  // P39: it was not copied
  const row = page.getByRole('row', { name: /from the page/ });
  await row.waitFor();
  assert.match(await row.textContent(), new RegExp(`${key.slice(0, 4)}…${key.slice(-4)}`));
  assert.equal((await post(key)).status, 200);

  await row.getByRole('button', { name: 'Delete key from the page' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await row.waitFor({ state: 'detached' });
  const refused = await post(key);
  assert.equal(refused.status, 401);
  assert.equal(codeOf({ body: await refused.text() }), 'invalid_api_key');

  await page.getByLabel('Show deleted keys').check();
  await row.waitFor();
  assert.equal(await row.locator('s').textContent(), 'from the page');
  const text = await page.content();
  assert.ok(!text.includes(key), 'the key is not left in the page (P40)');
});

test('P58 P59 consent is asked once and counts at once', async () => {
  const ask = () => stack.post('/v1/chat/completions', chatBody({ model: 'careful' }), { key: stack.owner.key });
  const before = await ask();
  assert.equal(before.status, 403);
  assert.equal((await before.json()).error.code, 'model_consent_required');
  await page.getByRole('row', { name: /careful/ }).getByRole('button', { name: /Need Consent/ }).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.textContent(), /Answers may be wrong\./);
  await dialog.getByRole('button', { name: 'Accept' }).click();
  await page.getByRole('row', { name: /careful/ }).getByText('Consented').waitFor();
  assert.equal((await ask()).status, 200);
  assert.match(await page.getByRole('row', { name: /closed/ }).textContent(), /Blocked/);
});

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 360]) {
    test(`B1 B10 ${width} px, ${colorScheme}: no axe finding, nothing wider than the screen, dialog open too`, async () => {
      await open({ width, colorScheme });
      await check('the page');
      await page.getByRole('button', { name: '+ New API Key' }).click();
      await waitFor('the new key', async () => (await page.getByLabel('Your new key').inputValue()) !== '');
      await check('the dialog');
    });
  }
}

async function check(what) {
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.equal(widths[0], widths[1], `${what} is wider than the screen`);
  // axe comes in over the debugger, past the page's own policy.
  const client = await page.context().newCDPSession(page);
  await client.send('Runtime.evaluate', { expression: readFileSync(axePath, 'utf8') });
  const { violations } = await page.evaluate((tags) => globalThis.axe.run({ runOnly: { type: 'tag', values: tags } }), AXE_TAGS);
  const findings = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
  assert.deepEqual(findings, [], what);
}
