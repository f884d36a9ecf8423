// Ten thousand streams open at once on one worker, and readers that do not read: what each costs in memory, that the gate
// goes on serving others, and that every stream ends whole and settled.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { freePort, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from './traffic.mjs';

const STREAMS = 10_000;
/// Each stream costs the worker two sockets, and an unprivileged process may have 20,000 in many places: some clients
/// share connections, as HTTP/2 lets them.
const SHARED = 2_000;
const STREAMS_PER_CONNECTION = 100;
const AT_ONCE = 250;  // being opened; a listening socket queues no more than some hundred
const MOST_BYTES_PER_STREAM = 48 * 1024;

const event = (text) => `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: text } }] })}\n\n`;
const FIRST = event('Once');
const REST = `${event(' upon')}data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', choices: [], usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 } })}\n\ndata: [DONE]\n\n`;
const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

let stack;
let h2Port;
let tightPort;  // on which nginx's sockets hold little, so that a reader that does not read is soon felt
let endpoint;
let storyteller;
before(async () => {
  h2Port = await freePort();
  tightPort = await freePort();
  endpoint = await startEndpoint();
  storyteller = await startStoryteller();
  stack = await startStack({
    name: 'many_streams',
    workers: 1,
    models: ([server]) => [
      { name: 'open', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'open-1', url: `${endpoint.url}/v1` }] },
      { name: 'story', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'story-1', url: `${storyteller.url}/v1` }] },
      { name: 'long', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'long-1', url: `${server}/misbehave/tokens-60000/v1` }] },
      { name: 'demo', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
    ],
    nginx: (file, text) => text.replace('worker_connections 16384;', 'worker_connections 19500;')
      .replace(/(listen 127\.0\.0\.1:\d+);/, `$1 backlog=1024;\n        listen 127.0.0.1:${h2Port} http2;\n        listen 127.0.0.1:${tightPort} sndbuf=32k;`),
  });
});
after(async () => {
  endpoint?.close();
  storyteller?.close();
  await stack?.stop();
});

/// Begins to answer each request at once, and ends it when told to.
async function startEndpoint() {
  const open = new Set();
  const server = net.createServer((socket) => {
    let asked = '';
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.on('data', (bytes) => {
      asked += bytes.toString('latin1');
      const body = asked.indexOf('\r\n\r\n') + 4;
      if (body < 4) return;
      if (asked.startsWith('GET')) return socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');  // a probe
      if (asked.length - body < Number(/content-length: (\d+)/i.exec(asked)[1])) return;
      asked = '';
      open.add(socket);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(FIRST)}`);
    });
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    open,
    finish: () => { for (const socket of open) socket.end(`${chunk(REST)}0\r\n\r\n`); },
    close: () => { for (const socket of open) socket.destroy(); server.close(); },
  };
}

/// What the storyteller says to each who asks: its own number, in pieces of many lengths.
const STORY_EVENTS = 1500;
const storyEvent = (number, i, usage) => `data: ${JSON.stringify({ id: `story-${number}`, choices: [{ index: 0, delta: { content: `${number}.${i} ${'x'.repeat((number * 31 + i * 7) % 900)}` } }], ...usage })}\n\n`;
const story = (number, usage) => Array.from({ length: STORY_EVENTS }, (_, i) => storyEvent(number, i, usage));

async function startStoryteller() {
  const server = http.createServer(async (request, response) => {
    let asked = '';
    for await (const part of request) asked += part;
    if (request.method === 'GET') return response.end();  // a probe
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const number = Number(JSON.parse(asked).messages[0].content);
    for (const text of story(number, { usage: null })) {
      if (!response.write(text)) await once(response, 'drain');
    }
    response.end(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 1, completion_tokens: STORY_EVENTS, total_tokens: 1 + STORY_EVENTS } })}\n\ndata: [DONE]\n\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}

const BODY = JSON.stringify(chatBody({ model: 'open', stream: true, messages: [{ role: 'user', content: 'Tell me a story.' }] }));

/// {began, ended}: promises of the first event and of all the text.
function watch(source) {
  let text = '';
  let began;
  const stream = { began: new Promise((resolve) => { began = resolve; }) };
  stream.ended = new Promise((resolve, reject) => {
    source.on('error', reject);
    source.on('data', (bytes) => {
      text += bytes;
      if (text.includes(FIRST.trimEnd())) began();
    });
    source.on('close', () => resolve(text));
  });
  return stream;
}

function openOwn(key) {
  const socket = net.connect(Number(new URL(stack.url).port), '127.0.0.1');
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n`
    + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(BODY)}\r\n\r\n${BODY}`);
  return watch(socket);
}

function openShared(session, key) {
  const request = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', authorization: `Bearer ${key}`, 'content-type': 'application/json' });
  request.end(BODY);
  return watch(request);
}

async function openAll(count, open) {
  const streams = [];
  while (streams.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - streams.length) }, (_, i) => open(streams.length + i));
    await Promise.all(some.map(({ began }) => began));
    streams.push(...some);
  }
  return streams;
}

const statusBytes = (pid, row) => Number(new RegExp(`^${row}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
const residentBytes = (pid) => statusBytes(pid, 'VmRSS');
/// Since it began, or since this was last reset.
const mostResidentBytes = (pid) => statusBytes(pid, 'VmHWM');
/// proc(5): the peak is what is resident now.
const forgetPeak = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, '5');
const noneRunning = (account) => waitFor('all to be settled', async () => (await stack.wallet(account)).running === 0n);

// L13, L22. First, while no other test has left memory that could be used again unseen.
test('clients that leave cost the gate no memory while it reads on for what they owe', async (t) => {
  const leavers = 20;
  const { account, key } = await stack.newAccount({ max: '1000' });
  const [worker] = stack.workers();
  const body = JSON.stringify(chatBody({ model: 'long', stream: true }));
  forgetPeak(worker);
  const before = mostResidentBytes(worker);
  await Promise.all(Array.from({ length: leavers }, async () => {
    const socket = net.connect(Number(new URL(stack.url).port), '127.0.0.1');
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n`
      + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await once(socket, 'data');
    socket.destroy();
  }));
  await noneRunning(account);
  const grown = mostResidentBytes(worker) - before;
  t.diagnostic(`${Math.round(grown / leavers / 1024)} KiB of the worker's memory per client that left`);
  assert.ok(grown < leavers * 512 * 1024);
});

test('10,000 streams at once on one worker', async (t) => {
  const { account, key } = await stack.newAccount({ max: '1000' });
  const [worker] = stack.workers();
  const sessions = Array.from({ length: SHARED / STREAMS_PER_CONNECTION }, () => http2.connect(`http://127.0.0.1:${h2Port}`));
  const before = residentBytes(worker);
  const shared = await openAll(SHARED, (n) => openShared(sessions[n % sessions.length], key));
  const streams = [...shared, ...await openAll(STREAMS - SHARED, () => openOwn(key))];
  assert.equal(endpoint.open.size, STREAMS);
  const perStream = (residentBytes(worker) - before) / STREAMS;
  t.diagnostic(`${Math.round(perStream)} bytes of the worker's memory per stream`);
  assert.ok(perStream < MOST_BYTES_PER_STREAM);

  const other = await stack.post('/v1/chat/completions', chatBody());
  assert.equal(other.status, 200, 'others are served meanwhile');
  await other.text();

  endpoint.finish();
  for (const { ended } of streams) {
    const text = await ended;
    assert.ok(text.includes('data: [DONE]'), text.slice(-200));
  }
  for (const session of sessions) session.close();
  await noneRunning(account);
  assert.deepEqual(stack.workers(), [worker], 'the same worker');
  const [{ count, cost }] = await waitFor('all to be booked', async () => {
    const rows = await stack.sql("select count(*) as count, sum(cost) as cost from ledger_events where account_id = :'account' and kind = 1", { account });
    return Number(rows[0].count) === STREAMS && rows;
  });
  assert.deepEqual([Number(count), BigInt(cost)], [STREAMS, BigInt(STREAMS) * 2000n]);
});

test('readers that do not read cost the gate a bounded memory, hold up nobody, and get all of it in the end', async (t) => {
  const readers = 20;
  const { account, key } = await stack.newAccount({ max: '1000' });
  const [worker] = stack.workers();
  const body = JSON.stringify(chatBody({ model: 'long', stream: true }));
  const before = residentBytes(worker);
  const sockets = await Promise.all(Array.from({ length: readers }, async () => {
    const socket = net.connect(Number(new URL(stack.url).port), '127.0.0.1');
    socket.pause();
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n`
      + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await once(socket, 'connect');
    return socket;
  }));
  await waitFor('all to run', async () => (await stack.wallet(account)).running === BigInt(readers));
  for (let i = 0; i < 20; i++) {
    const other = await stack.post('/v1/chat/completions', chatBody());
    assert.equal(other.status, 200);
    await other.text();
  }
  const grown = residentBytes(worker) - before;
  t.diagnostic(`${Math.round(grown / readers / 1024)} KiB of the worker's memory per reader that does not read`);
  assert.ok(grown < readers * 512 * 1024);
  assert.equal((await stack.wallet(account)).running, BigInt(readers), 'none could end, as nobody read');
  const texts = await Promise.all(sockets.map(async (socket) => {
    let bytes = 0;
    let end = '';
    socket.on('data', (data) => { bytes += data.length; end = (end + data).slice(-4000); });
    socket.resume();
    await once(socket, 'close');
    return { bytes, end };
  }));
  for (const { bytes, end } of texts) {
    assert.ok(bytes > 5_000_000);
    assert.match(end, /data: \[DONE\]/);
  }
  await noneRunning(account);
});

test('what streams are read into is shared: each client gets its own story to the byte, whether it reads at once, late or never for a while', async () => {
  const tellers = 24;
  const { account, key } = await stack.newAccount({ max: '1000' });
  const slow = (number) => number % 2 === 0;
  const ask = (number) => new Promise((resolve, reject) => {
    const request = http.request({
      host: '127.0.0.1', port: tightPort, method: 'POST', path: '/v1/chat/completions', agent: false,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
    request.on('error', reject).on('response', resolve);
    request.end(JSON.stringify(chatBody({ model: 'story', stream: true, messages: [{ role: 'user', content: String(number) }] })));
  });
  const read = async (response) => {
    let text = '';
    for await (const part of response.setEncoding('utf8')) text += part;
    return text;
  };
  const answers = await Promise.all(Array.from({ length: tellers }, (_, number) => ask(number)));
  const texts = new Map();
  const quick = answers.map(async (answer, number) => { if (!slow(number)) texts.set(number, await read(answer)); });
  await Promise.all(quick);
  await waitFor('all to be through but those that do not read', async () => (await stack.wallet(account)).running === BigInt(tellers / 2));
  await Promise.all(answers.map(async (answer, number) => { if (slow(number)) texts.set(number, await read(answer)); }));
  for (const [number, text] of texts) {
    const told = text.replace(/: lumen cost=\S+ request=\S+\n\n/, '');
    assert.ok(told === `${story(number).join('')}data: [DONE]\n\n`, `story ${number}`);
  }
  await noneRunning(account);
});
