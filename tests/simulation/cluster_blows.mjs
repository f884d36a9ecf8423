// What can befall the Redis Cluster under a running Lumen: nodes that die, freeze or are promoted, and slots that move.
// Every master has a replica. `lossy` as in blows.mjs: a replica may lack the newest holds when it takes over.
import { waitFor } from '../harness/machine.mjs';
import { slotOfBucket } from '../harness/redis_cluster.mjs';
import { drainedLately, pause, pick } from './blows.mjs';

/// More than the nodes' time-out: a replica takes over meanwhile.
const LONG_FREEZE_MS = 4000;
const SLOTS_MOVED = 4;

/// A slot of an account that is used, or of any bucket, and a master that does not have it.
async function slotAndTarget({ stack, accounts }, random) {
  const buckets = random() < 0.8 ? accounts.map(({ account }) => Number(BigInt(account) % 256n)) : [Math.floor(random() * 256)];
  const bucket = pick(buckets, random);
  const slot = slotOfBucket(bucket);
  const { redis } = stack.instance;
  const owner = await redis.ownerOf(slot);
  return { bucket, slot, target: pick((await redis.withSlots()).filter((node) => node !== owner), random) };
}

async function promoted(redis, master) {
  await waitFor('a replica to take over', async () => !(await redis.withSlots()).includes(master));
}

/// It comes back as a replica, and is in step before the next blow: with two copies gone nothing could be promised.
async function comesBack(redis, node) {
  await node.start();
  await redis.inStep();
}

/// As docs/operations.md says: nobody writes to the bucket while redis-cli brings its keys together.
async function fixed({ stack, adminds }, bucket) {
  await Promise.all(adminds.map((admind) => admind.stop()));
  await stack.redis('HDEL', `{b${String(bucket).padStart(3, '0')}}:meta`, 'ready');
  await stack.instance.redis.fix();
  await Promise.all(adminds.map((admind) => admind.start()));
}

export const clusterBlows = {
  'a master killed, its replica takes over': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const master = pick(await redis.withSlots(), random);
    master.kill('SIGKILL');
    await master.waitUntilGone();
    await promoted(redis, master);
    await comesBack(redis, master);
  },
  'a master killed and back at once': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const master = pick(await redis.withSlots(), random);
    master.kill('SIGKILL');
    await master.waitUntilGone();
    await comesBack(redis, master);
  },
  'a replica killed': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const masters = await redis.withSlots();
    const replica = pick(redis.nodes.filter((node) => !masters.includes(node)), random);
    replica.kill('SIGKILL');
    await replica.waitUntilGone();
    await comesBack(redis, replica);
  },
  'a master frozen': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const { pid } = pick(await redis.withSlots(), random);
    process.kill(pid, 'SIGSTOP');
    await pause(200 + random() * 1000);
    process.kill(pid, 'SIGCONT');
    await redis.inStep();
  },
  'a master frozen until its replica took over': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const { pid } = pick(await redis.withSlots(), random);
    process.kill(pid, 'SIGSTOP');
    await pause(LONG_FREEZE_MS + random() * 2000);
    process.kill(pid, 'SIGCONT');
    await redis.inStep();
  },
  'a planned failover': async ({ stack }, random) => {
    const { redis } = stack.instance;
    const masters = await redis.withSlots();
    const replica = pick(redis.nodes.filter((node) => !masters.includes(node)), random);
    // Redis gives one up after five seconds.
    await waitFor('the replica to be the master', async () => {
      if ((await redis.withSlots()).includes(replica)) return true;
      await replica.ask('CLUSTER', 'FAILOVER').catch(() => {});
      await pause(1000);
      return (await redis.withSlots()).includes(replica);
    }, 60, 5000);
    await redis.inStep();
  },
  'slots move': async (run, random) => {
    for (let i = 0; i < SLOTS_MOVED; i++) {
      const { slot, target } = await slotAndTarget(run, random);
      await run.stack.instance.redis.moveSlot(slot, target);
    }
  },
  'a slot moves, and its new node dies on the way': async (run, random) => {
    const { redis } = run.stack.instance;
    const { bucket, slot, target } = await slotAndTarget(run, random);
    let killed = false;
    const moved = await redis.moveSlot(slot, target, {
      keysAtOnce: 1,
      between: async () => {
        if (killed) return;
        killed = true;
        target.kill('SIGKILL');
        await target.waitUntilGone();
      },
    }).then(() => true, () => false);
    if (killed) await comesBack(redis, target);
    if (!moved) await fixed(run, bucket);
  },
  'all nodes killed': async ({ stack }) => {
    const { redis } = stack.instance;
    redis.kill('SIGKILL');
    await Promise.all(redis.nodes.map((node) => node.waitUntilGone()));
    await Promise.all(redis.nodes.map((node) => node.start()));
    await redis.inStep();
  },
  'all nodes emptied': async (run) => {
    await drainedLately(run);
    for (const node of await run.stack.instance.redis.withSlots()) await node.ask('FLUSHALL');
  },
};

export const clusterLossy = new Set([
  'a master killed, its replica takes over', 'a master frozen until its replica took over', 'a master frozen',
  'a master killed and back at once', 'a slot moves, and its new node dies on the way', 'all nodes killed', 'all nodes emptied',
]);
