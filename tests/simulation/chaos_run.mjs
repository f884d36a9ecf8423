// One run of chaos on a stack of its own: two gates and three admind on one Redis and one Postgres. Throws, with the
// logs, unless every price told was booked once and the invariants hold.
import path from 'node:path';
import { startStack } from '../harness/stack.mjs';
import { seededRandom } from '../module/traffic.mjs';
import { blows, lossy } from './blows.mjs';
import { clusterBlows, clusterLossy } from './cluster_blows.mjs';
import { bookedAsTold, CLIENTS, servedAgain, under } from './load.mjs';
import { RedisLinkProxy } from './redis_link_proxy.mjs';

const LONGEST_PAUSE_MS = 400;
const LONGEST_DELAY_MS = 120_000;
export const LEAST_TOLD = 100;

const MASTERS = 3;

/// Names of blows in an order that the seed decides: all once, shuffled, then again.
function* blowsInOrder(of, random) {
  for (;;) {
    const names = Object.keys(of);
    while (names.length > 0) yield names.splice(Math.floor(random() * names.length), 1)[0];
  }
}

async function withCopies(stack, more) {
  const gates = [stack.server('nginx'), await stack.addGate()];
  const adminds = [stack.server('admind'), await stack.addAdmind(), await stack.addAdmind()];
  return { stack, gates, adminds, ...more };
}

/// A stack whose gates reach Redis over a link that can be cut.
async function onOneRedis() {
  let link;
  const stack = await startStack({
    name: 'chaos',
    redisTimeout: '1s',
    redisSync: 'always',
    nginx: (file, text) => text.replaceAll('/redis.sock', '/gates.sock'),
    prepared: async (instance) => {
      link = new RedisLinkProxy(path.join(instance.runDir, 'gates.sock'), instance.redis.socket);
      await link.start();
    },
  });
  return withCopies(stack, { link, blows, lossy });
}

/// Three masters, each with a replica; what befalls the one Redis befalls nodes here.
async function onACluster() {
  const stack = await startStack({ name: 'chaos', redisTimeout: '1s', redisSync: 'always', redisNodes: MASTERS });
  const { redis } = stack.instance;
  for (const master of redis.nodes.slice(0, MASTERS)) await redis.addReplica(master);
  await redis.inStep();
  const others = Object.entries(blows).filter(([name]) => !/Redis/.test(name));
  return withCopies(stack, { blows: { ...Object.fromEntries(others), ...clusterBlows }, lossy: clusterLossy });
}

/// Counts of what happened: {seconds, blows: {name: n}, statuses, answered, told, booked, coins, …}; see load.mjs.
export async function runChaos({ seed, seconds, cluster = false, onBlow = () => {} }) {
  const random = seededRandom(seed);
  const run = await (cluster ? onACluster() : onOneRedis());
  const { stack } = run;
  const dealt = {};
  let heard;
  let booked;
  try {
    await stack.modelServers[0].behave('slow-10');  // so that requests are with the model when a blow comes
    heard = await under(run, async (served, accounts, soFar) => {
      run.accounts = accounts;
      const end = Date.now() + seconds * 1000;
      const last = end + LONGEST_DELAY_MS;
      for (const name of blowsInOrder(run.blows, random)) {
        // A slow machine needs longer for as much of everything.
        if (Date.now() >= last || (Date.now() >= end && soFar.told.size > LEAST_TOLD && soFar.revocations > 0)) break;
        onBlow(name);
        try {
          await run.blows[name](run, random);
        } catch (error) {
          throw new Error(`during "${name}": ${error.message}`);
        }
        dealt[name] = (dealt[name] ?? 0) + 1;
        await servedAgain(served);
        await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_PAUSE_MS));
      }
    });
    const forgotten = Object.entries(dealt).reduce((sum, [name, n]) => sum + (run.lossy.has(name) ? n : 0), 0);
    booked = await bookedAsTold(stack, heard, { inFlightForgotten: forgotten * CLIENTS });
    await stack.stop();
  } catch (error) {
    const logs = stack.logTails();
    await stack.abandon();
    throw new Error(`seed ${seed}, after ${JSON.stringify(dealt)}: ${error.message}\n${logs}`);
  } finally {
    await run.link?.stop();
  }
  const { told, statuses, cut, broken, revoked, revocations } = heard;
  return { seed, seconds, blows: dealt, statuses, told: told.size, cut, broken, revocations, served_after_revoke: revoked, ...booked };
}
