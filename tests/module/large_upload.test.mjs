// A recording of 100 MB goes through a worker that keeps a little of it at a time: whole, wherever its model field stands,
// charged by its length, and with others served beside it.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { chatBody } from './traffic.mjs';

const FILE_BYTES = 100 * 1024 * 1024;
const PIECE = randomBytes(1024 * 1024);
const PIECES = FILE_BYTES / PIECE.length;
const BOUNDARY = 'a-boundary-that-is-not-in-the-file';
const MOST_GROWTH = 32 * 1024 * 1024;
const sha256 = (update) => { const hash = createHash('sha256'); update(hash); return hash.digest('hex'); };
const EXPECTED = sha256((hash) => { for (let i = 0; i < PIECES; i++) hash.update(PIECE); });

let stack;
let recorder;
const received = [];
before(async () => {
  recorder = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method === 'POST') received.push(Buffer.concat(chunks));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"text":"A long talk.","usage":{"type":"duration","seconds":60}}');
    });
  });
  recorder.keepAliveTimeout = 0;  // or a connection may be closed just as the gate uses it again
  recorder.listen(0, '127.0.0.1');
  await once(recorder, 'listening');
  stack = await startStack({
    name: 'large_upload',
    workers: 1,
    models: ([server]) => [
      { name: 'ear', access: 'allowed', audio_cost_per_hour: '0.36', endpoints: [{ id: 'ear-1', url: `http://127.0.0.1:${recorder.address().port}/v1`, model: 'org/their-ear' }] },
      { name: 'demo', access: 'allowed', endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
    ],
  });
});
after(async () => {
  recorder?.close();
  recorder?.closeAllConnections?.();
  await stack?.stop();
});

const FIELD = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\near\r\n`;
const FILE_HEAD = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\nContent-Type: audio/wav\r\n\r\n`;
const END = `--${BOUNDARY}--\r\n`;

async function upload(key, before, behind) {
  const { hostname, port } = new URL(stack.url);
  const request = http.request({ hostname, port, method: 'POST', path: '/v1/audio/transcriptions', headers: {
    authorization: `Bearer ${key}`, 'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
    'content-length': before.length + FILE_HEAD.length + FILE_BYTES + 2 + behind.length + END.length,
  } });
  const answered = once(request, 'response');
  request.write(before + FILE_HEAD);
  for (let i = 0; i < PIECES; i++) if (!request.write(PIECE)) await once(request, 'drain');
  request.end(`\r\n${behind}${END}`);
  const [response] = await answered;
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, headers: response.headers, text };
}

/// The file in a form, and the model that it names.
function partsOf(form) {
  const start = form.indexOf('\r\n\r\n', form.indexOf('filename=')) + 4;
  const end = form.indexOf(`\r\n--${BOUNDARY}`, start);
  const rest = Buffer.concat([form.subarray(0, start), form.subarray(end)]).toString('latin1');
  return { file: form.subarray(start, end), model: /name="model"\r\n\r\n([^\r]*)\r\n/.exec(rest)?.[1] };
}

// Its own memory: pages of the temporary file that it has mapped are the kernel's to take back.
const residentBytes = () => Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${stack.workers()[0]}/status`, 'utf8'))[1]) * 1024;

for (const [place, before, behind] of [['before', FIELD, ''], ['behind', '', FIELD]]) {
  test(`100 MB with the model field ${place} the file`, async (t) => {
    const { account, key } = await stack.newAccount();
    received.length = 0;
    const resident = residentBytes();
    let most = 0;
    const look = setInterval(() => { most = Math.max(most, residentBytes() - resident); }, 50);
    const running = upload(key, before, behind);
    for (let i = 0; i < 5; i++) {
      const other = await stack.post('/v1/chat/completions', chatBody());
      assert.equal(other.status, 200, 'others are served meanwhile');
      await other.text();
    }
    const { status, headers, text } = await running;
    clearInterval(look);
    assert.equal(status, 200, text);
    const { file, model } = partsOf(received[0]);
    assert.deepEqual([file.length, sha256((hash) => hash.update(file)), model], [FILE_BYTES, EXPECTED, 'org/their-ear']);
    t.diagnostic(`${Math.round(most / 1024)} KiB more memory in the worker`);
    assert.ok(most < MOST_GROWTH);
    assert.equal(headers['x-lumen-cost'], '0.006000000');
    await waitFor('it to be settled', async () => (await stack.wallet(account)).balance === 5_000_000_000n - 6_000_000n);
  });
}
