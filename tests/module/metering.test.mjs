// What an answer costs, whatever form it has and wherever it breaks off (spec/api.md §4, L13, L14, L15, L29).
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { costOf, formatCoins, parseCoins } from '../harness/coins.mjs';
import { waitFor } from '../harness/machine.mjs';
import { nginxIsOlder } from '../harness/programs.mjs';
import { startStack } from '../harness/stack.mjs';
import { startModelServer } from './model_servers.mjs';
import { chatAnswer, chunkedAnswer, startRawEndpoint } from './scripted_endpoint.mjs';
import { chatBody, Connections } from './traffic.mjs';

const PRICE = { input: '0.15', output: '0.6' };
const SOURCE = { none: 0, final: 1, continuous: 2, estimated: 3 };
const MISBEHAVIOURS = ['no-usage', 'usage-every-chunk', 'huge', 'cut-3+tokens-40', 'garbage', 'pace-5+tokens-100', 'tokens-4000'];
const nameOf = (words) => words.replaceAll('+', '-');

let stack;
let raw;
let steered;
before(async () => {
  raw = await startRawEndpoint();
  steered = await startModelServer();
  const model = (name, url) => ({
    name, access: 'allowed', input_cost_per_million: PRICE.input, output_cost_per_million: PRICE.output,
    endpoints: [{ id: `${name}-1`, url }],
  });
  stack = await startStack({
    name: 'metering',
    // What a slow machine takes to produce the rest of an answer is not the question here.
    nginx: (file, text) => text.replace('lumen_drain_aborted 5s;', 'lumen_drain_aborted 60s;'),
    models: ([server]) => [
      model('demo', `${server}/v1`),
      model('raw', `${raw.url}/v1`),
      model('steered', steered.url),
      ...['', 'misbehave/cut-3+tokens-40/'].map((words) => ({
        ...model(words === '' ? 'counting' : 'counting-cut'),
        endpoints: [{ url: `${server}/${words}v1`, continuous_usage: true }],
      })),
      ...MISBEHAVIOURS.map((words) => model(nameOf(words), `${server}/misbehave/${words}/v1`)),
    ],
  });
});
after(async () => {
  raw?.close();
  steered?.close();
  await stack?.stop();
});

/// Asks for one answer and waits until it is in the book: {response, text, row}.
async function ask(model, over = {}) {
  const response = await stack.post('/v1/chat/completions', chatBody({ model, ...over }));
  const text = await response.text();
  const [row, ...more] = await stack.ledger(response.headers.get('x-request-id'));
  assert.equal(more.length, 0, 'one row a request');
  return { response, text, row };
}

const comment = /^: lumen cost=(\S+) request=(\S+)$/m;
const events = (text) => text.split('\n\n').filter((event) => event.startsWith('data: ')).map((event) => event.slice(6));
const errorOf = (text) => events(text).filter((data) => data !== '[DONE]').map((data) => {
  try { return JSON.parse(data).error; } catch { return undefined; }
}).find((error) => error);

test('a stream is byte for byte the server\'s, but for the usage we asked for and the comment before [DONE]', async () => {
  const body = chatBody({ model: 'demo', stream: true });
  const direct = await (await fetch(`${stack.modelServers[0].url}/v1/chat/completions`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  })).text();
  const { text } = await ask('demo', { stream: true });
  const plain = (stream) => stream.replace(/"created":\d+/g, '').replace(/"id":"[^"]*"/g, '').replace(/"(model)":"[^"]*"/g, '');
  assert.equal(plain(text.replace(/^: lumen [^\n]*\n\n/m, '')), plain(direct));
  assert.ok(text.indexOf(': lumen cost=') < text.indexOf('data: [DONE]'));
});

test('a client that asked for usage gets it, and pays the same', async () => {
  const asked = await ask('demo', { stream: true, stream_options: { include_usage: true } });
  const chunk = events(asked.text).filter((data) => data !== '[DONE]').map((data) => JSON.parse(data)).find(({ usage }) => usage);
  assert.equal(String(chunk.usage.completion_tokens), asked.row.tokens_out);
  const silent = await ask('demo', { stream: true });
  assert.ok(!silent.text.includes('"usage"'));
  assert.equal(silent.row.cost, asked.row.cost);
});

for (const { model, stream, source } of [
  { model: 'demo', stream: false, source: 'final' },
  { model: 'demo', stream: true, source: 'final' },
  { model: 'huge', stream: false, source: 'final' },
  { model: 'huge', stream: true, source: 'final' },
  { model: 'usage-every-chunk', stream: true, source: 'final' },
  { model: 'no-usage', stream: false, source: 'estimated' },
  { model: 'no-usage', stream: true, source: 'estimated' },
  { model: 'tokens-4000', stream: true, source: 'final' },
]) {
  test(`${model}, ${stream ? 'streamed' : 'whole'}: charged by ${source} usage, and the client is told the same`, async () => {
    const { response, text, row } = await ask(model, { stream });
    assert.equal(response.status, 200);
    assert.equal(Number(row.usage_source), SOURCE[source]);
    const cost = costOf({ input: Number(row.tokens_in), output: Number(row.tokens_out) }, PRICE);
    assert.ok(cost > 0n);
    assert.equal(BigInt(row.cost), cost);
    const told = stream ? comment.exec(text)[1] : response.headers.get('x-lumen-cost');
    // Only an answer that is too long to be held goes without the header (spec/api.md §3).
    if (model === 'huge' && !stream) assert.equal(told, null);
    else assert.equal(told, formatCoins(cost));
  });
}

test('garbage instead of JSON is an error of the server, and costs nothing', async () => {
  const { response, text, row } = await ask('garbage');
  assert.equal(response.status, 502);
  assert.equal(JSON.parse(text).error.code, 'upstream_error');
  assert.equal(BigInt(row.cost), 0n);
  assert.equal(Number(row.usage_source), SOURCE.none);
});

test('L14, L29: a stream that breaks off says so, has no [DONE], and is charged for what came', async () => {
  const { text, row } = await ask(nameOf('cut-3+tokens-40'), { stream: true });
  assert.equal(errorOf(text).code, 'upstream_stream_interrupted');
  assert.ok(!text.includes('[DONE]'));
  assert.equal(Number(row.usage_source), SOURCE.estimated);
  assert.ok(BigInt(row.cost) > 0n);
});

test('an endpoint that counts as it goes is asked to: what breaks off is charged by its count, and the client sees none of it', async () => {
  const cut = await ask('counting-cut', { stream: true });
  assert.equal(errorOf(cut.text).code, 'upstream_stream_interrupted');
  assert.equal(Number(cut.row.usage_source), SOURCE.continuous);
  assert.equal(Number(cut.row.tokens_out), 3);
  assert.equal(BigInt(cut.row.cost), costOf({ input: Number(cut.row.tokens_in), output: 3 }, PRICE));
  const whole = await ask('counting', { stream: true });
  assert.equal(Number(whole.row.usage_source), SOURCE.final);
  for (const { text } of [cut, whole]) assert.ok(!text.includes('"usage"'), text);
});

test('a stream that broke off, or was stopped for want of coins, leaves the client\'s connection as was said', async () => {
  const connections = new Connections(stack.url, 1);
  const ports = new Set();
  const stream = async (model, key, code) => {
    const answer = await connections.post(0, '/v1/chat/completions', key, chatBody({ model, stream: true }));
    assert.equal(answer.headers.connection, 'keep-alive');
    assert.equal(errorOf(answer.body)?.code, code);
    assert.ok(answer.complete);
    connections.ports().forEach((port) => ports.add(port));
  };
  for (let i = 0; i < 20; i++) {
    const { key } = await stack.newAccount({ max: '0.0014', mode: 'strict' });
    await stream('demo', stack.key, undefined);
    await stream(nameOf('cut-3+tokens-40'), stack.key, 'upstream_stream_interrupted');
    await stream('tokens-4000', key, 'insufficient_quota');
  }
  connections.close();
  assert.equal(ports.size, 1, [...ports].join());
});

const SSE = [
  ...['Yes', ', it', ' is.'].map((content) => `data: {"id":"x","choices":[{"index":0,"delta":{"content":"${content}"}}]}\n\n`),
  'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
  'data: {"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11}}\n\n',
  'data: [DONE]\n\n',
];

test('cut after any byte, a stream never looks like a success', async () => {
  raw.script.bytes = chunkedAnswer('text/event-stream', SSE);
  const whole = raw.script.bytes.length;
  const done = raw.script.bytes.indexOf('data: [DONE]') + 'data: [DONE]\n'.length;
  for (let cut = 0; cut < whole; cut++) {
    raw.script.cutAfter = cut;
    const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw', stream: true }));
    const text = await response.text();
    const headerCame = cut >= raw.script.bytes.indexOf('\r\n\r\n') + 4;
    if (!headerCame) {
      assert.equal(response.status, 502, `cut after ${cut}`);
      assert.equal(JSON.parse(text).error.code, 'upstream_error', `cut after ${cut}`);
    } else if (text.includes('[DONE]')) {
      assert.ok(cut >= done, `cut after ${cut}: [DONE] before it came`);
    } else {
      assert.equal(errorOf(text)?.code, 'upstream_stream_interrupted', `cut after ${cut}: ${text}`);
      assert.ok(events(text).length >= 1 && events(text).every((data) => data.startsWith('{')), `cut after ${cut}: ${text}`);
    }
  }
});

test('cut after any byte, a whole answer is whole or an error that costs nothing', async () => {
  const json = JSON.stringify({ id: 'x', choices: [{ message: { content: 'Yes.' } }], usage: { prompt_tokens: 7, completion_tokens: 2 } });
  raw.script.bytes = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`;
  const { account, key } = await stack.newAccount();
  for (let cut = 0; cut < raw.script.bytes.length; cut++) {
    raw.script.cutAfter = cut;
    const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw' }), { key });
    assert.equal(response.status, 502, `cut after ${cut}`);
    assert.equal((await response.json()).error.code, 'upstream_error', `cut after ${cut}`);
  }
  await waitFor('all holds to end', async () => (await stack.wallet(account)).running === 0n);
  assert.equal((await stack.wallet(account)).balance, parseCoins('5'));
  raw.script.cutAfter = raw.script.bytes.length;
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw' }), { key });
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), JSON.parse(json));
  assert.equal(response.headers.get('x-lumen-cost'), formatCoins(costOf({ input: 7, output: 2 }, PRICE)));
});

test('bytes that are no HTTP are an error, not an answer', async () => {
  raw.script.bytes = 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n';
  raw.script.cutAfter = raw.script.bytes.length;
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw' }));
  assert.equal(response.status, 502);
  assert.equal((await response.json()).error.code, 'upstream_error');
});

test('L15: a usage of zero is zero, not an estimate', async () => {
  const json = JSON.stringify({ choices: [], usage: { prompt_tokens: 0, completion_tokens: 0 } });
  raw.script.bytes = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`;
  raw.script.cutAfter = undefined;
  const { row } = await ask('raw');
  assert.deepEqual([BigInt(row.cost), Number(row.usage_source)], [0n, SOURCE.final]);
});

test('a compressed answer passes unread and is estimated', async () => {
  raw.script.bytes = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n\x0b\x01\x80\x7b';
  raw.script.cutAfter = undefined;
  const requestId = await new Promise((resolve, reject) => {
    import('node:http').then(({ default: http }) => {
      const request = http.request(`${stack.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' } }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.headers['x-request-id']));
      });
      request.on('error', reject);
      request.end(JSON.stringify(chatBody({ model: 'raw' })));
    });
  });
  const [row] = await stack.ledger(requestId);
  assert.equal(Number(row.usage_source), SOURCE.estimated);
  assert.ok(BigInt(row.cost) > 0n);
});

/// Begins a request and leaves after the first byte of its answer, or at once; its id comes from the endpoint's report.
async function leave(model, { stream, afterFirstByte }) {
  const { account, key } = await stack.newAccount();
  const abort = new AbortController();
  const pending = stack.post('/v1/chat/completions', chatBody({ model, stream }), { key, signal: abort.signal });
  if (afterFirstByte) await (await pending).body.getReader().read();
  else await stack.waitForHold(account, pending);
  abort.abort();
  await pending.catch(() => {});
  await stack.modelServers[0].behave('');
  const rows = await waitFor('the settle', async () => {
    const found = await stack.sql('select * from ledger_events where account_id = :\'account\' and kind = 1', { account });
    return found.length > 0 && found;
  });
  assert.equal(rows.length, 1);
  assert.equal((await stack.wallet(account)).held, 0n);
  return rows[0];
}

test('L13: a client that leaves mid-stream pays for all that the model produced in the time it is read on', async () => {
  const row = await leave(nameOf('pace-5+tokens-100'), { stream: true, afterFirstByte: true });
  assert.equal(Number(row.usage_source), SOURCE.final);
  assert.equal(Number(row.tokens_out), 100);
  assert.equal(Number(row.status), 499);
});

test('L13: a client that leaves before the first byte pays for the answer too', async () => {
  await stack.modelServers[0].behave('held');
  const row = await leave('demo', { stream: false, afterFirstByte: false });
  assert.equal(Number(row.usage_source), SOURCE.final);
  assert.ok(BigInt(row.cost) > 0n);
});

test('the hold of a stream that lasts rolls: its end is put off, and it has what the stream has cost and a window more', async () => {
  const { account, key } = await stack.newAccount();
  let answer;
  steered.behave = (response) => { answer = response; };
  const say = (text) => answer.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text } }] })}\n\n`);
  const asked = stack.post('/v1/chat/completions', chatBody({ model: 'steered', stream: true }), { key });
  await waitFor('the server to be asked', () => answer);
  answer.writeHead(200, { 'content-type': 'text/event-stream' });
  say('Yes');
  const response = await asked;
  const text = response.text();
  const bucket = `{b${String(BigInt(account) % 256n).padStart(3, '0')}}`;
  const hold = async () => {
    const [amount, shadow, deadline] = (await stack.redis('HGET', `${bucket}:holds`, response.headers.get('x-request-id'))).split(' ').slice(0, 3).map(BigInt);
    return { amount, shadow, deadline };
  };
  const holdInWallet = () => waitFor('the wallet to hold as much', async () => {
    const now = await hold();
    return (await stack.wallet(account)).held === now.amount && now;
  });
  const first = await holdInWallet();
  const renewed = await waitFor('the first renewal, after two seconds', async () => {
    const now = await hold();
    return now.deadline > first.deadline && now.shadow > 0n && now;
  });
  say('x'.repeat(8 * 2048));  // 4,096 tokens: twice the window
  const grown = await waitFor('the hold to grow', async () => {
    const now = await hold();
    return now.shadow >= costOf({ output: 4096 }, PRICE) && now.amount >= now.shadow + costOf({ output: 2048 }, PRICE) && now;
  });
  assert.ok(grown.amount > renewed.amount);
  assert.equal((await holdInWallet()).amount, grown.amount);
  answer.end('data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4100}}\n\ndata: [DONE]\n\n');
  assert.match(await text, /\[DONE\]/);
  const [row] = await stack.ledger(response.headers.get('x-request-id'));
  assert.equal(BigInt(row.cost), costOf({ input: 7, output: 4100 }, PRICE));
  const wallet = await stack.wallet(account);
  assert.deepEqual([wallet.held, wallet.balance], [0n, parseCoins('5') - BigInt(row.cost)]);
  steered.behave = (server) => server.json(chatAnswer());
});

test('a strict stream that runs out of coins is stopped, and paid exactly for what it got', async () => {
  // Enough for the first hold, but not for 4,000 tokens.
  const { account, key } = await stack.newAccount({ max: '0.0014', mode: 'strict' });
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'tokens-4000', stream: true }), { key });
  const text = await response.text();
  assert.equal(response.status, 200);
  assert.equal(errorOf(text).code, 'insufficient_quota');
  assert.ok(!text.includes('[DONE]'));
  const [row] = await stack.ledger(response.headers.get('x-request-id'));
  const wallet = await stack.wallet(account);
  assert.equal(wallet.balance, parseCoins('0.0014') - BigInt(row.cost));
  assert.ok(wallet.balance >= 0n && wallet.balance < parseCoins('0.00005'), `${wallet.balance} left`);
  assert.equal(wallet.held, 0n);
});

test('errors of the server keep their status, speak our language and cost nothing', async () => {
  for (const [status, code, expected] of [[400, 'context_length_exceeded', 400], [401, null, 502], [403, null, 502], [404, null, 404], [422, 42, 422], [500, null, 502]]) {
    const json = JSON.stringify({ message: 'too long', type: 'BadRequestError', code });
    raw.script.bytes = `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\nServer: vllm\r\nX-Powered-By: gpu7\r\nSet-Cookie: a=b\r\nX-RateLimit-Limit-Requests: 3\r\nX-Request-Id: theirs\r\n\r\n${json}`;
    raw.script.cutAfter = undefined;
    const { response, text, row } = await ask('raw');
    const { error } = JSON.parse(text);
    assert.equal(response.status, expected, `${status}`);
    assert.equal(error.code, { 401: 'upstream_auth_failed', 403: 'upstream_auth_failed', 500: 'upstream_error', 400: code }[status] ?? null, `${status}`);
    for (const header of ['x-powered-by', 'set-cookie']) assert.equal(response.headers.get(header), null);
    assert.notEqual(response.headers.get('x-ratelimit-limit-requests'), '3', 'the limit is the one of this site');
    assert.notEqual(response.headers.get('x-request-id'), 'theirs');
    assert.equal(BigInt(row.cost), 0n);
    assert.equal(Number(row.status), expected);
  }
});

// ---- what an endpoint may not do ------------------------------------------------------------------------------------

const WHOLE = JSON.stringify(chatAnswer());

/// The raw endpoint says `bytes`, and keeps the connection open: {response, text, row}.
function told(bytes, over) {
  raw.script.bytes = bytes;
  raw.script.cutAfter = undefined;
  return ask('raw', over);
}

const answerOf = (head, body) => `HTTP/1.1 ${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

test('an endpoint gives nginx no orders, and its words for a status reach nobody', async () => {
  const orders = ['Redirect: /lumen/status', 'Redirect: /v1/models', 'Redirect: @admind_away', 'Limit-Rate: 1', 'Charset: koi8-r', 'Expires: 3600'];
  for (const order of orders) {
    const { response, text, row } = await told(answerOf(`200 gpu7.internal\r\nContent-Type: application/json\r\nX-Accel-${order}`, WHOLE));
    assert.deepEqual([response.status, text, response.headers.get('content-type')], [200, WHOLE, 'application/json'], order);
    assert.equal(response.statusText, 'OK');
    assert.deepEqual([row.tokens_in, row.tokens_out, row.status], ['7', '2', '200']);
  }
  const refused = await told(answerOf('404 gone from gpu7.internal\r\nContent-Type: application/json', '{"message":"no"}'));
  assert.deepEqual([refused.response.status, refused.response.statusText], [404, 'Not Found']);
});

test('an answer that is none of a model call is an error at once, wherever it leads to', async () => {
  // Each is followed by nothing: a body, or another answer, is not waited for. Since 1.29 nginx itself reads on behind
  // what only comes before an answer.
  const interim = nginxIsOlder('1.29') ? ['100 Continue', '103 Early Hints'] : [];
  for (const status of [...interim, '101 Switching Protocols', '204 No Content', '301 Moved', '302 Found', '304 Not Modified', '307 Temporary Redirect', '308 Permanent Redirect']) {
    const { response, text, row } = await told(answerOf(`${status}\r\nLocation: http://gpu7.internal:8000/v1\r\nContent-Type: application/json`, ''));
    assert.deepEqual([response.status, JSON.parse(text).error.code, row.cost], [502, 'upstream_error', '0'], status);
    assert.ok(![...response.headers].flat().join().includes('gpu7'), status);
  }
  const tunnel = await new Promise((resolve, reject) => {
    raw.script.bytes = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw bytes';
    const body = JSON.stringify(chatBody({ model: 'raw' }));
    const request = http.request(`${stack.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${stack.key}`, connection: 'upgrade', upgrade: 'x', 'content-length': body.length } }, resolve);
    request.on('upgrade', () => reject(new Error('a tunnel past the gate')));
    request.on('error', reject);
    request.end(body);
  });
  tunnel.resume();
  assert.equal(tunnel.statusCode, 502);
});

test('L14, L29: chunks that are malformed end an answer as a cut does', async () => {
  const head = (type) => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const json = await told(`${head('application/json')}zz\r\n{}\r\n`);
  assert.deepEqual([json.response.status, JSON.parse(json.text).error.code, json.row.cost], [502, 'upstream_error', '0']);
  for (const events of ['', SSE[0]]) {
    const chunk = events === '' ? '' : `${events.length.toString(16)}\r\n${events}\r\n`;
    const { text, row } = await told(`${head('text/event-stream')}${chunk}zz\r\n`, { stream: true });
    assert.equal(errorOf(text)?.code, 'upstream_stream_interrupted', text);
    assert.ok(text.startsWith(events));
    assert.equal(BigInt(row.cost) > 0n, events !== '');
  }
});

test('an error under the status of a success is one: told without what it gives away, and free of charge', async () => {
  for (const [json, message] of [
    [{ error: { message: 'no route to http://10.0.0.5:8000 for sk-of-the-endpoint', code: 500 } }, 'no route to [removed] for [removed]'],
    [{ error: 'model not loaded on gpu7:8000' }, 'model not loaded on [removed]'],
    [{ object: 'error', message: 'out of memory', code: 500 }, 'out of memory'],
  ]) {
    const { response, text, row } = await told(answerOf('200 OK\r\nContent-Type: application/json', JSON.stringify(json)));
    assert.deepEqual([response.status, JSON.parse(text).error, row.cost], [502, { message, type: 'server_error', param: null, code: 'upstream_error' }, '0']);
  }
});

test('an answer tells its cost in a header if it has 256 KiB at most, and is charged the same if it has more', async () => {
  const sized = (bytes) => {
    const json = chatAnswer();
    json.choices[0].message.content = '';
    json.choices[0].message.content = 'x'.repeat(bytes - JSON.stringify(json).length);
    return JSON.stringify(json);
  };
  const cost = costOf({ input: 7, output: 2 }, PRICE);
  for (const [bytes, header] of [[256 * 1024, formatCoins(cost)], [256 * 1024 + 1, null]]) {
    const json = sized(bytes);
    for (const answer of [answerOf('200 OK\r\nContent-Type: application/json', json), chunkedAnswer('application/json', [json.slice(0, 100_000), json.slice(100_000)])]) {
      const { response, text, row } = await told(answer);
      assert.deepEqual([text === json, response.headers.get('x-lumen-cost'), BigInt(row.cost)], [true, header, cost], `${bytes}`);
    }
  }
});

// ---- half a usage --------------------------------------------------------------------------------------------------

const TWELVE = 'Twelve bytes';  // 3 tokens, as estimates go
const typed = (type, over) => `event: ${type}\ndata: ${JSON.stringify({ type, ...over })}\n\n`;
const HALVES = [
  { path: 'chat/completions', json: (said) => ({ choices: [{ message: { content: TWELVE } }], usage: said }), names: ['prompt_tokens', 'completion_tokens'] },
  { path: 'completions', json: (said) => ({ choices: [{ text: TWELVE }], usage: said }), names: ['prompt_tokens', 'completion_tokens'] },
  { path: 'responses', json: (said) => ({ output: [{ content: [{ type: 'output_text', text: TWELVE }] }], usage: said }), names: ['input_tokens', 'output_tokens'] },
  { path: 'messages', json: (said) => ({ content: [{ type: 'text', text: TWELVE }], usage: said }), names: ['input_tokens', 'output_tokens'] },
  { path: 'chat/completions', events: (said) => [`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: TWELVE }, finish_reason: 'stop' }] })}\n\n`, `data: ${JSON.stringify({ choices: [], usage: said })}\n\n`, 'data: [DONE]\n\n'], names: ['prompt_tokens', 'completion_tokens'] },
  { path: 'responses', events: (said) => [typed('response.output_text.delta', { delta: TWELVE }), typed('response.completed', { response: { usage: said } })], names: ['input_tokens', 'output_tokens'] },
  { path: 'messages', events: (said) => [typed('message_start', { message: { usage: { ...said, output_tokens: 1 } } }), typed('content_block_delta', { delta: { type: 'text_delta', text: TWELVE } }), typed('message_delta', { usage: { output_tokens: said.output_tokens } }), typed('message_stop')], names: ['input_tokens', 'output_tokens'] },
];
for (const { path, json, events, names: [input, output] } of HALVES) {
  test(`L15: half a usage leaves neither half of ${path} ${events ? 'as a stream' : 'as JSON'} free`, async () => {
    const asked = [];
    for (const wrong of [undefined, -4, '4', 2 ** 60]) {
      for (const half of [input, output]) {
        const said = { [input]: 7, [output]: 7, [half]: wrong };
        raw.script.bytes = events ? chunkedAnswer('text/event-stream', events(said)) : answerOf('200 OK\r\nContent-Type: application/json', JSON.stringify(json(said)));
        const body = { model: 'raw', max_tokens: 20, messages: [], input: 'Tell me.', prompt: 'Tell me.', ...(events ? { stream: true } : {}) };
        const response = await stack.post(`/v1/${path}`, body);
        await response.text();
        asked.push({ wrong, half, id: response.headers.get('x-request-id') });
      }
    }
    const rows = await Promise.all(asked.map(({ id }) => stack.ledger(id)));
    asked.forEach(({ wrong, half }, i) => {
      const [row] = rows[i];
      const [tokensIn, tokensOut] = [row.tokens_in, row.tokens_out].map(Number);
      const context = `${half}: ${JSON.stringify(wrong)} is ${tokensIn} in, ${tokensOut} out`;
      assert.equal(Number(row.usage_source), SOURCE.estimated, context);
      if (half === input) assert.ok(tokensIn > 7 && tokensOut === 7, context);
      else assert.deepEqual([tokensIn, tokensOut], [7, 3], context);
      assert.equal(BigInt(row.cost), costOf({ input: tokensIn, output: tokensOut }, PRICE));
    });
  });
}
