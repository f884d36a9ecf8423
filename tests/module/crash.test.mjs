// kill -9 of admind during the drain, of workers during requests, of Redis under load: every answered request is in the
// book once at the price the client was told, and the books balance (T4, T9; stack.stop() checks the invariants).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { blows } from '../simulation/blows.mjs';
import { bookedAsTold, servedAgain, under } from '../simulation/load.mjs';
import { seededRandom } from './traffic.mjs';

const LONGEST_PAUSE_MS = 250;

const seed = Number(process.env.LUMEN_SEED ?? Date.now() % 2 ** 32);
const random = seededRandom(seed);

let stack;
before(async () => {
  console.log(`seed ${seed} (LUMEN_SEED=${seed} repeats the choices)`);
  stack = await startStack({ name: 'crash', redisSync: 'always' });
});
after(() => stack?.stop());

/// The same blow `count` times at random points of the load.
async function survives(name, count) {
  const lumen = { stack, gates: [stack.server('nginx')] };
  const heard = await under(lumen, async (served) => {
    for (let i = 0; i < count; i++) {
      await blows[name](lumen, random);
      await servedAgain(served);
      await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_PAUSE_MS));
    }
  });
  assert.ok(heard.told.size > count, 'the load was a load');
  await bookedAsTold(stack, heard, { inFlightForgotten: 0 });
  return heard;
}

test('admind killed at random points of the drain: every event is booked once', () => survives('admind killed', 12));

test('workers killed during requests: what they had begun is settled or voided by another', async () => {
  await stack.modelServers[0].behave('slow-30');  // so that requests are with the model when the blow comes
  const { broken } = await survives('worker killed', 10);
  assert.ok(broken > 0, 'requests were under way');
  await stack.modelServers[0].behave('');
});

test('Redis killed under load: no acknowledged settle is lost, none is charged twice', async () => {
  const { statuses } = await survives('Redis killed', 6);
  assert.ok(statuses[503] > 0, 'the gate failed closed while Redis was away');
});
