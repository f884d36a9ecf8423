// What can befall a running Lumen; each ends with the server running again. `lossy` ones make Redis forget holds: strict
// wallets may then end below zero by what was in flight (ledger.md §8).
import { waitFor } from '../harness/machine.mjs';

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function killAndStart({ stack }, name) {
  await stack.kill(name);
  await stack.start(name);
}

async function freeze({ stack }, name, ms) {
  const { pid } = stack.server(name);
  process.kill(pid, 'SIGSTOP');
  try {
    await pause(ms);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

export const pick = (list, random) => list[Math.floor(random() * list.length)];

/// nginx with all its workers, as when its host's power returns; its ring is on disk.
async function killWholeGate(gate) {
  const workers = gate.workers();
  gate.kill('SIGKILL');
  for (const pid of workers) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch { /* it went with its master */ }
  }
  await gate.waitUntilGone();
  await gate.start();
}

/// The book has everything that is older than a few seconds: what Redis forgets now, replay brings back (I11).
export async function drainedLately({ stack }) {
  await waitFor('the drain to be close', async () => {
    const began = Date.now();
    const wanted = await Promise.all(Array.from({ length: 256 }, (_, bucket) =>
      stack.redis('HGET', `{b${String(bucket).padStart(3, '0')}}:meta`, 'bseq')));
    const rows = await stack.sql('select bucket, last_bseq from stream_positions');
    const positions = new Map(rows.map((row) => [Number(row.bucket), Number(row.last_bseq)]));
    return wanted.every((bseq, bucket) => (positions.get(bucket) ?? 0) >= Number(bseq ?? 0)) && Date.now() - began < 4000;
  });
}

/// Its lock is taken away while it sleeps; when it wakes it still believes that it leads.
async function leaderStalls({ stack, adminds }, random) {
  const holder = await stack.sql("select pid from pg_locks where locktype = 'advisory' and granted and (classid::bigint << 32 | objid::bigint) = 7815272424889578597");
  const sleeping = adminds.filter((admind) => admind.pid !== null);
  for (const admind of sleeping.slice(1)) process.kill(admind.pid, 'SIGSTOP');
  try {
    if (holder.length > 0) await stack.sql(`select pg_terminate_backend(${holder[0].pid})`);
    await pause(300 + random() * 1500);
  } finally {
    for (const admind of sleeping.slice(1)) process.kill(admind.pid, 'SIGCONT');
  }
}

export const blows = {
  'admind killed': (run) => killAndStart(run, 'admind'),
  'Redis killed': (run) => killAndStart(run, 'redis'),
  'Postgres killed': async ({ stack }) => {
    await stack.kill('postgres');
    // Its orphans hold the shared memory for another moment.
    await waitFor('Postgres to start', () => stack.start('postgres').then(() => true, () => false), 60, 200);
  },
  'model server killed': (run) => killAndStart(run, 'model0'),
  'worker killed': async ({ gates }, random) => {
    const gate = pick(gates, random);
    const victim = pick(gate.workers(), random);
    process.kill(victim, 'SIGKILL');
    await waitFor('a new worker', () => {
      const now = gate.workers();
      return !now.includes(victim) && now.length >= gate.instance.workers;
    });
  },
  'nginx killed whole': ({ gates }, random) => killWholeGate(pick(gates, random)),
  'nginx reloaded': ({ stack }) => stack.reload(),
  'Redis frozen': (run, random) => freeze(run, 'redis', 200 + random() * 2500),
  'Postgres frozen': (run, random) => freeze(run, 'postgres', 200 + random() * 2500),
  'admind frozen': (run, random) => freeze(run, 'admind', 200 + random() * 2500),
  'model server frozen': (run, random) => freeze(run, 'model0', 200 + random() * 1000),
  'the leader stalls and wakes late': leaderStalls,
  'gates cut off from Redis': async ({ link }, random) => {
    link.cut();
    await pause(300 + random() * 2500);
    link.mend();
  },
  'Redis far away': async ({ link }, random) => {
    link.slow(20 + random() * 150);
    await pause(1000 + random() * 1000);
    link.mend();
  },
  'Redis emptied': async (run) => {
    await drainedLately(run);
    await run.stack.redis('FLUSHALL');
  },
};

export const lossy = new Set(['Redis emptied']);
