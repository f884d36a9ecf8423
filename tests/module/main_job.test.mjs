// The main job by the unmodified OpenAI SDK: list, complete, stream, embed; and each charge to the nano-coin, the same in
// the answer, in Redis and in Postgres.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { costOf, formatCoins, parseCoins } from '../harness/coins.mjs';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';

// Prices that leave fractions of a nano-coin, so that rounding shows.
const CHAT = { input: '0.150000007', output: '0.613', cached: '0.0333', reasoning: '1.7' };
const EMBED = { input: '0.020000001' };

const UPSTREAM_KEY = 'upstream-key-of-chat-1';

const model = (name, price, endpoint) => ({
  name,
  access: 'allowed',
  input_cost_per_million: price.input,
  ...(price.output ? { output_cost_per_million: price.output } : {}),
  ...(price.cached ? { cached_input_cost_per_million: price.cached } : {}),
  ...(price.reasoning ? { reasoning_cost_per_million: price.reasoning } : {}),
  endpoints: [endpoint],
});

let stack;
before(async () => {
  stack = await startStack({
    name: 'main_job',
    redisSync: 'always',  // as shipped
    models: ([server]) => [
      model('chat', CHAT, { id: 'chat-1', url: `${server}/v1`, model: 'vendor/chat-7b', api_key: UPSTREAM_KEY }),
      model('thinker', CHAT, { id: 'thinker-1', url: `${server}/misbehave/tokens-50+cached-3+reasoning-20/v1` }),
      model('embed', EMBED, { id: 'embed-1', url: `${server}/v1` }),
    ],
  });
});
after(() => stack?.stop());

const QUESTION = [{ role: 'user', content: 'What, exactly, does this cost?' }];
const QUESTION_TOKENS = 8;  // What , exactly , does this cost ?

function client(key) {
  return new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: key, maxRetries: 0 });
}

/// The request's only row in the book and the wallet in Redis both carry exactly `cost`.
async function assertCharged({ account, before: start, requestId, cost }) {
  const rows = await stack.ledger(requestId);
  assert.equal(rows.length, 1);
  assert.equal(BigInt(rows[0].cost), cost, 'cost in the book');
  assert.equal(BigInt(rows[0].delta), -cost, 'delta in the book');
  assert.equal(BigInt(rows[0].balance_after), start - cost, 'balance in the book');
  const wallet = await stack.wallet(account);
  assert.equal(wallet.balance, start - cost, 'balance in Redis');
  assert.equal(wallet.held, 0n, 'held in Redis');
  return rows[0];
}

test('the SDK lists the models with their prices', async () => {
  const { data } = await client(stack.key).models.list();
  assert.deepEqual(data.map(({ id }) => id).sort(), ['chat', 'embed', 'thinker']);
  const chat = data.find(({ id }) => id === 'chat');
  assert.equal(parseCoins(chat.pricing.input), parseCoins(CHAT.input));
  assert.equal(parseCoins(chat.pricing.output), parseCoins(CHAT.output));
  assert.equal(chat.pricing.unit, 'coins_per_1m_tokens');
});

test('a completion costs what the price list says, in the header, in Redis and in the book', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  const { data, response } = await client(key).chat.completions.create({ model: 'chat', messages: QUESTION }).withResponse();
  assert.match(data.choices[0].message.content, /What, exactly, does this cost\?/);
  assert.equal(data.usage.prompt_tokens, QUESTION_TOKENS);

  const cost = costOf({ input: data.usage.prompt_tokens, output: data.usage.completion_tokens }, CHAT);
  assert.ok(cost > 0n);
  assert.equal(response.headers.get('x-lumen-cost'), formatCoins(cost));
  const row = await assertCharged({ account, before: parseCoins('5'), requestId: response.headers.get('x-request-id'), cost });
  assert.equal(Number(row.tokens_in), data.usage.prompt_tokens);
  assert.equal(Number(row.tokens_out), data.usage.completion_tokens);
  assert.equal(row.status, '200');
});

test('cached and reasoning tokens are charged at their own prices', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  const { data, response } = await client(key).chat.completions.create({ model: 'thinker', messages: QUESTION }).withResponse();
  assert.deepEqual(
    [data.usage.prompt_tokens_details.cached_tokens, data.usage.completion_tokens_details.reasoning_tokens, data.usage.completion_tokens],
    [3, 20, 50]);
  const cost = costOf({ input: QUESTION_TOKENS, cached: 3, output: 50, reasoning: 20 }, CHAT);
  assert.equal(response.headers.get('x-lumen-cost'), formatCoins(cost));
  await assertCharged({ account, before: parseCoins('5'), requestId: response.headers.get('x-request-id'), cost });
});

test('a stream costs the same as its answer in one piece, and the client sees no usage it did not ask for', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  const whole = await client(key).chat.completions.create({ model: 'chat', messages: QUESTION });
  const cost = costOf({ input: whole.usage.prompt_tokens, output: whole.usage.completion_tokens }, CHAT);
  await waitFor('the first to be settled', async () => (await stack.wallet(account)).balance === parseCoins('5') - cost);

  const { data: chunks, response } = await client(key).chat.completions
    .create({ model: 'chat', messages: QUESTION, stream: true }).withResponse();
  let text = '';
  for await (const chunk of chunks) {
    assert.equal(chunk.usage ?? undefined, undefined);
    assert.equal(chunk.choices.length, 1);
    text += chunk.choices[0].delta.content ?? '';
  }
  assert.equal(text, whole.choices[0].message.content);
  await assertCharged({ account, before: parseCoins('5') - cost, requestId: response.headers.get('x-request-id'), cost });
});

test('a stream whose client asked for usage gets it, and says its cost in a comment', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  const body = { model: 'thinker', messages: QUESTION, stream: true, stream_options: { include_usage: true } };
  const cost = costOf({ input: QUESTION_TOKENS, cached: 3, output: 50, reasoning: 20 }, CHAT);

  const { data: chunks, response } = await client(key).chat.completions.create(body).withResponse();
  const usages = [];
  for await (const chunk of chunks) if (chunk.usage) usages.push(chunk.usage.completion_tokens);
  assert.deepEqual(usages, [50]);
  await assertCharged({ account, before: parseCoins('5'), requestId: response.headers.get('x-request-id'), cost });

  const raw = await stack.post('/v1/chat/completions', body, { key });
  const lines = (await raw.text()).split('\n').filter(Boolean);
  assert.equal(lines.at(-1), 'data: [DONE]');
  assert.equal(lines.at(-2), `: lumen cost=${formatCoins(cost)} request=${raw.headers.get('x-request-id')}`);
});

test('embeddings cost their input', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  const { data, response } = await client(key).embeddings
    .create({ model: 'embed', input: ['one two three', 'four'] }).withResponse();
  assert.equal(data.data.length, 2);
  assert.ok(data.data[0].embedding.length > 0 && data.data[0].embedding.every(Number.isFinite));
  assert.equal(data.usage.prompt_tokens, 4);
  const cost = costOf({ input: 4 }, EMBED);
  assert.equal(response.headers.get('x-lumen-cost'), formatCoins(cost));
  await assertCharged({ account, before: parseCoins('5'), requestId: response.headers.get('x-request-id'), cost });
});

test('the model server sees its own model name and key, and none of the caller\'s credentials', async () => {
  await client(stack.key).chat.completions.create({ model: 'chat', messages: QUESTION }, { headers: { cookie: 'a=b', 'x-api-key': stack.key } });
  const { recent } = await stack.modelServers[0].report();
  const seen = recent.filter(({ target }) => target === '/v1/chat/completions').at(-1);
  assert.equal(JSON.parse(seen.body).model, 'vendor/chat-7b');
  assert.match(seen.head, new RegExp(`^authorization: Bearer ${UPSTREAM_KEY}\r$`, 'im'));
  assert.ok(!seen.head.includes(stack.key));
  assert.doesNotMatch(seen.head, /^(x-api-key|cookie):/im);
});

test('the SDK reads a bad key as an authentication error, and nothing is charged', async () => {
  await assert.rejects(
    client('sk_not_a_key').chat.completions.create({ model: 'chat', messages: QUESTION }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key');
});
