// API keys and model access on the profile page (spec/ui.md P31–P65, B26, B28), in Chromium against a whole Lumen.
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
    name: 'keys',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 1000, output_cost_per_million: 1000, endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'org/careful', access: 'allowed', needs_ack: true, ack_message: 'Answers **may** be wrong. [Terms](https://example.org/terms)', endpoints: [{ id: 'two', url: `${server}/v1` }] },
      { name: 'closed', access: 'blocked', endpoints: [{ id: 'three', url: `${server}/v1` }] },
      { name: 'halted', access: 'allowed', disabled: true, endpoints: [{ id: 'four', url: `${server}/v1` }] },
      { name: 'long', access: 'allowed', endpoints: [{ id: 'slow', url: `${server}/misbehave/pace-100+tokens-200/v1` }] },
      { name: 'homeless', access: 'allowed', endpoints: [] },
      { name: 'limping', access: 'allowed', endpoints: [{ id: 'five', url: `${server}/v1` }, { id: 'six', url: 'http://127.0.0.1:9/v1' }] },
    ],
    settings: { health: { interval: 2, timeout: 20 } },
  });
  owner = await stack.operator.createUser({ email: OWNER, name: 'Ada Lovelace', limits: { max: '50', refresh: '0.1', starting: '12.45', mode: 'soft' }, keyName: 'first' });
  browser = await Browser.launch(stack);
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});
afterEach(() => browser.noComplaints());

const post = (key, body = chatBody()) => stack.post('/v1/chat/completions', body, { key });
const open = async (query = '', options) => { page = await browser.open(`/profile${query}`, options); };
const keyTable = () => page.getByRole('table', { name: 'API Keys' });
const row = (name) => keyTable().getByRole('row').filter({ has: page.getByRole('rowheader', { name }) });
const modelTable = () => page.getByRole('table', { name: 'Model Access' });
const modelRow = (name) => modelTable().getByRole('row').filter({ has: page.getByRole('rowheader', { name, exact: true }) });
const names = (table) => table.getByRole('rowheader').allInnerTexts();
const status = (text) => page.getByRole('status').filter({ hasText: text });

async function openDialog() {
  await page.getByRole('button', { name: '+ New API Key' }).click();
  const field = page.getByLabel('Your new key');
  await waitFor('the new key', async () => (await field.inputValue()) !== '');
  return field;
}
async function makeKey(name) {
  const field = await openDialog();
  const key = await field.inputValue();
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByRole('button', { name: 'Save Key' }).click();
  await page.getByRole('button', { name: 'Save it anyway' }).click();
  await row(name).waitFor();
  return key;
}

test('P33 P35 P36 P38 P40 P43 B28 a key from the dialog: read-only, selected, copied, saved, shown once, and left nowhere', async () => {
  await open('', { permissions: ['clipboard-read', 'clipboard-write'] });
  const field = await openDialog();
  const key = await field.inputValue();
  assert.match(key, /^sk_[0-9A-Za-z]{49}$/);
  assert.equal(await field.getAttribute('readonly'), '');
  assert.deepEqual(await field.evaluate((input) => [document.activeElement === input, input.selectionStart, input.selectionEnd]), [true, 0, key.length]);
  const described = await field.getAttribute('aria-describedby');
  assert.match(await page.locator(`#${described}`).innerText(), /shown only once.*cannot be retrieved later/);
  assert.equal((await post(key)).status, 401, 'a draft does not authenticate');
  assert.equal(await page.getByLabel('Name', { exact: true }).getAttribute('placeholder'), 'my-research-script');

  await page.getByRole('button', { name: 'Copy', exact: true }).click();
  await status('Copied').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  await page.evaluate(() => navigator.clipboard.writeText(''));
  await page.getByLabel('Name', { exact: true }).fill('  from the page ');
  await page.getByRole('button', { name: 'Save Key' }).click();
  await row('from the page').waitFor();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await status('Key from the page saved').waitFor();
  assert.ok(await page.getByRole('button', { name: '+ New API Key' }).evaluate((button) => button === document.activeElement), 'focus is back on the button');
  const cells = await row('from the page').getByRole('cell').allInnerTexts();
  assert.deepEqual(cells.slice(0, 5), [`${key.slice(0, 4)}…${key.slice(-4)}`, '0', '0', '0.00', 'never']);
  assert.equal((await post(key)).status, 200);

  assert.ok(!(await page.content()).includes(key), 'not in the page');
  assert.equal(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes('sk_')), false, 'not in storage');
  assert.ok(!await heapHolds(key), 'not in the heap');
  for (const path of ['/me/keys?deleted=true', '/me/profile', '/me']) assert.ok(!JSON.stringify((await browser.rest('GET', path)).body).includes(key), path);
  for (const log of ['admind', 'nginx-access', 'nginx-error']) assert.ok(!stack.log(log).includes(key), `${log} does not name it`);
});

/// Is the text in a heap snapshot, all garbage collected?
async function heapHolds(text) {
  const client = await page.context().newCDPSession(page);
  await client.send('HeapProfiler.enable');
  for (let i = 0; i < 3; i++) await client.send('HeapProfiler.collectGarbage');
  let tail = '';
  let found = false;
  client.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => {
    found ||= (tail + chunk).includes(text);
    tail = chunk.slice(-text.length);
  });
  await client.send('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
  await client.detach();
  return found;
}

test('P35 without permission the key is selected, and the page says what to press', async () => {
  await open();
  await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
  const field = await openDialog();
  await page.getByRole('button', { name: 'Copy', exact: true }).click();
  await status('Press Ctrl+C').waitFor();
  assert.equal(await field.evaluate((input) => input.selectionEnd - input.selectionStart), (await field.inputValue()).length);
});

test('P34 P37 P39 P41 P60 the dialog refuses bad names, asks once before a loss, and begins afresh', async () => {
  await open();
  const first = await (await openDialog()).inputValue();
  const name = page.getByLabel('Name', { exact: true });
  for (const [bad, says] of [['   ', /Give the key a name/], ['x'.repeat(65), /At most 64/], ['a\u0007b', /No control/]]) {
    await name.fill(bad);
    await page.getByRole('button', { name: 'Save Key' }).click();
    await page.getByRole('alert').filter({ hasText: says }).waitFor();
    assert.ok(await name.evaluate((input) => input === document.activeElement));
    assert.equal(await name.getAttribute('aria-invalid'), 'true');
  }
  await name.fill('first');
  await page.getByText('You have another key of this name').waitFor();
  await page.getByRole('button', { name: 'Save Key' }).click();
  await page.getByRole('alert').filter({ hasText: 'You have not copied the key' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('alert').filter({ hasText: 'The key will be lost' }).waitFor();
  assert.ok(await page.getByRole('dialog').isVisible());
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal((await post(first)).status, 401);

  const second = await openDialog();
  assert.notEqual(await second.inputValue(), first);
  assert.equal(await name.inputValue(), '');
  const asks = page.waitForEvent('dialog');
  await page.getByLabel('Name', { exact: true }).fill('x');  // browsers warn only of pages that were touched
  const reload = page.reload().catch(() => {});
  const warning = await asks;
  assert.equal(warning.type(), 'beforeunload');
  await warning.accept();
  await reload;
});

test('F6 the options of the dialog: a budget, an end, a list of models; the row says so', async () => {
  await open();
  const key = await (await openDialog()).inputValue();
  await page.getByText('Options', { exact: true }).click();
  const budget = page.getByLabel('Spends at most');
  await budget.fill('a lot');
  await page.getByText('A number of coins, such as').waitFor();
  await budget.fill('2.5');
  await page.getByLabel('Expires').selectOption('30');
  await page.getByLabel('Only these models').selectOption(['homeless']);
  await page.getByLabel('Name', { exact: true }).fill('narrow');
  await page.getByRole('button', { name: 'Save Key' }).click();
  await page.getByRole('button', { name: 'Save it anyway' }).click();
  await row('narrow').waitFor();
  assert.match(await row('narrow').innerText(), /0\.00 of 2\.5\/week/);
  assert.match(await row('narrow').getByRole('rowheader').innerText(), /homeless/);
  const refused = await post(key);
  assert.equal((await refused.json()).error.code, 'model_access_denied');
  const id = await row('narrow').getAttribute('data-id');
  assert.equal((await browser.rest('DELETE', `/me/keys/${id}`)).status, 204);
});

test('P42 P44 P46 P48 the table sorts, searches and keeps both in the address', async () => {
  await open();
  for (const name of ['alpha-10', 'alpha-9', 'beta']) await makeKey(name);
  await post(owner.key);
  await waitFor('the book to know of the call', async () => (await browser.rest('GET', '/me/keys')).body.data.some((key) => key.name === 'first' && key.requests > 0));
  await page.reload();
  await keyTable().waitFor();
  assert.deepEqual((await keyTable().getByRole('columnheader').allInnerTexts()).map((text) => text.replace(/\s*[▲▼↕]/, '')), ['Name', 'Hint', 'Requests', 'Tokens', 'Coins', 'Last Used', 'Actions']);
  const sort = (label) => keyTable().getByRole('columnheader', { name: label }).getByRole('button');
  assert.deepEqual(await names(keyTable()), ['alpha-9', 'alpha-10', 'beta', 'first', 'from the page']);
  assert.equal(await keyTable().locator('[aria-sort]').count(), 1);
  await sort('Name').click();
  assert.deepEqual(await names(keyTable()), ['from the page', 'first', 'beta', 'alpha-10', 'alpha-9']);
  await sort('Last Used').click();
  const byUse = await names(keyTable());
  assert.deepEqual(byUse.slice(2), ['alpha-9', 'alpha-10', 'beta'], 'never is last');
  await sort('Last Used').click();
  assert.deepEqual((await names(keyTable())).slice(2), ['alpha-9', 'alpha-10', 'beta'], 'in either direction');
  assert.equal(await keyTable().getByRole('columnheader', { name: 'Last Used' }).getAttribute('aria-sort'), 'ascending');
  await sort('Coins').click();
  await browser.address(/keys=-coins/);

  const search = page.getByLabel('Search keys by name or hint');
  await search.fill('ALPHA');
  await status('2 keys').waitFor({ state: 'attached' });
  assert.deepEqual(await names(keyTable()), ['alpha-9', 'alpha-10']);
  await page.reload();
  await keyTable().waitFor();
  assert.deepEqual(await names(keyTable()), ['alpha-9', 'alpha-10'], 'the address keeps it');
  await page.getByLabel('Search keys by name or hint').fill('nothing like it');
  await page.getByText('No API keys match').waitFor();
  await page.getByRole('button', { name: 'Clear the search' }).click();
  await row('beta').waitFor();
  const hint = (await row('beta').getByRole('cell').first().innerText()).slice(-4);
  await page.getByLabel('Search keys by name or hint').fill(hint);
  await waitFor('the hint to be found', async () => (await names(keyTable())).join() === 'beta');
  assert.equal(await page.getByRole('link', { name: 'Usage examples' }).getAttribute('href'), '/connect');
});

test('P47 P49 requests are calls of a model, those cut off too; last used is any call that the key opened', async () => {
  const { key, id } = await stack.operator.createKey(owner.account, { name: 'counted' });
  const counters = async () => (await browser.rest('GET', '/me/keys?limit=200')).body.data.find((row) => row.id === String(id));
  assert.deepEqual([(await counters()).requests, (await counters()).last_used_at], [0, null]);
  assert.equal((await stack.fetch('/v1/models', { key })).status, 200);
  assert.equal((await post(key, chatBody({ model: 'closed' }))).status, 403);
  const looked = await waitFor('a call without a model to count as use', async () => {
    const row = await counters();
    return row.last_used_at !== null && row;
  });
  assert.equal(looked.requests, 0, 'neither a list nor a refusal is a request');
  const stream = await post(key, chatBody({ model: 'long', stream: true }));
  const reader = stream.body.getReader();
  await reader.read();
  await reader.cancel();
  await waitFor('the cut stream to count', async () => (await counters()).requests === 1);
  await open();
  await page.getByRole('link', { name: 'Usage examples' }).click();
  await page.waitForURL(`${stack.url}/connect`);
  await page.getByRole('heading', { level: 1, name: 'Connect your tools' }).waitFor();
});

test('P45 P50 P51 P53 P54 Delete: asks by name, ends the key at once, keeps its history', async () => {
  await open();
  const key = await makeKey('doomed');
  assert.equal((await post(key)).status, 200);
  const id = await row('doomed').getAttribute('data-id');
  assert.equal(await row('doomed').getByRole('button').innerText(), 'Delete');
  await row('doomed').getByRole('button', { name: 'Delete key doomed' }).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.innerText(), new RegExp(`Delete “doomed” \\(${key.slice(0, 4)}…${key.slice(-4)}\\)\\?[\\s\\S]*(Last used|Never used)[\\s\\S]*running ones\\s+finish`));
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await post(key)).status, 200, 'Esc deletes nothing');
  await row('doomed').getByRole('button').click();
  await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
  await row('doomed').waitFor({ state: 'detached' });
  assert.equal((await post(key)).status, 401);
  await waitFor('the focus to be on the next row', () => page.evaluate(() => /^Delete key (first|from)/.test(document.activeElement?.getAttribute('aria-label') ?? '')));
  assert.equal((await browser.rest('DELETE', `/me/keys/${id}`)).status, 204, 'again is no error');
  assert.equal((await browser.rest('DELETE', '/me/keys/999999999')).status, 404);

  await page.getByLabel('Show deleted keys').check();
  await row('doomed').waitFor();
  await browser.address(/deleted=1/);
  assert.equal(await row('doomed').locator('s').innerText(), 'doomed');
  assert.match(await row('doomed').getByRole('rowheader').textContent(), /\(deleted\)/);
  assert.match(await row('doomed').innerText(), /deleted \d/);
  assert.equal(await row('doomed').getByRole('button').count(), 0);
  await waitFor('its counters', async () => {
    await page.reload();
    await row('doomed').waitFor();
    return (await row('doomed').getByRole('cell').nth(1).innerText()) === '2';
  });
});

test('P55 P56 P57 P58 P62 P63 every model with its access and status; blocked ones too', async () => {
  const found = { closed: 'ok', demo: 'ok', homeless: 'down', limping: 'degraded' };
  await waitFor('the probes to have found the dead server, and the others alive', async () => {
    const { data } = (await browser.rest('GET', '/me/models')).body;
    return Object.entries(found).every(([name, status]) => data.find(({ model }) => model === name).status === status);
  });
  await open();
  assert.deepEqual(await names(modelTable()), ['closed', 'demo', 'homeless', 'limping', 'long', 'org/careful']);
  const cells = async (name) => (await modelRow(name).getByRole('cell').allInnerTexts()).slice(4).map((text) => text.replace(/\s+/g, ' '));
  assert.deepEqual(await cells('closed'), ['✕ Blocked', 'ok']);
  assert.deepEqual(await cells('demo'), ['✓ Allowed', 'ok']);
  assert.deepEqual(await cells('homeless'), ['✓ Allowed', 'down']);
  assert.deepEqual(await cells('limping'), ['✓ Allowed', 'degraded']);
  assert.match((await cells('org/careful'))[0], /^⚠ Need Consent/);
  assert.deepEqual((await modelRow('closed').getByRole('cell').allInnerTexts()).slice(0, 4), ['—', '—', '—', '—']);
  assert.equal(await modelRow('org/careful').getByRole('link').getAttribute('href'), '/models/org/careful');
  await modelTable().getByRole('button', { name: 'Access' }).click();
  assert.deepEqual((await names(modelTable()))[0], 'org/careful');
  assert.deepEqual((await names(modelTable())).at(-1), 'closed');
  await modelTable().getByRole('button', { name: 'Status' }).click();
  assert.deepEqual((await names(modelTable())).slice(0, 2), ['homeless', 'limping']);
});

test('P64 search and Show disabled', async () => {
  await open();
  await page.getByLabel('Show disabled').check();
  await modelRow('halted').waitFor();
  assert.match(await modelRow('halted').innerText(), /Allowed\s+disabled/);
  await page.getByLabel('Search models by name').fill('halt');
  await status('1 model').waitFor({ state: 'attached' });
  assert.deepEqual(await names(modelTable()), ['halted']);
  await browser.address(/disabled=1/);
});

test('P59 P60 P61 consent is asked once, counts at once, and is kept with its date', async () => {
  const ask = () => post(owner.key, chatBody({ model: 'org/careful' }));
  const before = await ask();
  assert.equal(before.status, 403);
  const { error } = await before.json();
  assert.equal(error.code, 'model_consent_required');
  assert.match(error.consent_url ?? error.message, /profile|models/);
  await open();
  await modelRow('org/careful').getByRole('button', { name: /Need Consent/ }).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.innerText(), /Answers may be wrong\./);
  assert.equal(await dialog.locator('strong').innerText(), 'may');
  assert.equal(await dialog.getByRole('link', { name: 'Terms' }).getAttribute('href'), 'https://example.org/terms');
  await dialog.getByRole('button', { name: 'Accept' }).click();
  await modelRow('org/careful').getByText('Consented').waitFor();
  assert.equal((await ask()).status, 200);
  await page.reload();
  assert.match(await modelRow('org/careful').locator('.badge.consented').getAttribute('title'), /Acknowledged \d{4}-\d\d-\d\d .* notice 1/);
  const again = await browser.rest('POST', '/me/consents', { model: 'org/careful', notice_version: 1 });
  assert.equal(again.status, 200);
  assert.equal((await browser.rest('POST', '/me/consents', { model: 'demo', notice_version: 1 })).body.code, 'consent_not_needed');
  assert.equal((await browser.rest('POST', '/me/consents', { model: 'closed', notice_version: 1 })).body.code, 'model_access_denied');
  assert.equal((await post(owner.key, chatBody({ model: 'closed' }))).status, 403);
});

test('P65 a change of health shows without a reload', async () => {
  await open();
  await modelRow('demo').getByText('ok').waitFor();
  await stack.modelServers[0].behave('500');
  try {
    await waitFor('the probes to find it down', async () => (await browser.rest('GET', '/me/models')).body.data.find((model) => model.model === 'demo').status === 'down');
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await modelRow('demo').getByText('down').waitFor();
  } finally {
    await stack.modelServers[0].behave('');
  }
});

test('P46 B4 B5 on a phone rows are cards, headers leave the Tab order and a list sorts', async () => {
  await open('', { width: 360 });
  assert.equal(await keyTable().getByRole('columnheader').count(), 0);
  assert.ok(await keyTable().getByRole('row').count() >= 4);
  const list = page.getByLabel('Sort by').first();
  await list.selectOption('-name');
  assert.equal((await names(keyTable()))[0], 'from the page');
  assert.equal(await page.locator('thead button:visible').count(), 0);
});
