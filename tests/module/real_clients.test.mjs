// Real clients, unmodified and pinned, doing what people do with them: answers, streams, tool calls, pictures; and what
// must not go wrong: a wrong key, an empty wallet (L28), a rate limit, a client that leaves.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { ownKey } from './api_keys.mjs';
import { startModelEndpoint, WORDS } from './clients/model_endpoint.mjs';
import { MODEL, nodeClients, QUESTION } from './clients/node_clients.mjs';
import { curl, startPythonClient } from './clients/other_clients.mjs';
import { chatBody } from './traffic.mjs';

const ANSWER = WORDS.join('');
const PER_MINUTE = 20;

let stack;
let endpoint;
let python;
before(async () => {
  endpoint = await startModelEndpoint();
  stack = await startStack({
    name: 'real_clients',
    models: [{ name: MODEL, access: 'allowed', input_cost_per_million: 1, output_cost_per_million: 1, endpoints: [{ id: 'worldly-1', url: `${endpoint.url}/v1` }] }],
    settings: { rate_limiting: { limit: `${PER_MINUTE} per minute` } },
  });
  python = startPythonClient();
});
after(async () => {
  python?.close();
  endpoint?.close();
  await stack?.stop();
});

/// The lines that the gate's access log has with these words, once there are more than `already`: a line is written
/// after the client has its answer.
const logged = (words, already = 0) => waitFor(`a line of the log with ${words}`, () => {
  const lines = stack.log('nginx-access').split('\n').filter((line) => line.includes(words));
  return lines.length > already && lines;
});
const loggedNow = (words) => stack.log('nginx-access').split('\n').filter((line) => line.includes(words)).length;

const pythonClient = { name: 'openai (Python)', statusOf: (error) => python.statusOf(error), connect: (gate) => python.connect(gate) };

const clients = [...nodeClients, pythonClient, curl];

for (const client of clients) {
  describe(client.name, () => {
    const connect = (key) => client.connect({ url: stack.url, key });
    const settled = (account) => waitFor('it to be settled', async () => (await stack.wallet(account)).running === 0n);

    test('completes', async () => {
      const { account, key } = await stack.newAccount();
      assert.equal(await connect(key).complete(), ANSWER);
      await settled(account);
      assert.equal((await stack.wallet(account)).balance, 5_000_000_000n - 18_000n);
    });

    test('streams', async () => {
      const { account, key } = await stack.newAccount();
      assert.equal(await connect(key).stream(), ANSWER);
      await settled(account);
      assert.equal((await stack.wallet(account)).balance, 5_000_000_000n - 18_000n, 'by the usage that the gate asked for');
    });

    test('gets a tool call', async () => {
      const { key } = await stack.newAccount();
      assert.deepEqual(await connect(key).tool(), { name: 'weather', arguments: { city: 'Ämsterdam' } });
    });

    test('sends a picture', async () => {
      const { key } = await stack.newAccount();
      assert.equal(await connect(key).picture(), 'I see a picture.');
    });

    test('a wrong key fails at once, as 401', async () => {
      const line = 'refusal=invalid_api_key';
      const before = loggedNow(line);
      await assert.rejects(connect(ownKey()).complete(), (error) => client.statusOf(error) === 401 || assert.fail(error));
      assert.equal((await logged(line, before)).length - before, 1, 'one request');
    });

    for (const verb of ['complete', 'stream']) {
      test(`L28: out of coins, ${verb} fails at once and is not tried again`, async () => {
        const { account, key } = await stack.newAccount({ max: '5', starting: '0' });
        const asked = endpoint.seen.requests;
        const began = Date.now();
        await assert.rejects(connect(key)[verb](), (error) => client.statusOf(error) === 402 || assert.fail(error));
        assert.ok(Date.now() - began < 10_000, 'it did not sleep');
        const lines = await logged(` account=${account} `);
        assert.equal(lines.length, 1, 'one request');
        assert.match(lines[0], / 402 .* refusal=insufficient_quota /);
        assert.equal(endpoint.seen.requests, asked);
      });
    }
  });
}

// What is mostly waiting: all clients at once.
describe('limits', { concurrency: true }, () => {
  for (const client of clients) {
    test(`${client.name} waits for a rate limit, and then it succeeds`, async () => {
      const { account, key } = await stack.newAccount();
      const body = chatBody({ model: MODEL, messages: [{ role: 'user', content: QUESTION }] });
      const words = ` account=${account} `;
      await waitFor('the client to meet the limit', async () => {
        const already = loggedNow(words);
        const answers = await Promise.all(Array.from({ length: PER_MINUTE + 5 }, () => stack.post('/v1/chat/completions', body, { key })));
        for (const answer of answers) await answer.text();
        assert.ok(answers.some(({ status }) => status === 429));
        const before = await waitFor('their lines', () => loggedNow(words) === already + answers.length && loggedNow(words));
        assert.equal(await client.connect({ url: stack.url, key }).complete(), ANSWER);
        // The line of a request comes after its answer.
        const lines = await waitFor('the line of the one that passed', async () => {
          const own = (await logged(words, before)).slice(before);
          return / 200 /.test(own.at(-1)) && own;
        });
        assert.ok(lines.length <= 4);
        return / 429 .* refusal=rate_limit_exceeded /.test(lines[0]);
      }, 90);
    });
  }
});

// Not beside the others: they would be slow as well.
describe('leaving', { concurrency: true }, () => {
  before(() => { endpoint.seen.paceMs = 3_000 / WORDS.length; });
  after(() => { endpoint.seen.paceMs = 0; });
  for (const client of clients) {
    test(`${client.name} leaves a stream: it is read on for its usage, charged, and not asked for again`, async () => {
      const { account, key } = await stack.newAccount();
      await client.connect({ url: stack.url, key }).abort();
      await waitFor('the hold to end', async () => (await stack.wallet(account)).running === 0n);
      assert.ok((await stack.wallet(account)).balance < 5_000_000_000n, 'L13: leaving is not free');
      assert.equal((await logged(` account=${account} `)).length, 1, 'it is not asked again');
    });
  }
});
