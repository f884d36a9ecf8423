// Endpoints as the gate chooses and treats them, with real servers: conversations that stay (L25), load that bounds it,
// TLS beside plain, ejection and trial, draining, and reloads. Probes: probes.test.mjs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeServerDir, waitFor, writeServerFile } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { startModelServer } from './model_servers.mjs';
import { chatAnswer } from './scripted_endpoint.mjs';
import { chatBody, Connections } from './traffic.mjs';

/// A certificate for `localhost`, and nothing else, that is its own authority.
function makeCertificate(dir) {
  const [key, cert] = [path.join(dir, 'key.pem'), path.join(dir, 'cert.pem')];
  const { status, stderr } = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

let dir;
let stack;
let plain;   // four of them
let secure;
let flaky;
before(async () => {
  dir = mkdtempSync('/tmp/lumen-endpoints-');
  makeServerDir(dir);
  const tls = makeCertificate(dir);
  [secure, flaky, ...plain] = await Promise.all([startModelServer({ tls }), ...Array.from({ length: 5 }, () => startModelServer())]);
  const model = (name, endpoints, over = {}) => ({
    name, access: 'allowed', input_cost_per_million: 1, output_cost_per_million: 1, ...over,
    endpoints: endpoints.map((endpoint, i) => ({ id: `${name}-${i + 1}`, ...endpoint })),
  });
  const four = plain.map(({ url }) => ({ url }));
  stack = await startStack({
    name: 'endpoints',
    workers: 1,
    settings: { health: { interval: 86_400 } },  // a probe would end an ejection
    models: [
      model('talk', four, { prefix_affinity: true }),
      model('mixed', [{ url: plain[0].url, api_key: 'plain-key' }, { url: `https://localhost:${secure.port}/v1`, api_key: 'secure-key', model: 'behind/tls' }]),
      model('wrong-name', [{ url: `https://127.0.0.1:${secure.port}/v1` }]),
      model('flaky', [{ url: flaky.url }, { url: plain[1].url }]),
      model('moved', [{ url: plain[2].url }, { url: plain[3].url }]),
    ],
    nginx: (file, text) => {
      if (file !== 'lumen_proxy.conf') return text;
      const authority = path.join(dir, 'authority.pem');
      writeServerFile(authority, tls.cert);
      return text.replace('/etc/ssl/certs/ca-certificates.crt', authority);
    },
  });
});
after(async () => {
  for (const server of [secure, flaky, ...(plain ?? [])]) server?.close();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/// On a connection of its own: one that nginx closes at a reload may be used just then.
async function ask(model, over = {}) {
  const connection = new Connections(stack.url, 1);
  try {
    const { status, headers, body } = await connection.post(0, '/v1/chat/completions', stack.key, chatBody({ model, ...over }));
    return { status, headers: new Headers(Object.entries(headers).map(([name, value]) => [name, String(value)])), text: body };
  } finally {
    connection.close();
  }
}
const servedBy = async (model, over) => {
  const { status, headers, text } = await ask(model, over);
  assert.equal(status, 200, text);
  return headers.get('x-lumen-endpoint');
};
const status = async () => {
  const { endpoints } = await (await fetch(`${stack.url}/lumen/status`, { headers: { accept: 'application/json' } })).json();
  return Object.fromEntries(endpoints.map((endpoint) => [endpoint.name, endpoint]));
};

/// What a client sends at the n-th turn: all that was said before, and its next words.
function turn(conversation, n) {
  const messages = [{ role: 'system', content: 'You help.' }, { role: 'user', content: `Question ${conversation}` }];
  for (let i = 1; i < n; i++) messages.push({ role: 'assistant', content: 'Yes.' }, { role: 'user', content: `And then, ${i}?` });
  return { messages };
}

test('L25: the turns of a conversation go to one endpoint, and conversations to all of them', async () => {
  const used = new Set();
  for (let conversation = 0; conversation < 16; conversation++) {
    const homes = new Set();
    for (let n = 1; n <= 4; n++) homes.add(await servedBy('talk', turn(conversation, n)));
    assert.equal(homes.size, 1, `conversation ${conversation} was at ${[...homes]}`);
    used.add([...homes][0]);
  }
  assert.ok(used.size >= 3, 'sixteen conversations leave no two of four endpoints idle');
});

test("L25: so do the turns of one in Anthropic's dialect", async () => {
  const used = new Set();
  for (let conversation = 0; conversation < 8; conversation++) {
    const homes = new Set();
    for (let n = 1; n <= 4; n++) {
      const [, ...messages] = turn(`to Claude, ${conversation}`, n).messages;  // the system's words are a member of their own there
      const answer = await stack.post('/v1/messages', { model: 'talk', max_tokens: 10, system: 'You help.', messages });
      assert.equal(answer.status, 200);
      await answer.text();
      homes.add(answer.headers.get('x-lumen-endpoint'));
    }
    assert.equal(homes.size, 1, `conversation ${conversation} was at ${[...homes]}`);
    used.add([...homes][0]);
  }
  assert.ok(used.size >= 2, 'eight conversations are not all at one of four endpoints');
});

test('L25: a hot conversation is spread before one endpoint has more than its bounded share', async () => {
  const count = 40;
  const waiting = [];
  for (const server of plain) server.behave = (response) => { waiting.push(response); };
  const before = plain.map(({ asked }) => asked.length);
  try {
    const running = Array.from({ length: count }, () => servedBy('talk', turn('hot', 1)));
    await waitFor('all to be in flight', () => waiting.length === count);
    const shares = plain.map(({ asked }, i) => asked.length - before[i]);
    assert.equal(shares.reduce((sum, n) => sum + n), count);
    assert.equal(Math.max(...shares), Math.ceil((count / 4) * 1.25), `${shares}`);
    for (const response of waiting) response.json(chatAnswer());
    await Promise.all(running);
  } finally {
    for (const server of plain) server.behave = (response) => response.json(chatAnswer());
  }
});

test('TLS and plain endpoints of one model: each by its own name, path, model and credentials', async () => {
  const used = new Set();
  await waitFor('both to be used', async () => {
    used.add(await servedBy('mixed'));
    return used.size === 2;
  });
  for (let i = 0; i < 10; i++) await servedBy('mixed');  // on kept connections, which must not be mixed up
  assert.deepEqual([...secure.sni], ['localhost']);
  for (const { headers, body } of secure.asked)
    assert.deepEqual([headers.authorization, body.model, headers.host], ['Bearer secure-key', 'behind/tls', `localhost:${secure.port}`]);
  const inPlain = plain[0].asked.filter(({ body }) => body.model === 'mixed');
  assert.ok(inPlain.length > 0);
  for (const { headers } of inPlain) assert.equal(headers.authorization, 'Bearer plain-key');
});

test('a certificate for another name: the endpoint is not asked, and the client learns nothing of it', async () => {
  const before = secure.asked.length;
  const { status: code, text } = await ask('wrong-name');
  assert.ok([502, 503].includes(code));
  assert.doesNotMatch(text, /certificate|127\.0\.0\.1|localhost/);
  assert.equal(secure.asked.length, before);
});

test('credentials are in Redis only sealed', async () => {
  const catalogue = await stack.redis('GET', 'lumen:catalogue');
  assert.ok(catalogue.includes('"mixed-1"'));
  for (const secret of ['plain-key', 'secure-key']) assert.ok(!catalogue.includes(secret));
});

test('what has begun to answer is not sent again: one request, one charge, an error in the stream', async () => {
  const before = plain[2].asked.length + plain[3].asked.length;
  for (const server of [plain[2], plain[3]])
    server.behave = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Half of"}}]}\n\n', () => response.destroy());
    };
  const { status: code, headers, text } = await ask('moved', { stream: true });
  for (const server of [plain[2], plain[3]]) server.behave = (response) => response.json(chatAnswer());
  assert.deepEqual([code, headers.get('x-lumen-attempts')], [200, '1']);
  assert.match(text, /Half of/);
  assert.match(text, /upstream_stream_interrupted/);
  assert.doesNotMatch(text, /\[DONE\]/);
  assert.equal(plain[2].asked.length + plain[3].asked.length, before + 1);
  const rows = await stack.ledger(headers.get('x-request-id'));
  assert.equal(rows.length, 1);
  assert.ok(BigInt(rows[0].cost) > 0n);
});

test('three failures eject, a reload changes nothing about it, and one good trial re-admits', async () => {
  flaky.behave = (response) => response.json({ error: { message: 'no' } }, 500);
  await waitFor('the ejection', async () => {
    assert.equal(await servedBy('flaky'), 'flaky-2');
    return (await status())['flaky-1'].state !== 'ready';
  });
  const { until_ms, reason, failures } = (await status())['flaky-1'];
  assert.equal(reason, 'status 500');
  await stack.reload();
  const then = (await status())['flaky-1'];
  assert.deepEqual([then.failures, then.reason], [failures, reason]);
  if (then.state === 'ejected') assert.equal(then.until_ms, until_ms);

  const asked = flaky.asked.length;
  while (Date.now() < until_ms - 500) {
    assert.equal(await servedBy('flaky'), 'flaky-2');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(flaky.asked.slice(asked).filter(({ at }) => at < until_ms - 50), [], 'an ejected endpoint is left alone');
  flaky.behave = (response) => response.json(chatAnswer());
  await waitFor('the trial', async () => await servedBy('flaky') === 'flaky-1');
  assert.equal((await status())['flaky-1'].state, 'ready');
});

test('requests in flight are still counted after a reload, and gone when they end', async () => {
  const waiting = [];
  for (const server of plain) server.behave = (response) => { waiting.push(response); };
  const running = Array.from({ length: 6 }, () => servedBy('moved'));
  await waitFor('all to be in flight', () => waiting.length === 6);
  for (const server of plain) server.behave = (response) => response.json(chatAnswer());
  const inFlight = async () => { const now = await status(); return now['moved-1'].in_flight + now['moved-2'].in_flight; };
  assert.equal(await inFlight(), 6);
  await stack.reload();
  assert.equal(await inFlight(), 6);
  for (const response of waiting) response.json(chatAnswer());
  await Promise.all(running);
  await waitFor('none in flight', async () => await inFlight() === 0);
});

test('an endpoint set to draining ends what it has and gets nothing new', async () => {
  // Two at once go to one each; where one would go by itself is a matter of what either took before.
  const waiting = [[], []];
  const servers = [plain[2], plain[3]];
  servers.forEach((server, i) => { server.behave = (response) => { waiting[i].push(response); }; });
  const running = [servedBy('moved'), servedBy('moved')];
  await waitFor('one to run at each', () => waiting.every((responses) => responses.length === 1));
  servers[1].behave = (response) => response.json(chatAnswer());
  waiting[1][0].json(chatAnswer());
  const models = stack.models.map((model) => (model.name !== 'moved' ? model
    : { ...model, endpoints: model.endpoints.map((endpoint, i) => ({ ...endpoint, state: i === 0 ? 'draining' : 'active' })) }));
  stack.writeSettings({ models });
  await waitFor('the gate to know', async () => (await status())['moved-1'].draining);
  const there = plain[2].asked.length;
  for (let i = 0; i < 10; i++) assert.equal(await servedBy('moved'), 'moved-2');
  assert.equal(plain[2].asked.length, there);
  waiting[0][0].json(chatAnswer());
  assert.ok((await Promise.all(running)).includes('moved-1'), 'what was there ended well');
  plain[2].behave = (response) => response.json(chatAnswer());
});
