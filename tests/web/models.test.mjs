// Models, a model's page and Connect (spec/ui.md M1–M4, D1–D8, N1–N7), in Chromium against a whole Lumen; every snippet that
// Connect offers is run against the gate.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { pythonWithPackages } from '../module/clients/other_clients.mjs';
import { chatBody } from '../module/traffic.mjs';
import { Browser, OWNER } from './browser.mjs';

let stack;
let owner;
let browser;
let page;
let scratch;

before(async () => {
  stack = await startStack({
    name: 'models',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', description: 'Says what it heard.', input_cost_per_million: 0.15, output_cost_per_million: 0.6, cached_input_cost_per_million: 0.075,
        context_window: 131072, max_output_tokens: 8192, knowledge_cutoff: '2023-12', supports_reasoning: false, supports_function_calling: true,
        input_modalities: ['text'], output_modalities: ['text'], endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'org/seeing', access: 'allowed', needs_ack: true, ack_message: 'Look *twice*.', input_modalities: ['text', 'image'], url: 'https://huggingface.co/org/seeing',
        endpoints: [{ id: 'two', url: `${server}/v1` }] },
      { name: 'hearing', access: 'allowed', input_modalities: ['text', 'audio'], endpoints: [{ id: 'three', url: `${server}/v1` }] },
      { name: 'whisper', access: 'allowed', audio_cost_per_hour: 0.36, input_modalities: ['audio'], output_modalities: ['text'], endpoints: [{ id: 'four', url: `${server}/v1` }] },
      { name: 'closed', access: 'blocked', endpoints: [{ id: 'five', url: `${server}/v1` }] },
      { name: 'secret', access: 'blocked', hide_when_blocked: true, endpoints: [{ id: 'six', url: `${server}/v1` }] },
      { name: 'halted', access: 'allowed', disabled: true, endpoints: [{ id: 'seven', url: `${server}/v1` }] },
      { name: 'homeless', access: 'allowed', endpoints: [] },
    ],
    settings: { health: { interval: 2, timeout: 20 } },
  });
  owner = await stack.operator.createUser({ email: OWNER, name: 'Ada Lovelace', limits: { max: '50', refresh: '0', starting: '10', mode: 'soft' }, keyName: 'first' });
  browser = await Browser.launch(stack);
  scratch = mkdtempSync('/tmp/lumen-snippets-');
});
after(async () => {
  await browser?.close();
  if (scratch) rmSync(scratch, { recursive: true, force: true });
  await stack?.stop();
});
afterEach(() => browser.noComplaints());

const open = async (where, options) => { page = await browser.open(where, options); };
const table = () => page.getByRole('table', { name: 'Models' });
const cellsOf = async (name) => (await table().getByRole('row').filter({ has: page.getByRole('link', { name, exact: true }) }).getByRole('cell').allInnerTexts()).map((text) => text.replace(/\s+/g, ' ').trim());

test('M1 M2 M3 M4 the list: active models that are not blocked, prices, health, acknowledgment', async () => {
  await waitFor('the probes', async () => (await browser.rest('GET', '/models')).body.data.every((model) => model.endpoints === 0 || model.last_checked_at));
  await open('/models');
  assert.deepEqual((await table().getByRole('columnheader').allInnerTexts()).map((text) => text.replace(/\s*[▲▼↕]/, '')),
    ['Model', 'Coins / 1M input', 'Coins / 1M output', 'Healthy', 'Last Checked', 'Status', 'Acknowledgment']);
  assert.deepEqual(await table().getByRole('link').allInnerTexts(), ['demo', 'hearing', 'homeless', 'org/seeing', 'whisper']);
  const demo = await cellsOf('demo');
  assert.deepEqual([demo[0], demo[1], demo[2], demo[4], demo[5]], ['0.15', '0.60', '1 / 1', 'ok', '—']);
  assert.match(demo[3], /\d/);
  assert.match((await cellsOf('whisper'))[0], /^0\.36 \/ hour$/);
  assert.deepEqual((await cellsOf('homeless')).slice(2), ['0 / 0', 'Never', 'no endpoints', '—']);
  assert.equal((await cellsOf('org/seeing'))[5], 'required');
  await page.getByText('Says what it heard.').waitFor();
  assert.equal(await page.getByRole('link', { name: 'Connect your tools' }).getAttribute('href'), '/connect');
  await page.getByLabel('Takes').selectOption('image');
  assert.deepEqual(await table().getByRole('link').allInnerTexts(), ['org/seeing']);
  await browser.address(/takes=image/);
});

test('M2 D7 signed out: models are there, those that hide from who may not use them are not', async () => {
  const { data } = await (await fetch(`${stack.url}/api/v1/models`)).json();
  const names = data.map(({ name }) => name);
  assert.ok(names.includes('demo') && !names.includes('secret') && !names.includes('halted'));
  assert.ok(!('access' in data[0]) && !('endpoint_states' in data[0]));
  assert.equal((await fetch(`${stack.url}/api/v1/models/secret`)).status, 404);
  await open('/models', { signedIn: false });
  await table().getByRole('link', { name: 'demo' }).click();
  await page.getByRole('heading', { level: 1, name: 'demo' }).waitFor();
  await page.getByText('to see whether you may use it').waitFor();
});

test('D1 D3 D4 D5 D6 D8 a model\'s page says what is known, and no more', async () => {
  assert.equal((await stack.post('/v1/chat/completions', chatBody(), { key: owner.key })).status, 200);
  await waitFor('the book to have it', async () => (await browser.rest('GET', '/models/demo')).body.use.requests > 0);
  await open('/models/demo');
  const panel = (name) => page.locator('.panel', { has: page.getByRole('heading', { name }) });
  const facts = async (name) => (await panel(name).innerText()).replace(/\s+/g, ' ');
  assert.match(await page.title(), /^demo/);
  assert.equal(await page.getByRole('link', { name: '← Models' }).getAttribute('href'), '/models');
  assert.match(await facts('Access'), /✓ Allowed/);
  assert.match(await facts('Availability'), /Status ok Endpoints 1 \/ 1 Requests \/ hour \d+ Requests \/ 24 h \d+ one up/);
  assert.match(await facts('Details'), /Context 131,072 tokens Longest answer 8,192 tokens Input text Output text Knowledge until 2023-12 Reasoning — no Function calling ✓ yes/);
  assert.match(await facts('Price in coins'), /1M input tokens 0\.15 1M output tokens 0\.60 Cached input 0\.075/);
  assert.match(await facts('Your use'), /Requests 1 Tokens \d+/);
  assert.equal(await page.getByRole('link', { name: 'Use this model' }).getAttribute('href'), '/connect?model=demo');
  await open('/models/homeless');
  assert.equal(await panel('Details').count(), 0);
  await page.getByText('No description available.').waitFor();
});

test('D2 a README that cannot be had says so, and the browser asks nobody else', async () => {
  await open('/models/org/seeing');
  await page.getByText('README unavailable.').waitFor();
  assert.equal(await page.getByRole('link', { name: /its page/ }).getAttribute('href'), 'https://huggingface.co/org/seeing');
  browser.complaints = browser.complaints.filter((text) => !/status of 502/.test(text));
  const answer = await fetch(`${stack.url}/api/v1/readmes/org/seeing`);
  assert.equal(answer.status, 502);
  assert.equal((await answer.json()).code, 'readme_unavailable');
  assert.equal((await fetch(`${stack.url}/api/v1/readmes/demo`)).status, 502, 'no page there, no README');
  assert.equal((await fetch(`${stack.url}/api/v1/readmes/nothing`)).status, 404);
});

test('D3 D7 consent on the page; blocked, disabled, unknown and hidden models say what they are', async () => {
  await open('/models/org/seeing');
  await page.getByRole('button', { name: /Need Consent/ }).click();
  assert.match(await page.getByRole('dialog').innerText(), /Look twice\./);
  await page.getByRole('button', { name: 'Accept' }).click();
  await page.getByText(/acknowledged/).waitFor();
  browser.complaints = browser.complaints.filter((text) => !/status of 502/.test(text));
  await open('/models/closed');
  await page.getByText('This model is not available to you').waitFor();
  assert.equal(await page.getByRole('link', { name: 'Use this model' }).count(), 0);
  await open('/models/halted');
  await page.getByText('turned off at the moment').waitFor();
  for (const name of ['nothing', 'secret', 'a/b/c']) {
    await open(`/models/${name}`);
    await page.getByRole('heading', { name: 'No such model' }).waitFor();
    browser.complaints = browser.complaints.filter((text) => !/status of 404/.test(text));
  }
});

test('D7 the page of a model that nobody or not this caller may know of is a 404; while admind is away it comes', async () => {
  await open('/models');
  const [{ name, value }] = browser.cookies;
  const look = async (path, cookie) => {
    const answer = await fetch(`${stack.url}${path}`, { headers: { connection: 'close', ...(cookie && { cookie }) } });
    assert.match(await answer.text(), /<script [^>]*\/assets\/model\./, `${path} is the page, which says what there is`);
    assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'none'/, path);
    return answer.status;
  };
  for (const [model, status] of [['demo', 200], ['org/seeing', 200], ['org%2Fseeing?from=list', 200], ['closed', 200], ['halted', 200], ['secret', 404], ['nothing', 404], ['a/b/c', 404]]) {
    assert.equal(await look(`/models/${model}`, `${name}=${value}`), status, model);
    assert.equal(await look(`/models/${model}`), status, `${model}, signed out`);
    assert.equal(await look(`/models/${model}`, `${name}=of-a-session-that-ended`), status, `${model}, with an old cookie`);
  }
  assert.equal((await fetch(`${stack.url}/model-known`)).status, 403, 'the question itself is nobody else\'s');
  await stack.server('admind').stop();
  try {
    assert.equal(await look('/models/nothing'), 200);
  } finally {
    await stack.start('admind');
  }
});

test('N1 N2 N3 Connect: what every tool needs, tabs by keyboard, the model from the address', async () => {
  await open('/connect?model=hearing&tab=curl', { permissions: ['clipboard-read', 'clipboard-write'] });
  assert.equal(await page.locator('#base').innerText(), `${stack.url}/v1`);
  assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'hearing');
  assert.match(await page.locator('#env-unix').innerText(), /^export LUMEN_API_KEY=/);
  assert.match(await page.locator('#env-windows').innerText(), /\$env:LUMEN_API_KEY/);
  const tab = (name) => page.getByRole('tab', { name });
  assert.equal(await tab('curl').getAttribute('aria-selected'), 'true');
  await tab('curl').focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await tab('Python').getAttribute('aria-selected'), 'true');
  assert.ok(await tab('Python').evaluate((element) => element === document.activeElement));
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowRight');
  assert.equal(await tab('OpenCode').getAttribute('aria-selected'), 'true', 'it goes round');
  assert.equal(await page.locator('[role=tab][tabindex="0"]').count(), 1);
  await page.getByRole('button', { name: 'Copy: Base URL' }).click();
  await page.getByRole('status').filter({ hasText: 'Copied' }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${stack.url}/v1`);
  await open('/connect?model=no-such-model');
  assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'demo');
  await open('/connect?tab=curl', { signedIn: false });
  await page.getByText('to see your models here').waitFor();
  assert.match(await page.locator('#curl').innerText(), /"model": "MODEL"/);
  assert.equal(await page.getByRole('link', { name: 'the guide' }).getAttribute('href'), '/help/connect');
});

/// The text of a snippet as a person would copy it.
async function snippet(tab, model) {
  await open(`/connect?model=${encodeURIComponent(model)}&tab=${tab}`);
  return page.locator(`#${tab}`).textContent();
}

/// Runs it to its end: {status, output}.
function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: scratch, env: { ...process.env, LUMEN_API_KEY: owner.key, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
    child.on('error', (error) => resolve({ status: -1, output: error.message }));
    child.on('close', (status) => resolve({ status, output }));
  });
}

test('N5 N6 the curl snippets run against the gate, by what the model takes', async () => {
  for (const [model, says] of [['demo', /Say hello/], ['org/seeing', /image_url/], ['hearing', /input_audio/]]) {
    const text = await snippet('curl', model);
    assert.match(text, says);
    const { status, output } = await run('bash', ['-c', text.replace('curl ', 'curl --silent --show-error --fail-with-body ')]);
    assert.equal(status, 0, output);
    assert.match(output, /"choices"/, model);
  }
  assert.match(await snippet('curl', 'whisper'), /audio\/transcriptions[\s\S]*-F 'model=whisper'[\s\S]*file=@recording\.wav/);
  await page.getByText('recording.wav is a file of yours').waitFor();
});

test('N6 the Node snippet runs with the openai package', async () => {
  mkdirSync(path.join(scratch, 'node_modules'), { recursive: true });
  symlinkSync(path.join(checkout, 'tests/node_modules/openai'), path.join(scratch, 'node_modules/openai'));
  for (const model of ['demo', 'org/seeing', 'hearing']) {
    writeFileSync(path.join(scratch, 'hello.mjs'), await snippet('node', model));
    const { status, output } = await run(process.execPath, ['hello.mjs']);
    assert.equal(status, 0, output);
    assert.ok(output.trim().length > 0);
  }
});

test('N6 the Python snippet runs with the openai package', async () => {
  const python = pythonWithPackages();
  for (const model of ['demo', 'org/seeing', 'hearing']) {
    writeFileSync(path.join(scratch, 'hello.py'), await snippet('python', model));
    const { status, output } = await run(python, ['hello.py']);
    assert.equal(status, 0, output);
    assert.ok(output.trim().length > 0);
  }
  writeFileSync(path.join(scratch, 'whisper.py'), await snippet('python', 'whisper'));
  assert.equal((await run(python, ['-m', 'py_compile', 'whisper.py'])).status, 0);
});

test('N4 N6 OpenCode\'s configuration has all usable models, their limits and costs, and no key; it downloads as it stands', async () => {
  await open('/connect');
  const text = await page.locator('#opencode').textContent();
  const config = JSON.parse(text);
  assert.equal(config.$schema, 'https://opencode.ai/config.json');
  const { lumen } = config.provider;
  assert.equal(lumen.npm, '@ai-sdk/openai-compatible');
  assert.deepEqual(lumen.options, { baseURL: `${stack.url}/v1`, apiKey: '{env:LUMEN_API_KEY}' });
  const usable = (await (await stack.fetch('/v1/models', { key: owner.key })).json()).data.map(({ id }) => id).filter((id) => id !== 'whisper');
  assert.deepEqual(Object.keys(lumen.models).sort(), usable.sort(), 'what the gate serves to this person, transcription apart');
  assert.deepEqual(lumen.models.demo, {
    name: 'demo', limit: { context: 131072, output: 8192 }, cost: { input: 0.15, output: 0.6, cache_read: 0.075 }, reasoning: false, tool_call: true,
  });
  assert.deepEqual(schemaProblems(config, JSON.parse(readFileSync(path.join(checkout, 'tests/data/opencode_provider.schema.json'), 'utf8'))), []);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download opencode.json' }).click()]);
  assert.equal(download.suggestedFilename(), 'opencode.json');
  assert.equal(readFileSync(await download.path(), 'utf8'), text);
});

/// The keywords that the schema uses, checked to the letter; a member that it does not know is a problem.
function schemaProblems(value, schema, where = '$') {
  const type = Array.isArray(value) ? 'array' : typeof value;
  if (schema.type && schema.type !== type) return [`${where}: ${type}, not ${schema.type}`];
  if (schema.const !== undefined && schema.const !== value) return [`${where}: not ${schema.const}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${where}: none of ${schema.enum}`];
  if (type !== 'object') return [];
  const missing = (schema.required ?? []).filter((name) => !(name in value)).map((name) => `${where}.${name}: missing`);
  return missing.concat(Object.entries(value).flatMap(([name, member]) => {
    const known = schema.properties?.[name] ?? schema.additionalProperties;
    return known ? schemaProblems(member, known, `${where}.${name}`) : [`${where}.${name}: unknown`];
  }));
}
