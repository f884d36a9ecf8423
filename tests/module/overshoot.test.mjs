// How far below zero a wallet can get (spec/api.md, ledger.md I7, I8): strict, never, whatever a tokenizer makes of the input
// and however it is given; soft, by what was running, and no further.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { costOf, formatCoins, parseCoins } from '../harness/coins.mjs';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { startEndpoint } from './scripted_endpoint.mjs';
import { seededRandom } from './traffic.mjs';

const PRICE = { input: '100', output: '300' };
const TEMPLATE_TOKENS = 1024;
const IMAGE_TOKENS = 16_384;
const SEED = Number(process.env.LUMEN_SEED ?? 20_261_126);

let stack;
let greedy;
before(async () => {
  // A server whose tokenizer makes the most of everything: a token of each byte, the largest template, the largest images.
  greedy = await startEndpoint((request, body) => {
    const images = JSON.stringify(body).match(/"image_url":\{/g)?.length ?? 0;
    const usage = { prompt_tokens: Number(request.headers['content-length']) + TEMPLATE_TOKENS + images * IMAGE_TOKENS, completion_tokens: body.max_tokens };
    return { json: { choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }], usage } };
  });
  const priced = { access: 'allowed', input_cost_per_million: 100, output_cost_per_million: 300 };
  stack = await startStack({
    name: 'overshoot',
    models: ([server]) => [
      { ...priced, name: 'greedy', endpoints: [{ id: 'greedy-1', url: `${greedy.url}/v1` }] },
      { ...priced, name: 'long', endpoints: [{ id: 'long-1', url: `${server}/misbehave/tokens-6000/v1` }] },
      { ...priced, name: 'fast', endpoints: [{ id: 'fast-1', url: `${server}/misbehave/tokens-6000/v1` }] },
    ],
  });
});
after(async () => {
  greedy?.close();
  await stack?.stop();
});

const settled = (account) => stack.atRest(account);

// `most`: coins of the richest wallet, so that some can pay and some can't.
const INPUTS = [
  { kind: 'prose', most: 3, make: (size) => 'word '.repeat(size) },
  { kind: 'letters no tokenizer knows', most: 3, make: (size) => '\u{10000}'.repeat(size) },
  { kind: 'an image by its address', most: 5, make: () => [{ type: 'text', text: 'What is it?' }, { type: 'image_url', image_url: { url: 'https://e.x/a.png' } }] },
  { kind: 'images in base64', most: 14, make: (size) => Array.from({ length: 3 }, () => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${'Q'.repeat(size * 20)}` } })) },
];
const ROUNDS = 8;

for (const { kind, most, make } of INPUTS) {
  test(`strict: the wallet never gets below zero, whatever a tokenizer makes of ${kind}`, async () => {
    const random = seededRandom(SEED);
    const statuses = [];
    for (let i = 0; i < ROUNDS; i++) {
      const coins = formatCoins(BigInt(most) * 1_000_000_000n * BigInt(i + 1) / BigInt(ROUNDS));
      const { account, key } = await stack.newAccount({ max: coins, mode: 'strict' });
      const answer = await stack.post('/v1/chat/completions', { model: 'greedy', max_tokens: Math.floor(random() * 3000) + 1000, messages: [{ role: 'user', content: make(Math.floor(random() * 600) + 1) }] }, { key });
      await answer.text();
      statuses.push(answer.status);
      const { balance } = await settled(account);
      assert.ok(balance >= 0n, `seed ${SEED}, round ${i}: ${balance} nano of ${coins}`);
    }
    assert.ok(statuses.every((status) => [200, 400, 402].includes(status)), statuses.join());
    assert.ok(statuses.includes(200) && new Set(statuses).size > 1, `some can pay and some can't: ${statuses}`);
  });
}

test('strict: a thousand words at once do not pass zero either', async () => {
  const { account, key } = await stack.newAccount({ max: '2', mode: 'strict' });
  const answers = await Promise.all(Array.from({ length: 12 }, () => stack.post('/v1/chat/completions', { model: 'fast', stream: true, messages: [{ role: 'user', content: 'Tell me.' }] }, { key }).then((answer) => answer.text())));
  assert.ok(answers.some((text) => text.includes('insufficient_quota') || text.includes('balance_held')));
  const { balance } = await settled(account);
  assert.ok(balance >= 0n, `${balance} nano`);
});

test('soft: the worst overshoot is one hold and what each running request costs beyond its own', async (t) => {
  const { account, key } = await stack.newAccount({ max: '1.3' });
  const ask = () => stack.post('/v1/chat/completions', { model: 'long', messages: [{ role: 'user', content: 'Tell me.' }] }, { key });
  await stack.modelServers[0].behave('held');
  const first = ask();
  const hold = (await stack.waitForHold(account, first)).held;
  const asked = [first, ...Array.from({ length: 9 }, ask)];
  await stack.allDecided(account, asked);
  await stack.modelServers[0].behave('');
  const answers = await Promise.all(asked);
  const statuses = answers.map(({ status }) => status);
  const served = statuses.filter((status) => status === 200).length;
  const texts = await Promise.all(answers.map((answer) => answer.json()));
  const { usage } = texts.find((body) => body.usage);
  const cost = costOf({ input: usage.prompt_tokens, output: usage.completion_tokens }, PRICE);
  const { balance } = await settled(account);
  assert.equal(balance, parseCoins('1.3') - cost * BigInt(served));
  const bound = hold + BigInt(served) * (cost > hold ? cost - hold : 0n);
  assert.ok(balance < 0n && -balance <= bound, `${-balance} of at most ${bound}`);
  assert.ok(served < answers.length, 'most were refused: all coins were held');
  t.diagnostic(`${served} requests ran; ${formatCoins(-balance)} coins below zero, of at most ${formatCoins(bound)}`);
});
