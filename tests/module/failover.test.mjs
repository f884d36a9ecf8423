// Another endpoint answers before the client notices: dead, busy, broken and slow ones (design.md §3, T34…T39).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, freePort, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatAnswer, startEndpoint } from './scripted_endpoint.mjs';
import { chatBody } from './traffic.mjs';

const IMPATIENT = '/v1/completions';

const impatientProxy = readFileSync(path.join(checkout, 'nginx-conf/lumen_proxy.conf'), 'utf8').replace(/proxy_read_timeout [^;]+;/, 'proxy_read_timeout 1s;');

let stack;
let first;
let second;
let busy;
let isBusy = false;
before(async () => {
  first = await startEndpoint(() => ({ status: 500, json: { error: { message: 'out of memory on gpu 3' } } }));
  second = await startEndpoint(() => ({ json: chatAnswer() }));
  busy = await startEndpoint(() => (isBusy
    ? { status: 503, headers: { 'retry-after': '1' }, json: { error: { message: 'queue full' } } } : { json: chatAnswer() }));
  const dead = `http://127.0.0.1:${await freePort()}/v1`;
  const model = (name, ...endpoints) => ({
    name, access: 'allowed', input_cost_per_million: '0.15', output_cost_per_million: '0.6',
    endpoints: endpoints.map((endpoint, i) => ({ id: `${name}-${i + 1}`, ...endpoint })),
  });
  stack = await startStack({
    name: 'failover',
    workers: 1,
    settings: { health: { interval: 86_400 } },  // what is ejected here is not probed back
    models: ([server]) => [
      model('rebuilt', { url: `${first.url}/one/v1`, model: 'vendor/first', api_key: 'key-of-first' },
        { url: `${second.url}/two/v1`, model: 'second', api_key: 'key-of-second' }),
      model('three', { url: dead }, { url: `${server}/misbehave/500/v1` }, { url: `${server}/v1` }),
      model('gone', { url: dead }),
      model('all-busy', { url: `${server}/misbehave/429-retry-1/v1` }, { url: `${server}/misbehave/503/v1` }),
      model('sometimes-busy', { url: `${busy.url}/v1` }, { url: `${second.url}/v1` }),
      model('silent', { url: `${server}/misbehave/hang/v1` }),
      model('silent-once', { url: `${server}/misbehave/hang/v1` }, { url: `${second.url}/v1` }),
      model('draining', { url: `${first.url}/v1`, state: 'draining' }, { url: `${second.url}/v1` }),
    ],
    // One path on which the gate is impatient.
    nginx: (file, text) => (file === 'lumen.conf'
      ? `${text}\nlocation = ${IMPATIENT} { lumen on; lumen_tries 3; ${impatientProxy} proxy_pass https://lumen_models; }\n` : text),
  });
});
after(async () => {
  for (const endpoint of [first, second, busy]) endpoint?.close();
  await stack?.stop();
});

const ask = async (model, over = {}, path = '/v1/chat/completions') => {
  const response = await stack.post(path, chatBody({ model, ...over }));
  return { status: response.status, headers: response.headers, json: await response.json() };
};
const askImpatiently = (model) => ask(model, { messages: undefined, prompt: 'Say something short.' }, IMPATIENT);

test('the request is rebuilt for the endpoint that gets it: path, model name, credentials, and never the caller\'s key', async () => {
  await waitFor('a request that met both', async () => {
    first.asked.length = 0;
    second.asked.length = 0;
    const { status } = await ask('rebuilt', { user: 'ä"\\' });
    assert.equal(status, 200);
    return first.asked.length > 0;
  });
  const [one] = first.asked;
  const [two] = second.asked;
  assert.deepEqual([one.url, one.body.model, one.headers.authorization], ['/one/v1/chat/completions', 'vendor/first', 'Bearer key-of-first']);
  assert.deepEqual([two.url, two.body.model, two.headers.authorization], ['/two/v1/chat/completions', 'second', 'Bearer key-of-second']);
  assert.deepEqual({ ...one.body, model: '' }, { ...chatBody({ user: 'ä"\\' }), model: '' });
  assert.deepEqual({ ...two.body, model: '' }, { ...one.body, model: '' });
  for (const { headers } of [one, two]) {
    assert.equal(headers['content-length'] !== undefined, true);
    assert.equal(headers['x-api-key'], undefined);
    assert.ok(!JSON.stringify(headers).includes(stack.key));
  }
});

test('each attempt carries the id that the client is told and the ledger has, and not one of the client\'s own', async () => {
  first.asked.length = second.asked.length = 0;
  const answer = await waitFor('a request that met both', async () => {
    const response = await stack.post('/v1/chat/completions', chatBody({ model: 'rebuilt' }), { headers: { 'x-request-id': 'mine' } });
    await response.text();
    return response.headers.get('x-lumen-attempts') === '2' && response;
  });
  const id = answer.headers.get('x-request-id');
  for (const { asked } of [first, second]) assert.equal(asked.at(-1).headers['x-request-id'], id);
  assert.equal((await stack.ledger(id)).length, 1);
});

test('with one dead and one broken endpoint of three no client sees an error', async () => {
  for (let i = 0; i < 60; i++) {
    const { status, headers } = await ask('three');
    assert.equal(status, 200);
    assert.equal(headers.get('x-lumen-endpoint'), 'three-3');
    assert.ok(Number(headers.get('x-lumen-attempts')) <= 3);
  }
  // While they are ejected the good one is asked first.
  const endpoints = async () => (await (await fetch(`${stack.url}/lumen/status`, { headers: { accept: 'application/json' } })).json()).endpoints;
  const attempts = await waitFor('an answer while both are ejected', async () => {
    await ask('three');  // one whose time is over fails its trial
    const ejected = (await endpoints()).filter(({ name, state }) => ['three-1', 'three-2'].includes(name) && state === 'ejected');
    const { headers } = await ask('three');
    return ejected.length === 2 && ejected.every(({ until_ms: until }) => Date.now() < until) && headers.get('x-lumen-attempts');
  });
  assert.equal(attempts, '1');
});

test('an endpoint that refuses is an error without a charge, and nothing is counted', async () => {
  const { account, key } = await stack.newAccount();
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'gone' }), { key });
  assert.ok([502, 503].includes(response.status));
  await response.text();
  await waitFor('the hold to end', async () => (await stack.wallet(account)).running === 0n);
  assert.equal((await stack.wallet(account)).balance, 5_000_000_000n);
});

test('all endpoints busy: 503 server_is_overloaded with a wait, and they are not ejected', async () => {
  for (let i = 0; i < 8; i++) {
    const { status, headers, json } = await ask('all-busy');
    assert.equal(status, 503);
    assert.equal(json.error.code, 'server_is_overloaded');
    assert.equal(headers.get('retry-after'), '2');
  }
  const page = await (await fetch(`${stack.url}/lumen/metrics`)).text();
  assert.ok(!/endpoint="all-busy-\d",state="ejected"/.test(page), 'load is not death');
});

test('a busy endpoint rests, and is used again when it has recovered', async () => {
  isBusy = true;
  await waitFor('it to be asked', async () => {
    assert.equal((await ask('sometimes-busy')).status, 200);
    return busy.asked.length > 0;
  });
  for (let i = 0; i < 20; i++) assert.equal((await ask('sometimes-busy')).status, 200);
  isBusy = false;
  await waitFor('the recovered endpoint to be used', async () => {
    const { status, headers } = await ask('sometimes-busy');
    assert.equal(status, 200);
    return headers.get('x-lumen-endpoint') === 'sometimes-busy-1';
  });
});

test('an endpoint that never answers: 504 upstream_timeout, counted without a charge', async () => {
  const { status, headers, json } = await askImpatiently('silent');
  assert.equal(status, 504);
  assert.equal(json.error.code, 'upstream_timeout');
  const [row] = await stack.ledger(headers.get('x-request-id'));
  assert.deepEqual([row.cost, row.status], ['0', '504']);
});

test('a silent endpoint is given up for the next one', async () => {
  await waitFor('an answer that took two attempts', async () => {
    const { status, headers } = await askImpatiently('silent-once');
    assert.equal(status, 200);
    return headers.get('x-lumen-attempts') === '2';
  });
});

test('a draining endpoint gets nothing new', async () => {
  const before = first.asked.length;
  for (let i = 0; i < 20; i++) assert.equal((await ask('draining')).headers.get('x-lumen-endpoint'), 'draining-2');
  assert.equal(first.asked.length, before);
});

test('nothing is in flight when nothing runs, also after a worker was killed with requests under way', async () => {
  // A request is given up after a second, and a report is as old as that: so more follow until one shows them.
  let over = false;
  const keepAsking = async () => {
    while (!over) await askImpatiently('silent').catch(() => {});
  };
  const running = Array.from({ length: 4 }, keepAsking);
  const inFlight = async () => {
    const [key] = await stack.redis('KEYS', 'lumen:gate:*');
    const report = key && JSON.parse(await stack.redis('GET', key));
    return report ? report.endpoints.reduce((sum, endpoint) => sum + endpoint.in_flight, 0) : undefined;  // a report lives for some seconds
  };
  try {
    await waitFor('requests to be in flight', async () => await inFlight() > 0);
    process.kill(stack.workers()[0], 'SIGKILL');
  } finally {
    over = true;
  }
  await Promise.all(running);
  await waitFor('none in flight', async () => await inFlight() === 0);
});
