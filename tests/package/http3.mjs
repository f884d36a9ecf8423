// HTTP/3 through the gate, on an nginx that has it (1.25 or newer, with --with-http_v3_module): other_nginx.sh runs this on
// such a one. The client is aioquic.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, waitFor } from '../harness/machine.mjs';
import { pythonWith } from '../harness/python_packages.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from '../module/api_keys.mjs';
import { makeCertificate } from '../module/smtp_server.mjs';
import { chatBody } from '../module/traffic.mjs';

const here = path.join(checkout, 'tests/package');

let stack;
let certificate;
let keyFile;
let port;
let place;
let python;
before(async () => {
  python = path.join(pythonWith(path.join(here, 'http3_requirements.txt'), 'http3'), 'python');
  port = await freeUdpPort();
  place = mkdtempSync('/tmp/lumen-http3-');
  chmodSync(place, 0o755);
  certificate = makeCertificate(place);
  keyFile = certificate.certFile.replace(/crt$/, 'key');
  chmodSync(keyFile, 0o644);  // nginx runs as another user
  stack = await startStack({
    name: 'http3',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: '0.150000007', output_cost_per_million: '0.613', endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'long', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'two', url: `${server}/misbehave/pace-30+tokens-1000/v1` }] },
    ],
    nginx: (file, text) => (file === 'nginx.conf'
      ? text.replace(/listen 127\.0\.0\.1:\d+;/, `$&\n        listen 127.0.0.1:${port} quic reuseport;
        ssl_certificate ${certificate.certFile};
        ssl_certificate_key ${keyFile};`)
      : text),
  });
});
after(async () => {
  await stack?.stop();
  rmSync(place, { recursive: true, force: true });
});

function freeUdpPort() {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => {
      const { port: free } = socket.address();
      socket.close(() => resolve(free));
    });
  });
}

function chat(key, body, ...leave) {
  return new Promise((resolve, reject) => {
    const child = spawn(python, [path.join(here, 'http3_client.py'), port, certificate.certFile, key, ...leave].map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`the client ended with ${code}`))));
    child.stdin.end(JSON.stringify(body));
  });
}

const settled = (account) => waitFor('it to be settled', async () => {
  const wallet = await stack.wallet(account);
  return wallet.running === 0n && wallet;
});

test('a chat completion over HTTP/3 is admitted, answered and charged what it says', async () => {
  const { account, key } = await stack.newAccount();
  const answer = await chat(key, chatBody());
  assert.deepEqual([answer.ended, answer.status], ['whole', 200], answer.body);
  const { usage } = JSON.parse(answer.body);
  // Rounded up, once; in nano-coins.
  const cost = (BigInt(usage.prompt_tokens) * 150_000_007n + BigInt(usage.completion_tokens) * 613_000_000n + 999_999n) / 1_000_000n;
  assert.equal((await settled(account)).balance, 5_000_000_000n - cost);
  const [row] = await stack.ledger(answer.headers['x-request-id']);
  assert.equal(BigInt(row.cost), cost);
});

test('a stream over HTTP/3 comes whole, with its price at the end', async () => {
  const { account, key } = await stack.newAccount();
  const answer = await chat(key, chatBody({ stream: true }));
  assert.deepEqual([answer.ended, answer.status], ['whole', 200], answer.body);
  assert.ok(answer.body.endsWith('data: [DONE]\n\n'));
  const { balance } = await settled(account);
  const [row] = await stack.ledger(answer.headers['x-request-id']);
  assert.equal(BigInt(row.cost), 5_000_000_000n - balance);
  assert.ok(BigInt(row.cost) > 0n);
});

test('who leaves a stream over HTTP/3 pays for what had come', async () => {
  const { account, key } = await stack.newAccount();
  const answer = await chat(key, chatBody({ model: 'long', stream: true, max_tokens: 1000 }), 2000);
  assert.equal(answer.ended, 'left');
  await settled(account);
  const [row] = await stack.ledger(answer.headers['x-request-id']);
  assert.ok(Number(row.tokens_out) > 0 && Number(row.tokens_out) < 1000, row.tokens_out);
});

test('a wrong key over HTTP/3 is refused, and a body of a megabyte is read whole', async () => {
  assert.equal((await chat(ownKey(), chatBody())).status, 401);
  const { key } = await stack.newAccount();
  const answer = await chat(key, chatBody({ messages: [{ role: 'user', content: 'word '.repeat(200_000) }] }));
  assert.equal(answer.status, 200);
  assert.ok(JSON.parse(answer.body).usage.prompt_tokens >= 200_000);
});
