// GET /v1/models and /v1/models/{id}: answered by the gate from its catalogue, only what the key may use (spec/rest.md §3).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';

let stack;
before(async () => {
  stack = await startStack({
    name: 'model_listing',
    models: ([server]) => [
      { name: 'demo', access: 'allowed', context_window: 4096, input_cost_per_million: 0.15, endpoints: [{ id: 'demo-1', url: `${server}/v1` }] },
      { name: 'org/family/model', access: 'allowed', endpoints: [{ id: 'org-1', url: `${server}/v1` }] },
      { name: 'to-accept', access: 'allowed', needs_ack: true, endpoints: [{ id: 'accept-1', url: `${server}/v1` }] },
      { name: 'blocked', access: 'blocked', endpoints: [{ id: 'blocked-1', url: `${server}/v1` }] },
      { name: 'hidden', access: 'blocked', hide_when_blocked: true, endpoints: [{ id: 'hidden-1', url: `${server}/v1` }] },
      { name: 'retired', access: 'allowed', disabled: true, endpoints: [{ id: 'retired-1', url: `${server}/v1` }] },
    ],
  });
});
after(() => stack?.stop());

async function get(target, options) {
  const answer = await stack.fetch(target, options);
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? null : JSON.parse(text) };
}

const names = ({ body }) => body.data.map((model) => model.id).sort();

test('the list has what the key may use, whatever the budget', async () => {
  const poor = await stack.newAccount({ max: '5', starting: '0' });
  for (const key of [stack.key, poor.key]) {
    const answer = await get('/v1/models', { key });
    assert.equal(answer.status, 200);
    assert.equal(answer.body.object, 'list');
    assert.deepEqual(names(answer), ['demo', 'org/family/model']);
    for (const model of answer.body.data) {
      assert.equal(model.object, 'model');
      assert.deepEqual(model.lumen, { access: 'allowed', consent_url: null });
    }
  }
});

test('include=need_consent adds the models that wait for consent, with where to give it', async () => {
  const answer = await get('/v1/models?include=need_consent');
  assert.deepEqual(names(answer), ['demo', 'org/family/model', 'to-accept']);
  const { lumen } = answer.body.data.find((model) => model.id === 'to-accept');
  assert.deepEqual(lumen, { access: 'need_consent', consent_url: `${stack.url}/profile` });
});

test('one model by its name, also with slashes in it, escaped or not', async () => {
  for (const name of ['demo', 'org/family/model', encodeURIComponent('org/family/model')]) {
    const answer = await get(`/v1/models/${name}`);
    assert.equal(answer.status, 200, name);
    assert.equal(answer.body.id, decodeURIComponent(name));
    assert.equal(answer.body.lumen.access, 'allowed');
  }
});

const REFUSED = [
  { row: 'unknown', status: 404, code: 'model_not_found' },
  { row: 'hidden', status: 404, code: 'model_not_found' },
  { row: 'retired', status: 404, code: 'model_not_found' },
  { row: 'blocked', status: 403, code: 'model_access_denied' },
];
for (const { row, status, code } of REFUSED) {
  test(`one model: ${row}`, async () => {
    const answer = await get(`/v1/models/${row}`);
    assert.equal(answer.status, status);
    assert.equal(answer.body.error.code, code);
    assert.equal(answer.body.error.param, 'model');
  });
}

test('HEAD has the headers and no body', async () => {
  const [whole, head] = [await get('/v1/models'), await get('/v1/models', { method: 'HEAD' })];
  assert.equal(head.status, 200);
  assert.equal(head.body, null);
  assert.equal(head.headers.get('content-length'), whole.headers.get('content-length'));
});

test('a dead key learns nothing', async () => {
  const { id, key } = await stack.operator.createKey(stack.account, { name: 'dead' });
  assert.equal((await get('/v1/models', { key })).status, 200);
  await stack.operator.deleteKey(stack.account, id);
  for (const dead of [key, ownKey(), 'nothing-like-a-key']) {
    const answer = await get('/v1/models', { key: dead });
    assert.equal(answer.status, 401);
    assert.equal(answer.body.error.code, 'invalid_api_key');
  }
});

test('a listing is no request: nothing is held, charged or counted', async () => {
  const { account, key } = await stack.newAccount();
  const before = await stack.wallet(account);
  await get('/v1/models', { key });
  assert.deepEqual(await stack.wallet(account), before);
});

test('keys of another form are slowed down per address when they are guessed', async () => {
  const guesses = await Promise.all(Array.from({ length: 200 }, (_, i) => get('/v1/models', { key: `guess-${i}` })));
  const statuses = new Set(guesses.map((answer) => answer.status));
  assert.deepEqual([...statuses].sort(), [401, 429]);
  const slowed = guesses.find((answer) => answer.status === 429);
  assert.equal(slowed.body.error.code, 'rate_limit_exceeded');
  assert.match(slowed.headers.get('retry-after'), /^[1-9]\d*$/);
  assert.equal((await get('/v1/models')).status, 200, 'keys of our form are not slowed down');
});

test('a new model is listed without a reload', async () => {
  const models = stack.models(stack.modelServers.map((server) => server.url));
  stack.writeSettings({ models: [...models, { ...models[0], name: 'newcomer', endpoints: [{ id: 'new-1', url: `${stack.modelServers[0].url}/v1` }] }] });
  await waitFor('the newcomer to be listed', async () => names(await get('/v1/models')).includes('newcomer'));
  await waitFor('either worker to know it', async () => (await Promise.all(Array.from({ length: 8 }, () => get('/v1/models/newcomer')))).every(({ status }) => status === 200));
});
