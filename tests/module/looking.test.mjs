// What people who run a gate can see of it: variables in the log, metrics, the status page, the report that REST reads
// (L21), and the trace context that goes through.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';
import { chatAnswer, startEndpoint } from './scripted_endpoint.mjs';
import { chatBody, leave } from './traffic.mjs';

const SCRAPE_TOKEN = 'who-may-scrape';
const MANY = Array.from({ length: 260 }, (_, i) => `many-${i}`);  // more than the counters have series
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

let stack;
let broken;
let good;
before(async () => {
  broken = await startEndpoint(() => broken.says ?? { status: 500, json: { error: { message: 'no' } } });
  good = await startEndpoint(() => ({ json: chatAnswer() }));
  const price = { access: 'allowed', input_cost_per_million: 1, output_cost_per_million: 1 };
  stack = await startStack({
    name: 'looking',
    settings: { health: { interval: 86_400 }, api: { prometheus: { enabled: true, token: SCRAPE_TOKEN } } },
    models: ([server]) => [
      { name: 'demo', ...price, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { name: 'slow', ...price, endpoints: [{ id: 'slow-1', url: `${server}/misbehave/slow-300+pace-20/v1` }] },
      { name: 'stopping', ...price, endpoints: [{ id: 'stopping-1', url: `${server}/misbehave/held-2/v1` }] },
      { name: 'broken', ...price, endpoints: [{ id: 'broken-1', url: `${broken.url}/v1` }] },
      { name: 'half', ...price, endpoints: [{ id: 'half-1', url: `${broken.url}/v1` }, { id: 'half-2', url: `${good.url}/v1` }] },
      { name: 'busy', ...price, endpoints: [{ id: 'busy-1', url: `${server}/misbehave/429-retry-30/v1` }] },
      { name: "odd/<img/src=x/onerror=alert(1)>'&amp;", ...price, endpoints: [{ id: 'odd-1', url: `${server}/v1` }] },
      { name: 'cut', ...price, endpoints: [{ id: 'cut-1', url: `${server}/misbehave/cut-3+tokens-40/v1` }] },
      { name: 'long', ...price, endpoints: [{ id: 'long-1', url: `${server}/misbehave/tokens-4000/v1` }] },
      ...MANY.map((name) => ({ name, ...price, endpoints: [{ id: `${name}-1`, url: `${good.url}/v1` }] })),
      { name: 'away', ...price, endpoints: [{ id: 'away-1', url: `${good.url}/v1`, state: 'draining', weight: 7 }] },
    ],
  });
});
after(async () => {
  broken?.close();
  good?.close();
  await stack?.stop();
});

async function ask(model, over = {}, options = {}) {
  const response = await stack.post('/v1/chat/completions', chatBody({ model, ...over }), options);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/// The fields of the access log's line for a request.
async function logOf(requestId) {
  const line = await waitFor('its line in the log', () => stack.log('nginx-access').split('\n').find((one) => one.includes(`request=${requestId} `)));
  const fields = Object.fromEntries([...line.matchAll(/ ([a-z_]+)=("[^"]*"|\S+)/g)].map(([, name, value]) => [name, value.replaceAll('"', '')]));
  return { line, ...fields };
}

const metrics = async () => (await fetch(`${stack.url}/lumen/metrics`)).text();
const status = async () => (await fetch(`${stack.url}/lumen/status`, { headers: { accept: 'application/json' } })).json();

test('the log says who asked for what, where the time went, and what it cost', async () => {
  const { account, key, keyId } = await stack.newAccount();
  const { headers } = await ask('slow', { stream: true }, { key });
  const log = await logOf(headers.get('x-request-id'));
  assert.deepEqual([log.account, log.key, log.model, log.endpoint], [account, keyId, 'slow', 'slow-1'].map(String));
  assert.deepEqual([log.ended, log.refusal, log.attempts, log.upstream, log.usage], ['complete', '-', '1', '200', 'final']);
  const [, seconds] = / 200 (\d+\.\d+) request=/.exec(log.line);
  assert.ok(Number(log.ttft_ms) >= 300 && Number(log.ttft_ms) < Number(seconds) * 1000 + 1000, log.line);
  assert.ok(Number(log.overhead_us) > 0 && Number(log.body_ms) >= 0);
  const [tokensIn, tokensOut] = log.tokens.split('/').map(Number);
  assert.equal(log.cost, `0.0000${String(tokensIn + tokensOut).padStart(2, '0')}000`);
  assert.match(log.balance, /^4\.99/);
});

test('the log says why a request was refused, and by whom', async () => {
  const { account, key } = await stack.newAccount({ starting: '0' });
  const { headers } = await ask('demo', {}, { key });
  const log = await logOf(headers.get('x-request-id'));
  assert.deepEqual([log.account, log.refusal, log.endpoint, log.cost, log.ended, log.upstream], [String(account), 'insufficient_quota', '-', '-', '-', '-']);
  assert.match(log.line, / 402 /);
});

test('callers are told one text of keys that are not valid; the log has the reason', async () => {
  const { id, key } = await stack.operator.createKey(stack.account, { name: 'to be revoked' });
  await stack.operator.deleteKey(stack.account, id);
  const rows = [['', 'no_key'], ['k'.repeat(200), 'malformed_key'], [`${key.slice(0, -1)}${key.endsWith('x') ? 'y' : 'x'}`, 'mistyped_key'], [ownKey(), 'unknown_key'], ['anothers-key', 'unknown_key'], [key, 'revoked_key']];
  for (const [sent, reason] of rows) {
    const { status: code, headers } = await ask('demo', {}, { headers: { authorization: `Bearer ${sent}` } });
    const log = await logOf(headers.get('x-request-id'));
    assert.deepEqual([code, log.refusal, log.reason], [401, 'invalid_api_key', reason]);
  }
});

test('the log tells a model server that said no from one that broke off, and what the gate answered by itself', async () => {
  broken.says = { status: 404, json: { error: { message: 'no' } } };
  const { status: code, headers } = await ask('broken');
  broken.says = undefined;
  const no = await logOf(headers.get('x-request-id'));
  assert.deepEqual([code, no.refusal, no.ended, no.upstream, no.cost], [404, '-', 'complete', '404', '0.000000000']);
  for (const target of ['/v1/models', '/v1/key']) {
    const answer = await stack.fetch(target);
    await answer.text();
    const log = await logOf(answer.headers.get('x-request-id'));
    assert.deepEqual([log.account, log.refusal, log.cost, log.tokens], [String(stack.account), '-', '-', '-/-']);
    assert.ok(log.overhead_us === '-' || Number(log.overhead_us) < 60e6, log.overhead_us);
  }
});

test('a name of a model is text on the page and one label in the metrics, whatever is in it', async () => {
  const name = "odd/<img/src=x/onerror=alert(1)>'&amp;";
  const html = await (await fetch(`${stack.url}/lumen/status`)).text();
  assert.ok(html.includes('<td>odd/&lt;img/src=x/onerror=alert(1)&gt;\'&amp;amp;</td>') && !html.includes('<img'));
  assert.ok((await status()).endpoints.some(({ model }) => model === name));
  assert.ok((await metrics()).includes(`\nlumen_endpoint_in_flight{model="${name}",endpoint="odd-1"} 0\n`));
  assert.equal((await stack.fetch(`/v1/models/${encodeURIComponent(name)}`)).status, 200);
});

test('the log tells the attempts of a request that failed over', async () => {
  const log = await waitFor('a request that met both endpoints', async () => {
    const { status: code, headers } = await ask('half');
    assert.equal(code, 200);
    const found = await logOf(headers.get('x-request-id'));
    return found.attempts === '2' && found;
  });
  assert.deepEqual([log.endpoint, log.upstream], ['half-2', '500, 200']);
});

test('the log tells a client that left, and a stream that was cut', async () => {
  const { account, key } = await stack.newAccount();
  const controller = new AbortController();
  const response = await stack.post('/v1/chat/completions', chatBody({ model: 'stopping', stream: true }), { key, signal: controller.signal });
  await response.body.getReader().read();
  await leave(stack, controller);
  await waitFor('the hold to end', async () => (await stack.wallet(account)).running === 0n);
  assert.equal((await logOf(response.headers.get('x-request-id'))).ended, 'client_left');
});

test('a valid traceparent goes to the model server and comes back; else the request has one of its own', async () => {
  const rows = [
    { sent: TRACE, passed: true },
    { sent: undefined, passed: false },
    { sent: 'not a trace', passed: false },
    { sent: TRACE.replace('-01', '-01-'), passed: false },
    { sent: TRACE.toUpperCase(), passed: false },
  ];
  for (const { sent, passed } of rows) {
    good.asked.length = 0;
    const headers = sent === undefined ? {} : { traceparent: sent };
    const answer = await waitFor('an answer of the good endpoint', async () => {
      const one = await ask('half', {}, { headers });
      return one.headers.get('x-lumen-endpoint') === 'half-2' && one;
    });
    const returned = answer.headers.get('traceparent');
    const id = answer.headers.get('x-request-id').replaceAll('-', '');
    assert.equal(returned, passed ? sent : `00-${id}-${id.slice(16)}-00`);
    assert.equal(good.asked.at(-1).headers.traceparent, returned);
    assert.equal((await logOf(answer.headers.get('x-request-id'))).trace, returned);
  }
  const refused = await ask('no-such-model', {}, { headers: { traceparent: TRACE } });
  assert.equal(refused.headers.get('traceparent'), TRACE, 'refusals return it as well');
});

test('L21: an endpoint that rests says why and until when, in metric, status page, report and REST', async () => {
  for (let i = 0; i < 3; i++) await ask('broken');
  await ask('busy');
  const page = await metrics();
  assert.match(page, /^lumen_endpoint_state\{model="broken",endpoint="broken-1",state="(ejected|trial)"\} 1$/m);
  const [, until] = /^lumen_endpoint_until_timestamp_seconds\{model="busy",endpoint="busy-1",reason="status 429"\} (\S+)$/m.exec(page);
  const secondsLeft = Number(until) - Date.now() / 1000;
  assert.ok(secondsLeft > 0 && secondsLeft <= 30);
  assert.match(page, /^lumen_endpoint_until_timestamp_seconds\{model="broken",endpoint="broken-1",reason="status 500"\} /m);
  assert.match(page, /^lumen_endpoint_state\{model="away",endpoint="away-1",state="draining"\} 1$/m);

  const seen = await status();
  const byName = Object.fromEntries(seen.endpoints.map((one) => [one.name, one]));
  assert.deepEqual([byName['busy-1'].state, byName['busy-1'].reason], ['busy', 'status 429']);
  assert.ok(Math.abs(byName['busy-1'].until_ms / 1000 - Number(until)) < 0.01);
  assert.equal(byName['broken-1'].reason, 'status 500');
  assert.ok(byName['broken-1'].failures >= 3);
  assert.deepEqual([byName['away-1'].draining, byName['away-1'].weight], [true, 7]);

  const html = await (await fetch(`${stack.url}/lumen/status`)).text();
  assert.match(html, /<th scope="row">busy-1<\/th><td><span class="bad">busy<\/span><\/td><td>status 429<\/td>/);

  const report = await waitFor('the report', async () => {
    const [key] = await stack.redis('KEYS', 'lumen:gate:*');
    const { endpoints, ring } = JSON.parse(await stack.redis('GET', key));
    const one = endpoints.find(({ id }) => id === byName['busy-1'].id);
    return one.state === 'busy' && { one, ring };
  });
  assert.equal(report.one.reason, 'status 429');
  assert.ok(report.ring.slots > 0 && report.ring.replay_ms === 10_000);

  const rest = await waitFor('REST to say so', async () => {
    const { data } = await stack.rest('GET', '/admin/models');
    const [one] = data.find(({ name }) => name === 'busy').endpoints;
    return one.reason === 'status 429' && one;
  });
  assert.ok(Math.abs(Date.parse(rest.until) / 1000 - Number(until)) < 1);
});

test('coins held and requests in flight are there while they run, and gone afterwards', async () => {
  await stack.modelServers[0].behave('held');
  const running = ask('stopping');
  const held = await waitFor('the hold in the metric', async () => {
    const value = Number(/^lumen_coins_held (\S+)$/m.exec(await metrics())[1]);
    const now = await status();  // what another one held may just be ending
    return value > 0 && Number(now.coins_held) === value && now.endpoints.find(({ name }) => name === 'stopping-1').in_flight === 1 && value;
  });
  assert.ok(held < 1);
  await stack.modelServers[0].behave('');
  await running;
  await waitFor('nothing to be held', async () => /^lumen_coins_held 0$/m.test(await metrics()));
  await waitFor('nothing to be in flight', async () => (await status()).endpoints.find(({ name }) => name === 'stopping-1').in_flight === 0);
});

// ---- every metric of spec/api.md §5 --------------------------------------------------------------------------------

const BUCKETS = {
  gen_ai_client_token_usage: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864],
  gen_ai_server_request_duration_seconds: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  gen_ai_server_time_to_first_token_seconds: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  gen_ai_server_time_per_output_token_seconds: [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
};
for (const [name, bounds] of Object.entries(BUCKETS)) {
  test(`${name} has exactly the buckets of the specification`, async () => {
    const page = await metrics();
    const rows = [...page.matchAll(new RegExp(`^${name}_bucket\\{(.*gen_ai_request_model="slow".*),le="([^"]+)"\\} (\\d+)$`, 'gm'))]
      .filter(([, labels]) => !labels.includes('gen_ai_token_type="output"') && !/error_type="[^"]/.test(labels));
    assert.deepEqual(rows.map(([, , bound]) => bound), [...bounds.map((bound) => (bound < 1e6 ? String(bound) : bound)).map(String), '+Inf']);
    const counts = rows.map(([, , , count]) => Number(count));
    assert.deepEqual(counts, [...counts].sort((a, b) => a - b), 'cumulative');
    assert.ok(counts.at(-1) > 0);
  });
}

const SCALARS = ['lumen_coins_held', 'lumen_redis_up', 'lumen_spool_records', 'lumen_ring_slots', 'lumen_ring_settled',
  'lumen_ring_oldest_settled_seconds', 'lumen_ring_shrunk_total', 'lumen_catalogue_version',
  'lumen_coins_charged_total{model="slow"}', 'lumen_rejections_total{code="insufficient_quota"}', 'lumen_usage_source_total{source="final"}',
  'lumen_attempts_total{reason="answered"}', 'lumen_attempts_total{reason="busy"}', 'lumen_attempts_total{reason="failed"}',
  'lumen_stream_interrupted_total{side="client"}', 'lumen_endpoint_in_flight{model="slow",endpoint="slow-1"}',
  'lumen_endpoint_latency_seconds{model="slow",endpoint="slow-1"}', 'lumen_overhead_seconds_count'];
test('every metric of the gate is there, with a help text, and none has a label of a user or a key', async () => {
  const page = await metrics();
  for (const name of SCALARS) assert.ok(page.includes(`\n${name} `), name);
  const families = new Set([...page.matchAll(/^([a-z_]+?)(_bucket|_sum|_count)?[{ ]/gm)].map(([, name]) => name));
  for (const name of families) assert.ok(page.includes(`# HELP ${name} `) && page.includes(`# TYPE ${name} `), `${name} has no help`);
  assert.doesNotMatch(page, /[{,](account|key|user|email|key_id)=/);
  const scrape = { headers: { authorization: `Bearer ${SCRAPE_TOKEN}` } };
  const admind = await (await fetch(`${stack.server('admind').url}/metrics`, scrape)).text();
  for (const name of ['lumen_ledger_lag_seconds', 'lumen_ledger_pending', 'lumen_reconcile_drift_coins', 'lumen_refills_total', 'lumen_holds_expired_total'])
    assert.match(admind, new RegExp(`^${name} `, 'm'));
});

test('the status page and the metrics answer only the machine itself, and only to GET and HEAD', async () => {
  for (const place of ['/lumen/status', '/lumen/metrics']) {
    assert.equal((await fetch(stack.url + place, { method: 'POST', body: 'x' })).status, 405);
    const head = await fetch(stack.url + place, { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
  }
});

test('what ends early is counted by who ended it, and how requests ended by their kind', async () => {
  const valueOf = async (name) => Number((await metrics()).split('\n').find((line) => line.startsWith(`${name} `))?.split(' ').at(-1) ?? 0);
  const sides = ['upstream', 'coins'].map((side) => `lumen_stream_interrupted_total{side="${side}"}`);
  const before = await Promise.all(sides.map(valueOf));
  await ask('cut', { stream: true });
  const { account, key } = await stack.newAccount({ max: '0.0036', mode: 'strict' });  // the first hold, and not 4,000 tokens
  assert.match((await ask('long', { stream: true }, { key })).text, /insufficient_quota/);
  await waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);
  let counted;
  await waitFor('both to be counted', async () => {
    counted = await Promise.all(sides.map(valueOf));
    return counted.every((count, i) => count > before[i]);
  });
  assert.deepEqual(counted, before.map((count) => count + 1));
  broken.says = { status: 400, json: { error: { message: 'no' } } };
  await ask('broken');
  broken.says = undefined;
  for (const [model, kind] of [['slow', ''], ['broken', 'bad_request'], ['broken', 'upstream_error'], ['cut', 'incomplete']]) {
    const name = `gen_ai_server_request_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_request_model="${model}",error_type="${kind}"}`;
    await waitFor(`${model}: ${kind || 'none'}`, async () => await valueOf(name) > 0);
  }
});

// Last: no other model finds a series of its own afterwards.
test('models beyond what the counters have room for are counted together, and none of their requests is lost', async () => {
  const answered = async () => [...(await metrics()).matchAll(/^gen_ai_server_request_duration_seconds_count\{.*gen_ai_request_model="([^"]*)".*\} (\d+)$/gm)];
  const count = (rows) => rows.reduce((sum, [, , n]) => sum + Number(n), 0);
  const before = count(await answered());
  for (let i = 0; i < MANY.length; i += 20) {
    const answers = await Promise.all(MANY.slice(i, i + 20).map((model) => ask(model)));
    for (const { status: code, text } of answers) assert.equal(code, 200, text);
  }
  await waitFor('all to be counted', async () => count(await answered()) >= before + MANY.length);
  const names = new Set((await answered()).map(([, model]) => model));
  assert.ok(names.size <= 256, `${names.size} names`);
  const others = (await answered()).filter(([, model]) => model === 'other');
  assert.ok(count(others) >= MANY.length - 255);
});
