// What servers really send, and what clients and configurations really do (spec/api.md §4): whatever it is, a request has one
// row, the row says what it used, and the bytes are the server's.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { costOf, parseCoins } from '../harness/coins.mjs';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chunkedAnswer, startRawEndpoint } from './scripted_endpoint.mjs';
import { chatBody } from './traffic.mjs';

const PRICE = { input: '0.15', output: '0.6' };
const SOURCE = { none: 0, final: 1, continuous: 2, estimated: 3 };

let stack;
let raw;
before(async () => {
  raw = await startRawEndpoint();
  stack = await startStack({
    name: 'metering_edges',
    models: ([server]) => [
      { name: 'raw', access: 'allowed', input_cost_per_million: PRICE.input, output_cost_per_million: PRICE.output, endpoints: [{ id: 'raw-1', url: `${raw.url}/v1`, api_key: 'sk-of-the-endpoint' }] },
      { name: 'demo', access: 'allowed', input_cost_per_million: PRICE.input, output_cost_per_million: PRICE.output, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
    ],
    // What an operator may do around the gate.
    nginx: (file, text) => (file === 'lumen.conf'
      ? text.replace('lumen_drain_aborted 5s;', 'lumen_drain_aborted 60s;').replace('include lumen_proxy.conf;', 'include lumen_proxy.conf;\n    mirror /mirror;\n    mirror_request_body off;\n    auth_request /ask;\n    error_page 502 504 /sorry;')
        + `\nlocation = /mirror { internal; proxy_set_header X-Told "$lumen_upstream_authorization$lumen_identity$lumen_account"; proxy_pass ${stackMirror()}; }\n`
        + 'location = /ask { internal; return 204; }\nlocation = /sorry { internal; return 502 "sorry"; }\n'
      : text),
  });
});
after(async () => {
  raw?.close();
  mirror.close();
  await stack?.stop();
});

// Hears what nginx mirrors, and keeps it.
const mirrored = [];
const mirror = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (data) => {
    mirrored.push(data.toString());
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
});
mirror.listen(0, '127.0.0.1');
const stackMirror = () => `http://127.0.0.1:${mirror.address().port}`;

const data = (object) => `data: ${typeof object === 'string' ? object : JSON.stringify(object)}\n\n`;
const delta = (content) => data({ id: 'x', choices: [{ index: 0, delta: { content } }] });
const usage = (prompt, completion) => ({ prompt_tokens: prompt, completion_tokens: completion });
const usageChunk = (value) => data({ id: 'x', choices: [], usage: value });
const FINISH = data({ id: 'x', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const DONE = data('[DONE]');
const TEXT = [delta('Yes'), delta(', it is.')];

/// Lets the endpoint say `events` once and asks for it: {response, text, row}.
async function ask(events, { pause, byByte = false, ...over } = {}) {
  Object.assign(raw.script, { bytes: chunkedAnswer('text/event-stream', events), cutAfter: undefined, pause, byByte });
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw', stream: true, ...over }));
  const text = await response.text();
  const [row, ...more] = await stack.ledger(response.headers.get('x-request-id'));
  assert.equal(more.length, 0, 'one row a request');
  return { response, text, row };
}

const withoutComment = (text) => text.replace(/^: lumen cost=\S+ request=\S+\r?\n\r?\n/m, '');
const used = (row) => [Number(row.tokens_in), Number(row.tokens_out), Number(row.usage_source)];

const USAGES = [
  { row: 'at the end', events: [...TEXT, FINISH, usageChunk(usage(7, 4)), DONE], expected: [7, 4, SOURCE.final] },
  { row: 'twice: the last one counts, and nothing is added', events: [...TEXT, FINISH, usageChunk(usage(7, 4)), usageChunk(usage(7, 5)), DONE], expected: [7, 5, SOURCE.final] },
  { row: 'in every chunk, growing', events: [data({ choices: [{ index: 0, delta: { content: 'a' } }], usage: usage(7, 1) }), data({ choices: [{ index: 0, delta: { content: 'b' }, finish_reason: 'stop' }], usage: usage(7, 2) }), DONE], expected: [7, 2, SOURCE.final] },
  { row: 'of a wrong type', events: [...TEXT, FINISH, usageChunk('7'), usageChunk([7, 4]), usageChunk({ prompt_tokens: '7', completion_tokens: null }), DONE], source: SOURCE.estimated },
  { row: 'negative', events: [...TEXT, FINISH, usageChunk(usage(-7, -4)), DONE], source: SOURCE.estimated },
  { row: 'in fractions', events: [...TEXT, FINISH, usageChunk(usage(7.5, 4.5)), DONE], source: SOURCE.estimated },
  { row: 'beyond belief', events: [...TEXT, FINISH, usageChunk(usage(2 ** 53, 2 ** 53)), DONE], source: SOURCE.estimated },
  { row: 'L15: zero is zero', events: [...TEXT, FINISH, usageChunk(usage(0, 0)), DONE], expected: [0, 0, SOURCE.final] },
  { row: 'null, which is none', events: [...TEXT, FINISH, usageChunk(null), DONE], source: SOURCE.estimated },
  { row: 'in no chunk', events: [...TEXT, FINISH, DONE], source: SOURCE.estimated },
  { row: 'after [DONE], which is too late', events: [...TEXT, FINISH, DONE, usageChunk(usage(7, 4))], source: SOURCE.estimated },
  { row: 'at the end of a stream without output', events: [FINISH, usageChunk(usage(7, 0)), DONE], expected: [7, 0, SOURCE.final] },
  { row: 'nowhere in a stream without output', events: [FINISH, DONE], expected: [0, 0, SOURCE.none] },
];
for (const { row: name, events, expected, source } of USAGES) {
  test(`usage ${name}`, async () => {
    const { response, row } = await ask(events);
    assert.equal(response.status, 200);
    const [input, output, from] = used(row);
    if (expected) assert.deepEqual([input, output, from], expected);
    else assert.deepEqual([from, output], [source, Math.ceil('Yes, it is.'.length / 4)]);
    assert.equal(BigInt(row.cost), costOf({ input, output }, PRICE));
  });
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

const WHOLE = [...TEXT, FINISH, usageChunk(usage(7, 4)), DONE];
const LINES = [
  { row: 'CRLF', events: WHOLE.map((event) => event.replaceAll('\n', '\r\n')) },
  { row: 'comments, `event:`, `id:` and `retry:` lines', events: [': hello\n\n', `event: chunk\nid: 1\nretry: 10\n${TEXT[0]}`, ': ping\n', ...WHOLE.slice(1)] },
  { row: 'events that begin and end anywhere', events: WHOLE.join('').match(/[^]{1,7}/g) },
  { row: 'data over several lines', events: [`data: {"choices":[{"index":0,\ndata: "delta":{"content":"Yes, it is."}}]}\n\n`, ...WHOLE.slice(2)] },
];
for (const { row: name, events } of LINES) {
  test(`a stream passes as it is: ${name}`, async () => {
    const { text, row } = await ask(events, { stream_options: { include_usage: true } });
    assert.equal(withoutComment(text), events.join(''));
    assert.deepEqual(used(row), [7, 4, SOURCE.final]);
  });
}

test('a stream that comes byte by byte is the same stream', async () => {
  const { text, row } = await ask(WHOLE, { byByte: true });
  assert.equal(withoutComment(text), [...TEXT, FINISH, DONE].join(''));
  assert.deepEqual(used(row), [7, 4, SOURCE.final]);
});

test('a line of 10 MB passes, and what follows it is read', async () => {
  const long = delta('x'.repeat(10 * 1024 * 1024));
  const { text, row } = await ask([long, ...WHOLE.slice(2)]);
  assert.equal(withoutComment(text).length, long.length + FINISH.length + DONE.length);
  assert.deepEqual(used(row), [7, 4, SOURCE.final]);
});

test('an error in a stream is told without what it gives away', async () => {
  const { text } = await ask([TEXT[0], data({ error: { message: `no route to ${raw.url} for sk-of-the-endpoint`, code: 500 } }), DONE]);
  assert.ok(!text.includes(raw.url) && !text.includes('sk-of-the-endpoint'), text);
  const { error } = JSON.parse(text.split('\n\n').find((event) => event.includes('"error"')).slice(6));
  assert.deepEqual([error.message, error.code], ['no route to [removed] for [removed]', null]);
});

test('compression is not asked for', async () => {
  await ask(WHOLE);
  assert.doesNotMatch(raw.script.head, /^accept-encoding:/im);
});

// ---- whoever leaves ------------------------------------------------------------------------------------------------

/// Sends a request by hand and closes the connection once `bytes` of the answer are there (0: when it was asked).
function leaveAfter(bytes, key) {
  const body = JSON.stringify(chatBody({ model: 'raw', stream: true }));
  const { hostname, port } = new URL(stack.url);
  const asked = raw.script.requests;
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, hostname, () => socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: lumen\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
    let seen = 0;
    socket.on('data', (chunk) => {
      seen += chunk.length;
      if (seen >= bytes) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', resolve);
    if (bytes === 0) waitFor('the endpoint to be asked', () => raw.script.requests > asked).then(() => socket.destroy(), reject);
  });
}

test('L13, L16: a client that leaves at any byte pays once, and what the stream came to', async () => {
  const bytes = chunkedAnswer('text/event-stream', WHOLE);
  const { account, key } = await stack.newAccount();
  const cost = costOf({ input: 7, output: 4 }, PRICE);
  const places = Array.from({ length: 20 }, (_, i) => i * 31);  // of an answer whose header alone has some 400 bytes
  for (const at of places) {
    // The endpoint pauses in the middle, so that most leave while it still speaks.
    Object.assign(raw.script, { bytes, cutAfter: undefined, byByte: false, pause: [bytes.indexOf('it is') + (at % 60), 20] });
    await leaveAfter(at, key);
  }
  const rows = await waitFor('all to be settled', async () => {
    const found = await stack.sql("select cost, usage_source, status, duration_ms from ledger_events where account_id = :'account' and kind = 1 order by at, bseq", { account });
    return found.length >= places.length && found;
  });
  assert.equal(rows.length, places.length);
  for (const row of rows) assert.deepEqual([BigInt(row.cost), Number(row.usage_source)], [cost, SOURCE.final], JSON.stringify(rows));
  const left = places.length;
  const wallet = await stack.wallet(account);
  assert.deepEqual([wallet.balance, wallet.held, wallet.running], [parseCoins('5') - cost * BigInt(left), 0n, 0n]);
});

// ---- around the gate -----------------------------------------------------------------------------------------------

test('subrequests are no requests, and are told nothing', async () => {
  mirrored.length = 0;
  const { row } = await ask(WHOLE);
  assert.equal(used(row)[1], 4);
  await waitFor('the mirror to be told', () => mirrored.length > 0);
  for (const head of mirrored) {
    assert.ok(!head.includes('sk-of-the-endpoint') && !head.includes('signature='), head);
    assert.equal(/^x-told: (.*)\r$/im.exec(head)?.[1] ?? '', '');
  }
});

test('an error page of the operator\'s own costs nothing either', async () => {
  Object.assign(raw.script, { bytes: 'x', cutAfter: 0, pause: undefined, byByte: false });
  const { account, key } = await stack.newAccount();
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'raw' }), { key });
  assert.deepEqual([response.status, await response.text()], [502, 'sorry']);
  assert.equal(response.headers.get('x-request-id')?.length, 36, 'on every answer');
  await waitFor('nothing to run', async () => (await stack.wallet(account)).running === 0n);
  assert.equal((await stack.wallet(account)).balance, parseCoins('5'));
});

test('HEAD is no way to a model', async () => {
  const response = await stack.fetch('/v1/chat/completions', { method: 'HEAD' });
  assert.deepEqual([response.status, response.headers.get('allow')], [405, 'POST']);
});

test('L11: no path but the listed ones leads to a model server', async () => {
  await stack.modelServers[0].resetCounts();
  for (const path of ['/v1/', '/v1/files', '/v1/chat/completions/', '/v1//chat/completions/x', '/v1/images/edits', '/v1/batches', '/v1/fine_tuning/jobs', '/v1/messages/batches', '/v1/engines']) {
    const response = await stack.post(path, chatBody());
    assert.equal(response.status, 404, path);
    assert.match((await response.json()).error.type, /^(invalid_request_error|not_found_error)$/);
  }
  const { '/health': probes = 0, ...asked } = (await stack.modelServers[0].report()).requests;
  assert.deepEqual(asked, {});
});
