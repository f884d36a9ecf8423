// Every priced path in its dialect, with every unit that is charged for (design.md §4, spec/api.md §4): the answer is the
// server's, the ledger row says what was used, and the cost is its price to the nano-coin.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { costOf, formatCoins, parseCoins } from '../harness/coins.mjs';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { form, silence } from './sounds.mjs';
import { leave } from './traffic.mjs';

// No two alike, so that no unit can be taken for another.
const PRICE = { input: '3', cached: '0.3', cacheWrite: '3.75', output: '15', reasoning: '20', characters: '30', audioHour: '0.36', image: '0.04', request: '0.001' };
// The model `timed`, which has no price on tokens.
const TIMED = { ...PRICE, input: '0', cached: '0', cacheWrite: '0', output: '0', reasoning: '0' };
const SOURCE = { none: 0, final: 1, continuous: 2, estimated: 3 };
const BEHAVIOURS = ['no-usage', 'huge', 'cut-1', 'held-1', 'usage-in-tokens', 'cached-2+cache-write-3+reasoning-4', 'cut-3+tokens-40', 'held-2+tokens-60'];
const nameOf = (words) => words.replaceAll('+', '-');

let stack;
before(async () => {
  const all = {
    access: 'allowed', input_cost_per_million: 3, cached_input_cost_per_million: 0.3, cache_write_cost_per_million: 3.75,
    output_cost_per_million: 15, reasoning_cost_per_million: 20, speech_cost_per_million_characters: 30,
    audio_cost_per_hour: 0.36, image_cost: 0.04, request_cost: 0.001,
  };
  stack = await startStack({
    name: 'dialects',
    // Who leaves is charged what the model produced: however long that takes.
    nginx: (file, text) => text.replace('lumen_drain_aborted 5s;', 'lumen_drain_aborted 60s;'),
    models: ([server]) => [
      { ...all, name: 'all', endpoints: [{ id: 'all-1', url: `${server}/v1`, model: 'org/"theirs"', api_key: 'sk-ant-of-ours' }] },
      { ...all, name: 'timed', input_cost_per_million: 0, output_cost_per_million: 0, cached_input_cost_per_million: 0, cache_write_cost_per_million: 0, reasoning_cost_per_million: 0, endpoints: [{ id: 'timed-1', url: `${server}/v1` }] },
      { ...all, name: 'asks', needs_ack: true, endpoints: [{ id: 'asks-1', url: `${server}/v1` }] },
      ...BEHAVIOURS.map((words) => ({ ...all, name: nameOf(words), endpoints: [{ id: `${nameOf(words)}-1`, url: `${server}/misbehave/${words}/v1` }] })),
    ],
  });
});
after(() => stack?.stop());

/// One call and its row in the book: {response, bytes, json, row}.
async function call(path, body, options = {}) {
  const response = await stack.fetch(`/v1/${path}`, {
    method: 'POST', ...(Buffer.isBuffer(body?.body) ? body : { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...options.headers } }),
    ...(options.key ? { key: options.key } : {}),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const rows = await stack.ledger(response.headers.get('x-request-id'));
  assert.equal(rows.length, 1, 'one row a request');
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return { response, bytes, text: bytes.toString(), json: isJson ? JSON.parse(bytes.toString()) : undefined, row: rows[0] };
}

const user = (content) => [{ role: 'user', content }];
const chatUsage = ({ usage }) => ({
  input: usage.prompt_tokens, cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
  output: usage.completion_tokens ?? 0, reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
});
const messageUsage = ({ usage }) => ({
  input: usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens,
  cached: usage.cache_read_input_tokens, cacheWrite: usage.cache_creation_input_tokens, output: usage.output_tokens,
});

const EVERYTHING = nameOf('cached-2+cache-write-3+reasoning-4');
const sound = silence(2_345);

// name: the path, and what is special; usage: what the answer says was used, as it is to be charged.
const CALLS = [
  { name: 'chat/completions', body: { model: EVERYTHING, messages: user('Tell me a few words, please.') }, usage: chatUsage },
  { name: 'completions', body: { model: 'all', prompt: 'Tell me.' }, usage: chatUsage },
  { name: 'responses', body: { model: EVERYTHING, input: 'Tell me a few words.' }, usage: ({ usage }) => ({
    input: usage.input_tokens, cached: usage.input_tokens_details.cached_tokens, output: usage.output_tokens, reasoning: usage.output_tokens_details.reasoning_tokens,
  }) },
  { name: 'messages', body: { model: EVERYTHING, max_tokens: 50, system: 'Be kind.', messages: user('Tell me a few words, please.') }, usage: messageUsage,
    check: ({ json }) => assert.ok(json.usage.cache_read_input_tokens === 2 && json.usage.cache_creation_input_tokens === 3) },
  { name: 'embeddings', body: { model: 'all', input: ['one', 'two words'] }, usage: chatUsage },
  { name: 'rerank', body: { model: 'all', query: 'two', documents: ['one', 'two words'] }, usage: chatUsage },
  { name: 'score', body: { model: 'all', text_1: 'two', text_2: ['one', 'two words'] }, usage: chatUsage },
  { name: 'moderations', body: { model: 'all', input: 'hello' }, source: 'estimated', usage: (json, sent) => ({ input: Math.ceil(sent / 4) }) },
  { name: 'audio/speech', body: { model: 'timed', input: 'grüß 🙂', voice: 'x' }, usage: () => ({ characters: 6 }), told: false,
    check: ({ response, bytes }) => {
      assert.equal(response.headers.get('content-type'), 'audio/wav');
      assert.equal(bytes.length, 44 + 6 * 480);
    } },
  { name: 'images/generations', body: { model: 'all', prompt: 'a white cat', n: 3 }, usage: ({ usage, data }) => ({ input: usage.input_tokens, output: usage.output_tokens, images: data.length }),
    check: ({ json }) => assert.equal(json.data.length, 3) },
  { name: 'images/generations, paid by the picture', body: { model: 'timed', prompt: 'a white cat', n: 2 }, usage: ({ usage }) => ({ input: usage.input_tokens, output: usage.output_tokens, images: 2 }) },
  { name: 'audio/transcriptions by the hour', body: form([['model', 'timed'], ['file', sound]]), usage: () => ({ audioMs: 2_345 }) },
  { name: 'audio/translations by the hour', body: form([['file', sound], ['model', 'timed']]), usage: () => ({ audioMs: 2_345 }) },
  { name: 'audio/transcriptions by the token', body: form([['model', 'usage-in-tokens'], ['file', sound]]), usage: ({ usage }) => ({ input: usage.input_tokens, output: usage.output_tokens }),
    check: ({ json }) => assert.equal(json.usage.input_tokens, 23) },
  { name: 'audio/transcriptions as verbose_json', body: form([['response_format', 'verbose_json'], ['model', 'timed'], ['file', sound]]), usage: () => ({ audioMs: 2_345 }) },
  ...['text', 'srt', 'vtt'].map((format) => ({
    name: `audio/transcriptions as ${format}, whose length is that of the file`, body: form([['response_format', format], ['file', sound], ['model', 'timed']]), source: 'estimated',
    usage: () => ({ audioMs: 2_345 }), check: ({ text }) => assert.match(text, /I heard 2345 ms of sound/),
  })),
  { name: 'audio/transcriptions of a file that is no PCM, as text', body: form([['response_format', 'text'], ['file', Buffer.alloc(16_001, 0xff)], ['model', 'timed']]), source: 'estimated', usage: () => ({ audioMs: 2_001 }) },
];

const isTimed = (body) => (Buffer.isBuffer(body.body) ? body.body.includes('\r\n\r\ntimed\r\n') : body.model === 'timed');

for (const { name, body, usage, source = 'final', told = true, check = () => {} } of CALLS) {
  test(`${name} is charged to the nano-coin`, async () => {
    const path = name.split(/[ ,]/)[0];
    const answer = await call(path, body);
    assert.equal(answer.response.status, 200, answer.text);
    check(answer);
    const used = usage(answer.json, JSON.stringify(body).length);
    const { row } = answer;
    assert.equal(Number(row.usage_source), SOURCE[source]);
    assert.deepEqual([row.tokens_in, row.tokens_out, row.tokens_cached, row.audio_ms].map(Number), [used.input ?? 0, used.output ?? 0, used.cached ?? 0, used.audioMs ?? 0]);
    const cost = costOf(used, isTimed(body) ? TIMED : PRICE);
    assert.ok(cost > parseCoins(PRICE.request), 'more than the fee');
    assert.equal(BigInt(row.cost), cost);
    assert.equal(answer.response.headers.get('x-lumen-cost'), told ? formatCoins(cost) : null);
  });
}

test('an answer that is no 2xx, or none at all, pays no request fee', async () => {
  try {
    for (const [behaviour, status, stream] of [['422', 422, false], ['garbage', 502, false], ['garbage', 200, true], ['cut-0', 502, false], ['cut-0', 200, true]]) {
      await stack.modelServers[0].behave(behaviour);
      const { response, row, text } = await call('chat/completions', { model: 'all', messages: user('Tell me a few words, please.'), stream });
      assert.deepEqual([response.status, row.cost, row.usage_source], [status, '0', '0'], `${behaviour}: ${text}`);
    }
  } finally {
    await stack.modelServers[0].behave('');
  }
});

// ---- Anthropic -----------------------------------------------------------------------------------------------------

const message = (over = {}) => ({ model: 'all', max_tokens: 64, messages: user('Tell me.'), ...over });
const anthropic = (key) => ({ 'x-api-key': key ?? stack.key, 'anthropic-version': '2023-06-01', 'content-type': 'application/json' });

/// As the SDK sends it: the key in x-api-key, no Authorization.
async function post(path, body, { key, ...headers } = {}) {
  const response = await fetch(`${stack.url}/v1/${path}`, { method: 'POST', body: JSON.stringify(body), headers: { ...anthropic(key), ...headers } });
  return { response, text: await response.text() };
}

const eventsOf = (text) => text.split('\n\n').filter((event) => event.startsWith('event: ')).map((event) => ({
  name: /^event: (.*)$/m.exec(event)[1], data: JSON.parse(/^data: (.*)$/m.exec(event)[1]),
}));

test('a message stream is the server\'s, with the cost before message_stop, and charged by its last message_delta', async () => {
  const { response, text } = await post('messages', message({ model: EVERYTHING, stream: true, messages: user('Tell me a few words, please.') }));
  assert.equal(response.status, 200);
  const names = eventsOf(text).map(({ name }) => name);
  assert.deepEqual([...new Set(names)], ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']);
  const start = eventsOf(text)[0].data.message.usage;
  const { output_tokens: output } = eventsOf(text).find(({ name }) => name === 'message_delta').data.usage;
  const [row] = await stack.ledger(response.headers.get('x-request-id'));
  const cost = costOf(messageUsage({ usage: { ...start, output_tokens: output } }), PRICE);
  assert.equal(BigInt(row.cost), cost);
  assert.equal(Number(row.usage_source), SOURCE.final);
  const told = /: lumen cost=(\S+) request=(\S+)\n\nevent: message_stop\n/.exec(text);
  assert.deepEqual([told[1], told[2]], [formatCoins(cost), response.headers.get('x-request-id')]);
  assert.equal(response.headers.get('request-id'), response.headers.get('x-request-id'), 'where Anthropic\'s SDK looks');
});

test('a message stream that breaks off ends with an error event, and is charged its input and what came', async () => {
  const { response, text } = await post('messages', message({ model: nameOf('cut-3+tokens-40'), stream: true }));
  const last = eventsOf(text).at(-1);
  assert.deepEqual([last.name, last.data.type, last.data.error.type], ['error', 'error', 'api_error']);
  assert.ok(!text.includes('message_stop'));
  const [row] = await stack.ledger(response.headers.get('x-request-id'));
  const { input_tokens: input } = eventsOf(text)[0].data.message.usage;
  assert.deepEqual([Number(row.tokens_in), Number(row.usage_source)], [input, SOURCE.estimated]);
  assert.ok(Number(row.tokens_out) > 0);
  assert.equal(BigInt(row.cost), costOf({ input, output: Number(row.tokens_out) }, PRICE));
});

test('an endpoint gets its own key where its dialect looks for it, and never the caller\'s', async () => {
  await stack.modelServers[0].resetCounts();
  assert.equal((await post('messages?beta=true', message(), { 'anthropic-beta': 'tools-2024' })).response.status, 200);
  // What SDKs send of their user's account elsewhere, and what others take for a key.
  const theirs = { 'openai-organization': 'org-of-the-caller', 'openai-project': 'project-of-the-caller', 'api-key': stack.key, 'proxy-authorization': `Bearer ${stack.key}`, cookie: 'session=of-the-caller' };
  await (await stack.post('/v1/chat/completions', { model: 'all', messages: [] }, { headers: theirs })).text();
  const [asMessage, asChat] = (await stack.modelServers[0].report()).recent.filter(({ method }) => method === 'POST').slice(-2);
  assert.equal(asMessage.target, '/v1/messages?beta=true');
  assert.match(asMessage.head, /^x-api-key: sk-ant-of-ours\r$/im);
  assert.match(asMessage.head, /^anthropic-version: 2023-06-01\r$/im);
  assert.match(asMessage.head, /^anthropic-beta: tools-2024\r$/im);
  assert.doesNotMatch(asMessage.head, /^authorization:/im);
  assert.match(asChat.head, /^authorization: Bearer sk-ant-of-ours\r$/im);
  assert.doesNotMatch(asChat.head, /^x-api-key:/im);
  for (const { head } of [asMessage, asChat]) assert.ok(!head.includes(stack.key) && !head.includes('of-the-caller'), head);
  assert.equal(JSON.parse(asMessage.body).model, 'org/"theirs"');
});

test('counting tokens is free, but not for everyone', async () => {
  const poor = await stack.newAccount({ max: '5', starting: '0' });
  const before = await stack.wallet(poor.account);
  const { response, text } = await post('messages/count_tokens?beta=true', message({ max_tokens: undefined }), { key: poor.key });
  assert.equal(response.status, 200, text);
  assert.deepEqual(JSON.parse(text), { input_tokens: 3 });
  assert.equal(response.headers.get('x-lumen-cost'), null);
  assert.deepEqual(await stack.wallet(poor.account), before);
  assert.equal((await stack.sql("select 1 from ledger_events where request_id = :'id'", { id: response.headers.get('x-request-id') })).length, 0);

  const refusals = [
    [{ model: 'all' }, { key: 'sk_nothing' }, 401, 'authentication_error'],
    [{ model: 'nobody-has-this' }, {}, 404, 'not_found_error'],
    [{ model: 'asks' }, {}, 403, 'permission_error'],
  ];
  for (const [over, options, status, type] of refusals) {
    const refused = await post('messages/count_tokens', message(over), options);
    assert.equal(refused.response.status, status, refused.text);
    assert.equal(JSON.parse(refused.text).error.type, type);
  }
});

// ---- forms ---------------------------------------------------------------------------------------------------------

const MEGABYTE = 1024 * 1024;

for (const { where, ms } of [{ where: 'in memory', ms: 1_000 }, { where: 'in a temporary file, of 24 MB', ms: 3 * MEGABYTE }]) {
  for (const order of ['before', 'behind']) {
    test(`the model stands ${order} a file ${where}, and is the endpoint's when it gets there`, async () => {
      const model = ['model', 'all'];
      const file = ['file', silence(ms)];
      await stack.modelServers[0].resetCounts();
      const { response, json, row } = await call('audio/transcriptions', form(order === 'before' ? [model, file] : [file, model]));
      assert.equal(response.status, 200);
      assert.equal(json.text, `I heard ${ms} ms of sound.`, 'every byte arrived');
      assert.equal(Number(row.audio_ms), ms);
      if (order === 'before') {
        const { body } = (await stack.modelServers[0].report()).recent.at(-1);
        assert.match(body, /name="model"\r\n\r\norg\/"theirs"\r\n/);
      }
    });
  }
}

test('a form from its file is sent again to the next endpoint when the first one fails', async () => {
  const models = stack.models(stack.modelServers.map((server) => server.url));
  const [{ endpoints, ...all }] = models;
  stack.writeSettings({ models: [...models, { ...all, name: 'unsteady', endpoints: [
    { id: 'broken', url: `${stack.modelServers[0].url}/misbehave/500/v1`, model: 'a-longer-name-than-the-other-has', weight: 100 },
    { id: 'steady', url: `${stack.modelServers[0].url}/v1`, model: 's' },
  ] }] });
  await waitFor('the model to be there', async () => (await stack.fetch('/v1/models/unsteady')).status === 200);
  const body = form([['file', silence(MEGABYTE)], ['model', 'unsteady']]);
  let failedOver = 0;
  await waitFor('the broken endpoint to be asked twice', async () => {
    const { response, json } = await call('audio/transcriptions', body);
    assert.equal(response.status, 200);
    assert.equal(json.text, `I heard ${MEGABYTE} ms of sound.`);
    if (response.headers.get('x-lumen-attempts') === '2') failedOver++;
    return failedOver === 2;
  });
});

test('a transcript as a stream is charged by its last event', async () => {
  const { response, text, row } = await call('audio/transcriptions', form([['stream', 'true'], ['file', sound], ['model', 'timed']]));
  assert.equal(response.status, 200);
  assert.match(text, /transcript\.text\.done/);
  assert.match(text, /: lumen cost=\S+ request=\S+\n\ndata: \[DONE\]/);
  assert.deepEqual([Number(row.audio_ms), Number(row.usage_source)], [2_345, SOURCE.final]);
});

// ---- pictures as they come into being ------------------------------------------------------------------------------

const picture = (model, over = {}) => ({ model, prompt: 'a white cat', stream: true, partial_images: 2, ...over });

for (const { name, body, used, price = PRICE, source = SOURCE.final } of [
  { name: 'once, and by its tokens', body: picture('all'), used: { input: 3, output: 1056, images: 1 } },
  { name: 'the same when its events are 2 MiB each', body: picture('huge'), used: { input: 3, output: 1056, images: 1 } },
  { name: 'once where only pictures have a price', body: picture('timed', { partial_images: 0 }), used: { input: 3, output: 1056, images: 1 }, price: TIMED },
  { name: 'by an estimate of its request where the server says nothing', body: picture('no-usage'), used: { input: Math.ceil(JSON.stringify(picture('no-usage')).length / 4), images: 1 }, source: SOURCE.estimated },
]) {
  test(`a picture that is streamed is charged ${name}, and its stream passes byte by byte`, async () => {
    const { response, text, row } = await call('images/generations', body);
    assert.equal(response.status, 200, text.slice(0, 500));
    const cost = costOf(used, price);
    const [, events, told, id] = /^([^]*)\n: lumen cost=(\S+) request=(\S+)\n\n$/.exec(text);
    assert.deepEqual([told, id], [formatCoins(cost), response.headers.get('x-request-id')]);
    const straight = await fetch(`${stack.modelServers[0].url}${body.model === 'huge' ? '/misbehave/huge' : ''}/v1/images/generations`, { method: 'POST', body: JSON.stringify(body) });
    assert.equal(`${events}\n` === await straight.text(), true, 'the server\'s own bytes');
    assert.deepEqual([row.cost, row.usage_source].map(BigInt), [cost, BigInt(source)]);
  });
}

test('L14: a picture that breaks off says so, and costs nothing', async () => {
  const { text, row } = await call('images/generations', picture('cut-1'));
  assert.match(text, /partial_image[^]*upstream_stream_interrupted/);
  assert.ok(!text.includes('lumen cost'));
  assert.deepEqual([row.cost, row.usage_source].map(BigInt), [0n, BigInt(SOURCE.none)], 'no fee for the request either');
});

test('L13: who leaves after the first sight of a picture pays for it as it was finished', async () => {
  const { account, key } = await stack.newAccount();
  const abort = new AbortController();
  const response = await stack.post('/v1/images/generations', picture('held-1'), { key, signal: abort.signal });
  await response.body.getReader().read();
  await leave(stack, abort);
  const [row] = await stack.ledger(response.headers.get('x-request-id'));
  assert.deepEqual([row.cost, row.usage_source].map(BigInt), [costOf({ input: 3, output: 1056, images: 1 }, PRICE), BigInt(SOURCE.final)]);
  assert.equal((await stack.wallet(account)).held, 0n);
});

test('several pictures in one stream are refused', async () => {
  const response = await stack.post('/v1/images/generations', picture('all', { n: 2 }));
  const { error } = await response.json();
  assert.deepEqual([response.status, error.code, error.param], [400, 'invalid_value', 'n']);
});

const REFUSED_FORMS = [
  { row: 'JSON where a form is due', send: { body: Buffer.from('{"model":"all"}'), headers: { 'content-type': 'application/json' } }, status: 400, param: null },
  { row: 'a form without a boundary', send: { ...form([['model', 'all'], ['file', sound]]), headers: { 'content-type': 'multipart/form-data' } }, status: 400, param: null },
  { row: 'model twice', send: form([['model', 'all'], ['file', sound], ['model', 'timed']]), status: 400, param: 'model' },
  { row: 'model missing', send: form([['file', sound]]), status: 400, param: 'model' },
  { row: 'file missing', send: form([['model', 'all']]), status: 400, param: 'file' },
  { row: 'a form that breaks off', send: { ...form([['model', 'all'], ['file', sound]]), body: form([['model', 'all'], ['file', sound]]).body.subarray(0, 500) }, status: 400, param: null },
  { row: 'a model that nobody has', send: form([['model', 'none'], ['file', sound]]), status: 404, param: 'model' },
];
for (const { row, send, status, param } of REFUSED_FORMS) {
  test(`a form is refused: ${row}`, async () => {
    const response = await stack.fetch('/v1/audio/transcriptions', { method: 'POST', ...send });
    const { error } = await response.json();
    assert.equal(response.status, status, error.message);
    assert.equal(error.type, 'invalid_request_error');
    assert.equal(error.param, param);
  });
}

// ---- whoever leaves ------------------------------------------------------------------------------------------------

for (const { path, body } of [
  { path: 'messages', body: message({ model: nameOf('held-2+tokens-60'), stream: true }) },
  { path: 'responses', body: { model: nameOf('held-2+tokens-60'), input: 'Tell me.', stream: true } },
  { path: 'completions', body: { model: nameOf('held-2+tokens-60'), prompt: 'Tell me.', stream: true } },
]) {
  test(`L13: leaving a stream of ${path} is charged for what the model produced`, async () => {
    const { account, key } = await stack.newAccount();
    const abort = new AbortController();
    const response = await stack.post(`/v1/${path}`, body, { key, signal: abort.signal });
    await response.body.getReader().read();
    await leave(stack, abort);
    const [row] = await stack.ledger(response.headers.get('x-request-id'));
    assert.deepEqual([Number(row.tokens_out), Number(row.status), Number(row.usage_source)], [60, 499, SOURCE.final]);
    assert.equal((await stack.wallet(account)).held, 0n);
  });
}
