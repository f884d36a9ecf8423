// The request after a change sees it, on every worker and on connections that were open before (I9, P51, L18, L19):
// 1,000 rounds, no stale answer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { chatBody, codeOf, Connections, workerOf } from './traffic.mjs';

const REVOCATIONS = 600;
const DEACTIVATIONS = 200;
const GRANTS = 200;
const LANES = 4;  // rounds under way at a time, each with its own account and connections
const CONNECTIONS = 6;

let stack;
before(async () => { stack = await startStack({ name: 'freshness', workers: 2 }); });
after(() => stack?.stop());

const embed = (connections, i, key) => connections.post(i, '/v1/chat/completions', key, chatBody({ max_tokens: 1 }));

/// Connections that between them reach every worker, all of them already used.
async function openConnections(key) {
  const gatePort = new URL(stack.url).port;
  for (let tries = 0; tries < 200; tries++) {
    const connections = new Connections(stack.url, CONNECTIONS);
    // At once: of those that come one by one an idle machine gives each to the same worker.
    for (const { status } of await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => embed(connections, i, key)))) assert.equal(status, 200);
    const reached = new Set(connections.ports().map((port) => workerOf(port, gatePort, stack.workers())));
    reached.delete(undefined);
    if (reached.size === stack.workers().length) return connections;
    connections.close();
  }
  throw new Error('no set of connections reached every worker');
}

/// Runs `rounds` rounds in lanes; a lane has its own account.
async function inLanes(rounds, lane) {
  await Promise.all(Array.from({ length: LANES }, async (_, n) => {
    const owner = await stack.newAccount({ max: '1000' });
    const connections = await openConnections(owner.key);
    try {
      for (let round = 0; round < rounds / LANES; round++) await lane(owner, connections, `${n}-${round}`);
    } finally {
      connections.close();
    }
  }));
}

async function everyConnection(connections, key, check) {
  for (let i = 0; i < CONNECTIONS; i++) check(await embed(connections, i, key));
}

test('the request after a revoke is refused on every worker', async () => {
  await inLanes(REVOCATIONS, async ({ account }, connections, round) => {
    const { id, key } = await stack.operator.createKey(account, { name: `round-${round}` });
    await everyConnection(connections, key, (answer) => assert.equal(answer.status, 200, answer.body));
    await stack.operator.deleteKey(account, id);
    await everyConnection(connections, key, (answer) => {
      assert.equal(answer.status, 401, `stale answer after a revoke: ${answer.body}`);
      assert.equal(codeOf(answer), 'invalid_api_key');
    });
  });
});

test('the request after a deactivation is refused, the one after an activation served', async () => {
  await inLanes(DEACTIVATIONS, async ({ user, key }, connections) => {
    await stack.operator.change('PATCH', `/admin/users/${user}`, `/admin/users/${user}`, { active: false });
    await everyConnection(connections, key, (answer) => {
      assert.equal(answer.status, 403, `stale answer after a deactivation: ${answer.body}`);
      assert.equal(codeOf(answer), 'account_disabled');
    });
    await stack.operator.change('PATCH', `/admin/users/${user}`, `/admin/users/${user}`, { active: true });
    await everyConnection(connections, key, (answer) => assert.equal(answer.status, 200, answer.body));
  });
});

test('the request after a grant to an empty wallet is served', async () => {
  await stack.modelServers[0].behave('tokens-1');
  await Promise.all(Array.from({ length: LANES }, async () => {
    // A limit and nothing in it: what is granted is all there is.
    const { account, key } = await stack.newAccount({ max: '5', starting: '0' });
    const connections = new Connections(stack.url, 2);
    for (let round = 0; round < GRANTS / LANES; round++) {
      const refused = await embed(connections, 0, key);
      assert.equal(refused.status, 402, refused.body);
      await stack.rest('POST', `/admin/accounts/${account}/grants`, { coins: '0.000000001', reason: 'a round' });
      const served = await embed(connections, 1, key);
      assert.equal(served.status, 200, `stale answer after a grant: ${served.body}`);
      // The answer is there before its settle: the cost is known with the last byte.
      const { balance } = await waitFor('the settle', async () => {
        const wallet = await stack.wallet(account);
        return wallet.running === 0n && wallet;
      });
      assert.ok(balance <= 0n, 'one nano-coin is spent by one request');
      // Back to nothing for the next round.
      if (balance < 0n) {
        const owed = `0.${String(-balance).padStart(9, '0')}`;
        await stack.rest('POST', `/admin/accounts/${account}/grants`, { coins: owed, reason: 'back to zero' });
      }
    }
    connections.close();
  }));
});
