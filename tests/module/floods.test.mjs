// What hostile, broken or merely odd clients send: headers without end, requests that never end, what is no HTTP. The gate
// refuses in its own words, keeps its memory, and serves the others meanwhile; what is odd but right it serves.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { freePort, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from './traffic.mjs';

const FLOODS = 200;

// What an operator may put in front of the gate, and what a client is then told.
const GUARDS = {
  rerank: { directive: 'deny all;', status: 403, type: 'permission_error', code: 'ip_not_allowed' },
  score: { directive: 'auth_basic staff; auth_basic_user_file /dev/null;', status: 401, type: 'invalid_request_error', code: null },
  embeddings: { directive: 'limit_req zone=few;', passes: 1, status: 503, type: 'service_unavailable_error', code: 'server_is_overloaded', headers: { 'retry-after': '2' } },
  moderations: { directive: 'return 503;', status: 503, type: 'service_unavailable_error', code: 'server_is_overloaded', headers: { 'retry-after': '2' } },
};

let stack;
let impatientPort;  // where clients have two seconds for their headers, and for each piece of their body
before(async () => {
  impatientPort = await freePort();
  stack = await startStack({
    name: 'floods',
    workers: 1,
    settings: { app: { cors_origins: ['*'] } },
    nginx: (file, text) => {
      if (file === 'nginx.conf') return text.replace('server_tokens off;', 'server_tokens off;\n    limit_req_zone $server_port zone=few:1m rate=1r/m;')
        .replace(/    server \{\n        listen [^]*?\n    \}\n/, (server) => server + server.replace(/listen [^;]+;/, `listen 127.0.0.1:${impatientPort};\n        client_header_timeout 2s;\n        client_body_timeout 2s;`));
      if (file !== 'lumen.conf') return text;
      const guarded = (path, directive) => `location = /v1/${path} { lumen on; ${directive} include lumen_proxy.conf; proxy_pass https://lumen_models; }\n`;
      return `${text}\n${Object.entries(GUARDS).map(([path, { directive }]) => guarded(path, directive)).join('')}`;
    },
  });
});
after(() => stack?.stop());

const port = () => Number(new URL(stack.url).port);
const residentBytes = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${stack.workers()[0]}/status`, 'utf8'))[1]) * 1024;

/// Writes `head` and then whatever `more` gives until the gate has had enough; what it answered.
async function flood(head, more) {
  const socket = net.connect(port(), '127.0.0.1');
  let answer = '';
  socket.on('error', () => {});  // it was cut off in the middle of a word, as it should be
  socket.on('data', (bytes) => { answer += bytes; });
  // Not events.once(), which an error rejects: a reset is an end like any other here.
  const closed = new Promise((resolve) => { socket.once('close', resolve); });
  socket.write(head);
  for (let i = 0; !socket.destroyed && answer === '' && i < 2000; i++) {
    if (!socket.write(more(i))) await Promise.race([new Promise((resolve) => { socket.once('drain', resolve); }), closed]);
    await new Promise(setImmediate);
  }
  socket.end();
  await closed;
  return answer;
}

async function served() {
  const response = await stack.post('/v1/chat/completions', chatBody());
  assert.equal(response.status, 200);
  await response.text();
}

const HEAD = 'POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\n';
const KINDS = [
  { name: 'many small headers', more: (i) => `X-Flood-${i}: ${'a'.repeat(80)}\r\n`.repeat(20) },
  { name: 'one header without end', head: 'X-Endless: ', more: () => 'a'.repeat(4096) },
  { name: 'many Authorization headers', more: () => 'Authorization: Bearer sk_x\r\n' },
];
for (const { name, head = '', more } of KINDS) {
  test(`${FLOODS} connections at once with ${name}: refused as JSON, and others are served`, async () => {
    // As many that behave come first: what the worker keeps for so many connections is not the flood's.
    const { account, key } = await stack.newAccount();
    await stack.modelServers[0].behave('held');
    const behaving = Array.from({ length: FLOODS }, () => stack.post('/v1/chat/completions', chatBody(), { key }).then((answer) => answer.text()));
    await waitFor('all of them to be there', async () => (await stack.wallet(account)).running === BigInt(FLOODS));
    await stack.modelServers[0].behave('');
    await Promise.all(behaving);
    const before = residentBytes();
    const floods = Array.from({ length: FLOODS }, () => flood(HEAD + head, more));
    for (let i = 0; i < 10; i++) await served();
    const answers = await Promise.all(floods);
    // A connection that is closed with bytes of the client's unread is reset, and the answer may go with it.
    const told = answers.filter((answer) => answer !== '');
    assert.ok(told.length > 0);
    for (const answer of told) {
      assert.match(answer, /^HTTP\/1\.1 400 /);
      assert.match(answer, /content-type: application\/json/i);
      assert.equal(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))).error.type, 'invalid_request_error');
    }
    const grown = residentBytes() - before;
    // Of a connection: header buffers 33 KB, some 350 headers of 70 bytes in nginx's list, pools 7 KB; 64.5 KB in all.
    assert.ok(grown < FLOODS * 72 * 1024, `the memory of a flood is bounded: ${grown} bytes`);
    await served();
  });
}

test('requests that never end are given up in time, and hold no coins', async () => {
  const { account, key } = await stack.newAccount();
  const body = JSON.stringify(chatBody());
  const halves = Array.from({ length: 100 }, (_, i) => {
    const socket = net.connect(impatientPort, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    // Every other one ends in its headers, the rest in its body.
    const head = `${HEAD}Authorization: Bearer ${key}\r\nContent-Length: ${body.length}\r\n`;
    socket.write(i % 2 === 0 ? head : `${head}\r\n${body.slice(0, 20)}`);
    return new Promise((resolve) => { socket.once('close', resolve); });
  });
  await served();
  await Promise.all(halves);
  await waitFor('nothing to be held', async () => (await stack.wallet(account)).running === 0n);
  assert.equal((await stack.wallet(account)).balance, 5_000_000_000n);
});

// ---- one strange request -------------------------------------------------------------------------------------------

const body = JSON.stringify(chatBody());

/// All that comes back until the gate closes the connection, as answers: [{status, headers, text}].
function exchange(text) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port(), '127.0.0.1', () => socket.write(text));
    let came = '';
    socket.on('data', (bytes) => { came += bytes; });
    socket.on('error', (error) => came === '' && reject(error));  // its answer is there, and then it may break
    socket.on('close', () => resolve(came.split(/(?=HTTP\/1\.1 \d{3} )/).map((answer) => {
      const [head, ...rest] = answer.split('\r\n\r\n');
      const [, ...lines] = head.split('\r\n');
      return { status: Number(answer.split(' ')[1]), headers: new Headers(lines.map((line) => line.split(/: ?(.*)/s).slice(0, 2))), text: rest.join('\r\n\r\n') };
    })));
  });
}

const lines = (...all) => all.map((line) => `${line}\r\n`).join('');
const withKey = () => lines('Host: gate', `Authorization: Bearer ${stack.key}`, 'Connection: close');
const post = (...more) => `POST /v1/chat/completions HTTP/1.1\r\n${withKey()}${lines(...more)}\r\n`;

const NO_HTTP = [
  { row: 'TRACE', text: () => `TRACE /v1/chat/completions HTTP/1.1\r\n${withKey()}\r\n`, status: 405, code: 'method_not_allowed', allow: 'POST' },
  { row: 'CONNECT', text: () => `CONNECT /v1/models HTTP/1.1\r\n${withKey()}\r\n`, status: 405, code: 'method_not_allowed', allow: 'GET, HEAD' },
  { row: 'a transfer coding that nobody knows', text: () => `${post('Transfer-Encoding: gzip, chunked')}0\r\n\r\n`, status: 501 },
  { row: 'two lengths', text: () => `${post('Transfer-Encoding: chunked', 'Content-Length: 5')}0\r\n\r\n`, status: 400 },
  { row: 'chunks that are none', text: () => `${post('Transfer-Encoding: chunked')}zz\r\n{}\r\n0\r\n\r\n`, status: 400 },
  { row: 'a length below zero', text: () => `${post('Content-Length: -5')}{}`, status: 400 },
  { row: 'no Host', text: () => lines('POST /v1/chat/completions HTTP/1.1', 'Connection: close', ''), status: 400 },
  { row: 'a path that is wrongly escaped', text: () => `GET /v1/models/%zz HTTP/1.1\r\n${withKey()}\r\n`, status: 400 },
  { row: 'a zero byte in the path', text: () => `GET /v1/models/%00 HTTP/1.1\r\n${withKey()}\r\n`, status: 400 },
  { row: 'a path longer than any', text: () => `GET /v1/models/${'a'.repeat(40_000)} HTTP/1.1\r\n${withKey()}\r\n`, status: 414 },
  { row: 'a version to come', text: () => `GET /v1/models HTTP/7.0\r\n${withKey()}\r\n`, status: 505 },
];
for (const { row, text, status, code = null, allow = null } of NO_HTTP) {
  test(`what nginx itself refuses is refused as JSON: ${row}`, async () => {
    const [answer] = await exchange(text());
    assert.equal(answer.status, status);
    assert.match(answer.headers.get('content-type'), /^application\/json/);
    assert.equal(answer.headers.get('x-request-id')?.length, 36);
    const { error } = JSON.parse(answer.text);
    assert.deepEqual([error.type, error.code, answer.headers.get('allow')], ['invalid_request_error', code, allow]);
  });
}

const ODD = [
  { row: 'in chunks with an extension and a trailer', text: () => `${post('Transfer-Encoding: chunked')}5;x=1\r\n${body.slice(0, 5)}\r\n${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n0\r\nX-Trailer: a\r\n\r\n` },
  { row: 'from HTTP/1.0', text: () => `${lines('POST /v1/chat/completions HTTP/1.0', `Authorization: Bearer ${stack.key}`, `Content-Length: ${body.length}`)}\r\n${body}` },
  { row: 'with a scheme in small letters', text: () => `${lines('POST /v1/chat/completions HTTP/1.1', 'Host: gate', `authorization: bearer   ${stack.key}`, 'Connection: close', `Content-Length: ${body.length}`)}\r\n${body}` },
  { row: 'with conditions, a range, another method and place, an upgrade', text: () => `${post('If-Match: "x"', 'If-None-Match: *', 'If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT', 'Range: bytes=0-3', 'X-HTTP-Method-Override: GET', 'X-Original-URL: /lumen/status', 'Upgrade: websocket', `Content-Length: ${body.length}`)}${body}` },
  { row: 'with an empty Authorization beside x-api-key', text: () => `${lines('POST /v1/chat/completions HTTP/1.1', 'Host: gate', 'Authorization: Bearer ', `x-api-key: ${stack.key}`, 'Connection: close', `Content-Length: ${body.length}`)}\r\n${body}` },
  { row: 'for the models, with conditions that only documents can meet', text: () => `GET /v1/models HTTP/1.1\r\n${withKey()}${lines('If-Match: "x"', 'If-None-Match: *', 'If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT', 'Range: bytes=0-3')}\r\n` },
];
for (const { row, text } of ODD) {
  test(`served: a request ${row}`, async () => {
    const [answer, ...more] = await exchange(text());
    assert.deepEqual([answer.status, more.length], [200, 0], answer.text);
    assert.ok(['chat.completion', 'list'].includes(JSON.parse(answer.text).object));
  });
}

test('two keys: Authorization is the one that counts', async () => {
  const both = (bearer, other) => lines('POST /v1/chat/completions HTTP/1.1', 'Host: gate', `Authorization: Bearer ${bearer}`, `x-api-key: ${other}`, 'Connection: close', `Content-Length: ${body.length}`);
  for (const [bearer, other, status] of [[stack.key, 'wrong', 200], ['wrong', stack.key, 401]])
    assert.equal((await exchange(`${both(bearer, other)}\r\n${body}`))[0].status, status);
});

test('a client that waits for 100 gets it, and then its answer; pipelined requests are answered in turn, each for itself', async () => {
  const waited = await exchange(`${post('Expect: 100-continue', `Content-Length: ${body.length}`)}${body}`);
  assert.deepEqual(waited.map(({ status }) => status), [100, 200]);
  const one = (key, more = []) => `${lines('POST /v1/chat/completions HTTP/1.1', 'Host: gate', `Authorization: Bearer ${key}`, ...more, `Content-Length: ${body.length}`)}\r\n${body}`;
  const answers = await exchange(one(stack.key) + one('wrong') + one(stack.key) + one(stack.key, ['Connection: close']));
  assert.deepEqual(answers.map(({ status }) => status), [200, 401, 200, 200]);
  assert.equal(new Set(answers.map(({ headers }) => headers.get('x-request-id'))).size, 4);
});

test('where every page may call, each answer says so, also what nginx itself refuses; asking takes no key', async () => {
  const origin = 'Origin: https://anywhere.example';
  const asked = [
    [`OPTIONS /v1/chat/completions HTTP/1.1\r\n${lines('Host: gate', 'Connection: close', origin, 'Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: authorization')}\r\n`, 204],
    [`${post(origin, `Content-Length: ${body.length}`)}${body}`, 200],
    [`${post(origin, 'Content-Length: 1')}{`, 400],
    [`${post(origin, 'Transfer-Encoding: chunked')}zz\r\n{}\r\n0\r\n\r\n`, 400],
    [`GET /v1/nothing HTTP/1.1\r\n${withKey()}${lines(origin)}\r\n`, 404],
  ];
  for (const [text, status] of asked) {
    const [answer] = await exchange(text);
    assert.deepEqual([answer.status, answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')], [status, '*', null], text);
  }
});

for (const [path, { directive, passes = 0, status, type, code, headers = {} }] of Object.entries(GUARDS)) {
  test(`nginx's own guards speak first, and as the API does: ${directive}`, async () => {
    const { account, key } = await stack.newAccount();
    const ask = () => stack.post(`/v1/${path}`, { model: 'demo', input: 'hello' }, { key });
    for (let i = 0; i < passes; i++) assert.equal((await ask()).status, 200);
    const answer = await ask();
    const { error } = await answer.json();
    assert.deepEqual([answer.status, error.type, error.code], [status, type, code]);
    assert.equal(answer.headers.get('x-request-id')?.length, 36);
    for (const [name, value] of Object.entries(headers)) assert.equal(answer.headers.get(name), value);
    await waitFor('nothing to be held', async () => (await stack.wallet(account)).running === 0n);
  });
}
