// What hostile or broken clients send: headers without end, and requests that never end. The gate refuses in its own
// words, keeps its memory, and serves the others meanwhile.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from './traffic.mjs';

const FLOODS = 200;

let stack;
before(async () => {
  stack = await startStack({
    name: 'floods',
    workers: 1,
    nginx: (file, text) => (file === 'nginx.conf' ? text.replace('server_tokens off;', 'server_tokens off;\n    client_header_timeout 2s;\n    client_body_timeout 2s;') : text),
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
    await Promise.all(Array.from({ length: FLOODS }, served));
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
    const socket = net.connect(port(), '127.0.0.1');
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
