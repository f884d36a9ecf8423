// The demo model server is what every charge in these suites is checked against, so it is checked itself: its usage can
// be recounted, and it misbehaves exactly as it was told.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, freePort, makeServerDir, obstacleTo, waitFor } from '../harness/machine.mjs';
import { builtPrograms, installPrograms } from '../harness/programs.mjs';
import { ModelServer } from '../harness/servers.mjs';

let dir;
let server;
before(async () => {
  dir = mkdtempSync(path.join(process.env.LUMEN_TEST_DIR || '/tmp', 'lumen-model-server-'));
  makeServerDir(dir);
  const programs = obstacleTo(buildDir) === null ? builtPrograms(buildDir) : installPrograms(path.join(dir, 'app'), buildDir);
  const instance = {
    program: (name) => programs[name],
    processOptions: (name) => ({ name, stateDir: dir, lifetime: 'ours' }),
  };
  server = new ModelServer(instance, 'model', await freePort(), await freePort());
  await server.start();
});
after(async () => {
  await server?.stop();
  rmSync(dir, { recursive: true });
});

/// The rule in its own words: a run of letters, digits or non-ASCII characters, or one other visible character.
const recount = (text) => (text.match(/[A-Za-z0-9\u0080-\u{10FFFF}]+|[\x21-\x7e]/gu) ?? []).length;

const question = { role: 'user', content: 'Größe, bitte: 3.5 m?' };

function ask(body, { behaviour = '', target = '/v1/chat/completions' } = {}) {
  const prefix = behaviour ? `/misbehave/${behaviour}` : '';
  return fetch(server.url + prefix + target, { method: 'POST', body: JSON.stringify({ model: 'm', messages: [question], ...body }) });
}

/// JSON of each `data:` line but [DONE].
async function events(response) {
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: {'));
  return lines.map((line) => JSON.parse(line.slice(6)));
}

test('usage can be recounted, and a stream says and counts the same', async () => {
  const { choices, usage } = await (await ask({})).json();
  const { content } = choices[0].message;
  assert.equal(usage.prompt_tokens, recount(question.content));
  assert.equal(usage.completion_tokens, recount(content));

  const chunks = await events(await ask({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.deepEqual(chunks.at(-1).usage, usage);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
});

test('a limit on output truncates and is counted', async () => {
  const { choices, usage } = await (await ask({ max_tokens: 4 })).json();
  assert.equal(choices[0].finish_reason, 'length');
  assert.equal(usage.completion_tokens, 4);
  assert.equal(recount(choices[0].message.content), 4);
});

for (const [behaviour, status, retryAfter] of [['429', 429, null], ['429-retry-7', 429, '7'], ['503', 503, null], ['500', 500, null]]) {
  test(`${behaviour} answers ${status}`, async () => {
    const response = await ask({}, { behaviour });
    assert.equal(response.status, status);
    assert.equal(response.headers.get('retry-after'), retryAfter);
    assert.equal(typeof (await response.json()).error.message, 'string');
  });
}

test('integer-code is a flat error with a number', async () => {
  const response = await ask({}, { behaviour: 'integer-code' });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).code, 400);
});

test('tokens-N, cached-N and reasoning-N are what the usage says', async () => {
  const { usage } = await (await ask({}, { behaviour: 'tokens-25+cached-2+reasoning-9' })).json();
  assert.equal(usage.completion_tokens, 25);
  assert.equal(usage.prompt_tokens_details.cached_tokens, 2);
  assert.equal(usage.completion_tokens_details.reasoning_tokens, 9);
});

test('usage-every-chunk counts up, no-usage says nothing', async () => {
  const counting = await events(await ask({ stream: true }, { behaviour: 'tokens-5+usage-every-chunk' }));
  assert.deepEqual(counting.map((chunk) => chunk.usage.completion_tokens), [0, 1, 2, 3, 4, 5, 5]);
  const silent = await events(await ask({ stream: true, stream_options: { include_usage: true } }, { behaviour: 'no-usage' }));
  assert.ok(silent.length > 0 && silent.every((chunk) => chunk.usage === undefined));
  assert.equal((await (await ask({}, { behaviour: 'no-usage' })).json()).usage, undefined);
});

test('cut-N ends a stream after N tokens without an end', async () => {
  const response = await ask({ stream: true }, { behaviour: 'tokens-9+cut-3' });
  const seen = [];
  await assert.rejects(async () => {
    for await (const bytes of response.body) seen.push(Buffer.from(bytes).toString());
  });
  assert.equal(seen.join('').match(/"content":" ?\w+"/g).length, 3);
  assert.ok(!seen.join('').includes('[DONE]'));
});

test('slow-N waits before the first byte', async () => {
  const began = performance.now();
  await (await ask({}, { behaviour: 'slow-150' })).text();
  assert.ok(performance.now() - began >= 150);
});

test('held-N stops a stream after N of its events, until the mode is set again', async () => {
  const response = await ask({ stream: true }, { behaviour: 'held-3+tokens-9' });
  const reader = response.body.getReader();
  let seen = '';
  const count = () => seen.match(/"content":" ?\w+"/g)?.length ?? 0;
  const more = async () => {
    const { done, value } = await reader.read();
    if (!done) seen += Buffer.from(value).toString();
    return !done;
  };
  while (count() < 2) assert.ok(await more());
  const next = more();
  assert.equal(await Promise.race([next, new Promise((resolve) => { setTimeout(resolve, 100, 'nothing'); })]), 'nothing');
  await server.behave('');
  assert.ok(await next);
  while (await more());
  assert.equal(count(), 9);
  assert.match(seen, /data: \[DONE\]\s*$/);
});

test('held answers wait until the mode is set again; whether it is alive is told all the while', async () => {
  let answered = 0;
  await server.resetCounts();
  await server.behave('held');
  const held = Array.from({ length: 3 }, async () => {
    const response = await ask({});
    await response.text();
    answered++;
    return response.status;
  });
  await waitFor('all to be asked', async () => (await server.report()).requests['/v1/chat/completions'] === held.length);
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  assert.equal(answered, 0);
  await server.behave('');
  assert.deepEqual(await Promise.all(held), [200, 200, 200]);
});

test('garbage is no JSON, huge is huge, refuse and hang give no answer', async () => {
  await assert.rejects(async () => (await ask({}, { behaviour: 'garbage' })).json(), SyntaxError);
  const { choices, usage } = await (await ask({}, { behaviour: 'huge' })).json();
  assert.equal(choices[0].message.content.length, 2 * 1024 * 1024);
  assert.equal(usage.completion_tokens, 1);
  await assert.rejects(ask({}, { behaviour: 'refuse' }));
  await assert.rejects(fetch(`${server.url}/misbehave/hang/v1/chat/completions`,
    { method: 'POST', body: JSON.stringify({ model: 'm', messages: [] }), signal: AbortSignal.timeout(200) }), { name: 'TimeoutError' });
});

test('the model\'s name and the control port ask for the same; refusing there closes the door until it is opened', async () => {
  assert.equal((await ask({ model: '503' })).status, 503);
  await server.behave('500');
  assert.equal((await ask({})).status, 500);
  await server.behave('refuse');
  await assert.rejects(ask({}));
  await server.behave('');
  assert.equal((await ask({})).status, 200);
  await assert.rejects(server.behave('no-such-word'));
});

test('it tells what it was asked', async () => {
  await server.resetCounts();
  await ask({ model: 'x' });
  await ask({ model: 'y' });
  const report = await server.report();
  assert.equal(report.requests['/v1/chat/completions'], 2);
  assert.deepEqual(report.recent.map(({ body }) => JSON.parse(body).model), ['x', 'y']);
});

test('embeddings are unit vectors of the text, as numbers and as base64; rerank puts the fitting document first', async () => {
  const embed = async (over) => (await (await ask({ input: 'a b', dimensions: 8, ...over }, { target: '/v1/embeddings' })).json());
  const { data, usage } = await embed({});
  const vector = data[0].embedding;
  assert.equal(vector.length, 8);
  assert.ok(Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
  assert.equal(usage.prompt_tokens, 2);
  const packed = Buffer.from((await embed({ encoding_format: 'base64' })).data[0].embedding, 'base64');
  assert.deepEqual([...new Float32Array(packed.buffer, packed.byteOffset, 8)], vector);
  const { results } = await (await ask({ query: 'blue sky', documents: ['red sea', 'the blue sky'] }, { target: '/v1/rerank' })).json();
  assert.deepEqual(results.map(({ index }) => index), [1, 0]);
});

test('Anthropic\'s dialect counts cached input apart and ends with message_stop', async () => {
  const { usage } = await (await ask({ max_tokens: 100 }, { behaviour: 'cached-2', target: '/v1/messages' })).json();
  assert.equal(usage.input_tokens, recount(question.content) - 2);
  assert.equal(usage.cache_read_input_tokens, 2);
  const stream = await events(await ask({ stream: true, max_tokens: 3 }, { target: '/v1/messages' }));
  assert.equal(stream.at(-1).type, 'message_stop');
  assert.equal(stream.find(({ type }) => type === 'message_delta').usage.output_tokens, 3);
});
