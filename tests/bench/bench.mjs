// ./lumen bench: what the gate and the ledger cost on this machine, as ratios within one run (absolute numbers wander on
// shared machines). Prints a table for people and writes the same as JSON.
//
//   node bench.mjs [gate|rates|chunks|latency|half|streams|live|redis|instructions|memory|drain|rebuild …]      all without an argument
//   LUMEN_BENCH_SECONDS=4   of each measured run             LUMEN_BENCH_ROUNDS=5   pairs of runs
import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildDir } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { BareNginx } from './bare_nginx.mjs';
import { median, openLoop, runBeforeOthers, Worker, wrk } from './measure.mjs';
import { idleAccounts, openViewers, timeToShow } from './live_viewers.mjs';
import { authRequestNginx, luaNginx, roundTripNginx } from './rivals.mjs';
import { openStreams, readStreams } from './streams.mjs';

const seconds = Number(process.env.LUMEN_BENCH_SECONDS ?? 4);
const rounds = Number(process.env.LUMEN_BENCH_ROUNDS ?? 5);
const CONNECTIONS = 128;  // enough that a worker never waits for one request's flush to disk
const RATE_SHARES = [0.1, 0.3, 0.5, 0.7, 0.9];
const STREAMS = 1000;
const CHUNK_STREAMS = 50;
const CHUNK_TOKENS = 150;
const VIEWERS = 10_000;
const IDLE_SECONDS = 45;  // three rounds of the comments that keep streams alive

/// The gate and a bare nginx before the same model server, one worker each, no access log on either side.
async function withBoth(measure) {
  const stack = await startStack({
    name: 'bench',
    redisTimeout: '1s',
    redisSync: 'always',
    workers: 1,
    nginx: (file, text) => text.replace(/access_log [^;]+;/g, 'access_log off;'),
  });
  let measured;
  try {
    const { account, key } = await stack.newAccount({ max: '1000000' });
    const bare = new BareNginx(stack);
    await bare.start();
    try {
      measured = await measure({ stack, bare, account, key });
    } finally {
      await bare.stop();
    }
  } catch (error) {
    await stack.abandon();  // the books that stop() looks at would only hide it
    throw error;
  }
  await stack.stop();
  return measured;
}

/// CPU per request of the gate's worker, and of its rivals', against the bare one's, alternating: a 1 KB chat body,
/// keep-alive.
async function gate() {
  return withBoth(async ({ stack, bare, key }) => {
    const rivals = { round_trip: roundTripNginx(stack), auth_request: authRequestNginx(stack, bare), lua: await luaNginx(stack, key) };
    for (const rival of Object.values(rivals)) await rival.start();
    try {
      return await compare({ stack, key, sides: { bare, gate: stack, ...rivals } });
    } finally {
      for (const rival of Object.values(rivals)) await rival.stop();
    }
  });
}

async function compare({ stack, key, sides }) {
  const run = async (side) => {
    const worker = new Worker(side.workers()[0]);
    const before = worker.cpuNs();
    const load = await wrk({ url: `${side.url}/v1/chat/completions`, key, connections: CONNECTIONS, seconds });
    return { usPerRequest: (worker.cpuNs() - before) / 1000 / load.requests, ...load };
  };
  for (const side of Object.values(sides)) await run(side);  // warm
  const found = [];
  for (let i = 0; i < rounds; i++) {
    const round = {};
    for (const [name, side] of Object.entries(sides)) round[name] = await run(side);
    found.push(round);
  }
  const result = {};
  for (const name of Object.keys(sides)) {
    const ratios = found.map((round) => round[name].usPerRequest / round.bare.usPerRequest);
    result[name] = {
      us_per_request: median(found.map((round) => round[name].usPerRequest)),
      requests_per_s: median(found.map((round) => round[name].requests / round[name].seconds)),
      ...(name === 'bare' ? {} : { ratio: median(ratios), ratio_lowest: Math.min(...ratios), ratio_highest: Math.max(...ratios) }),
      worker_pss_mb: new Worker(sides[name].workers()[0]).pssKb() / 1024,
    };
  }
  return result;
}

/// CPU per request of both at the same constant rates, alternating: parts of what the gate takes at most here. Where both
/// run as fast as they can, bare nginx serves twice as many and so finds more to do at each look.
async function rates() {
  return withBoth(async ({ stack, bare, key }) => {
    await stack.redis('CONFIG', 'SET', 'appendfsync', 'everysec');
    const full = await wrk({ url: `${stack.url}/v1/chat/completions`, key, connections: CONNECTIONS, seconds });
    const run = async (side, rate) => {
      const worker = new Worker(side.workers()[0]);
      const before = worker.cpuNs();
      const load = await openLoop({ url: side.url, key, rate, seconds, connections: CONNECTIONS });
      return (worker.cpuNs() - before) / 1000 / load.requests;
    };
    const result = {};
    for (const share of RATE_SHARES) {
      const rate = Math.round(share * full.requests / full.seconds);
      await run(bare, rate);
      const pairs = [];
      for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(bare, rate), gate: await run(stack, rate) });
      const ratios = pairs.map((pair) => pair.gate / pair.bare);
      result[`at_${share * 100}_percent`] = {
        requests_per_s: rate,
        bare_us_per_request: median(pairs.map((pair) => pair.bare)),
        gate_us_per_request: median(pairs.map((pair) => pair.gate)),
        ratio: median(ratios), ratio_lowest: Math.min(...ratios), ratio_highest: Math.max(...ratios),
      };
    }
    return result;
  });
}

/// CPU for each chunk of streams that come token by token, alternating.
async function chunks() {
  return withBoth(async ({ stack, bare, key }) => {
    await stack.modelServers[0].behave(`pace-10+tokens-${CHUNK_TOKENS}`);
    const run = async (side) => {
      const worker = new Worker(side.workers()[0]);
      const before = worker.cpuNs();
      const count = await readStreams(side.url, key, CHUNK_STREAMS);
      return (worker.cpuNs() - before) / 1000 / count;
    };
    for (const side of [bare, stack]) await run(side);
    const pairs = [];
    for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(bare), gate: await run(stack) });
    return {
      bare_us_per_chunk: median(pairs.map((pair) => pair.bare)),
      gate_us_per_chunk: median(pairs.map((pair) => pair.gate)),
      ratio: median(pairs.map((pair) => pair.gate / pair.bare)),
    };
  });
}

/// A lone write and its flush, in the directory of Redis's data: what `appendfsync always` adds to each admit that finds
/// Redis idle.
function flushCost(dir) {
  const file = openSync(path.join(dir, 'flush'), 'w');
  const taken = [];
  for (let i = 0; i < 300; i++) {
    const begin = process.hrtime.bigint();
    writeSync(file, Buffer.alloc(300));
    fdatasyncSync(file);
    taken.push(Number(process.hrtime.bigint() - begin) / 1000);
  }
  closeSync(file);
  taken.sort((a, b) => a - b);
  return { median_us: taken[150], p90_us: taken[270] };
}

/// Time of one request on one connection, alternating, by what Redis does before it answers. It is reached by its socket.
async function latency() {
  return withBoth(async ({ stack, bare, key }) => {
    const run = async (url) => (await wrk({ url: `${url}/v1/chat/completions`, key, connections: 1, seconds })).latencyUs;
    await run(bare.url);
    await run(stack.url);
    const result = { flush: flushCost(stack.instance.stateDir) };
    for (const appendfsync of ['everysec', 'always']) {
      await stack.redis('CONFIG', 'SET', 'appendfsync', appendfsync);
      const pairs = [];
      for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(bare.url), gate: await run(stack.url) });
      const of = (side, percentile) => median(pairs.map((pair) => pair[side][percentile]));
      result[appendfsync] = {
        bare_median_us: of('bare', 'p50'),
        gate_median_us: of('gate', 'p50'),
        added_median_us: median(pairs.map((pair) => pair.gate.p50 - pair.bare.p50)),
        added_p99_us: median(pairs.map((pair) => pair.gate.p99 - pair.bare.p99)),
      };
    }
    return result;
  });
}

/// Time of a request while half as many come as the gate's one worker could take, at a constant rate and each counted from
/// the moment it was due; alternating, with real-time priority where that is allowed. `load_lateness` is how late the load itself was: what of a tail is the machine's.
async function half() {
  return withBoth(async ({ stack, bare, key }) => {
    await stack.redis('CONFIG', 'SET', 'appendfsync', 'everysec');
    const full = await wrk({ url: `${stack.url}/v1/chat/completions`, key, connections: CONNECTIONS, seconds });
    const rate = Math.round(full.requests / full.seconds / 2);
    const pids = [...bare.workers(), ...stack.workers(), stack.server('redis').pid, ...stack.modelServers.map(({ pid }) => pid)];
    const beforeOthers = runBeforeOthers(pids);
    const run = (side) => openLoop({ url: side.url, key, rate, seconds, connections: CONNECTIONS, beforeOthers });
    await run(bare);
    const pairs = [];
    for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(bare), gate: await run(stack) });
    const of = (side, what) => Object.fromEntries(['p50', 'p90', 'p99', 'max'].map((percentile) =>
      [`${percentile}_us`, median(pairs.map((pair) => pair[side][what][percentile]))]));
    return {
      before_others: beforeOthers ? 'yes' : 'no, needs root',
      full_requests_per_s: full.requests / full.seconds,
      requests_per_s: rate,
      bare: of('bare', 'latency_us'),
      gate: of('gate', 'latency_us'),
      load_lateness: of('gate', 'own_lateness_us'),
      added_p99_us: median(pairs.map((pair) => pair.gate.latency_us.p99 - pair.bare.latency_us.p99)),
      added_p99_least_us: Math.min(...pairs.map((pair) => pair.gate.latency_us.p99 - pair.bare.latency_us.p99)),
    };
  });
}

/// Memory of a worker for each open stream.
async function streams() {
  return withBoth(async ({ stack, bare, key }) => {
    await stack.modelServers[0].behave('pace-100+tokens-300');
    const grown = async (url, worker) => {
      const warm = await openStreams(url, key, 50);
      warm.close();
      const before = worker.pssKb();
      const open = await openStreams(url, key, STREAMS);
      const kb = (worker.pssKb() - before) / STREAMS;
      open.close();
      return kb;
    };
    return {
      streams: STREAMS,
      bare_kb_per_stream: await grown(bare.url, new Worker(bare.workers()[0])),
      gate_kb_per_stream: await grown(stack.url, new Worker(stack.workers()[0])),
    };
  });
}

/// What idle pages cost a worker (spec/ui.md E5), and how soon a settled request shows on one (E2).
async function live() {
  const stack = await startStack({ name: 'bench-live', workers: 1, redisTimeout: '1s', redisSync: 'always' });
  try {
    const person = await stack.newAccount({ max: '1000000' });
    const shown = await timeToShow(stack, person, 15);
    const { cookies, remove } = await idleAccounts(stack, VIEWERS);
    const worker = new Worker(stack.workers()[0]);
    const redis = new Worker(stack.server('redis').pid);
    const warm = await openViewers(stack.url, cookies.slice(0, 50));
    const before = worker.pssKb();
    const viewers = await openViewers(stack.url, cookies.slice(50));
    const kb = worker.pssKb() - before;
    const began = process.hrtime.bigint();
    const cpu = { worker: worker.cpuNs(), redis: redis.cpuNs() };
    await sleep(IDLE_SECONDS * 1000);
    const elapsed = Number(process.hrtime.bigint() - began);
    const result = {
      viewers: VIEWERS,
      mb: kb / 1024,
      kb_per_viewer: kb / (VIEWERS - 50),
      idle_percent_of_a_core: (100 * (worker.cpuNs() - cpu.worker)) / elapsed,
      redis_percent_of_a_core: (100 * (redis.cpuNs() - cpu.redis)) / elapsed,
      settled_request_shows_after_ms: shown,
    };
    warm.close();
    viewers.close();
    await remove();
    return result;
  } finally {
    await stack.stop();
  }
}

/// A benchmark program that prints one JSON object.
function program(name, ...args) {
  return async () => JSON.parse(execFileSync(path.join(buildDir, 'tests/bench', name), args, { encoding: 'utf8', maxBuffer: 1 << 24 }));
}

const benches = {
  gate, rates, chunks, latency, half, streams, live,
  redis: program('redis_cost'), instructions: program('redis_cost', '--instructions'), memory: program('redis_memory'), drain: program('drain_rate'), rebuild: program('rebuild_rate'),
};

function show(value) {
  if (typeof value !== 'number') return String(value);
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  return value.toFixed(value < 10 ? 2 : 1);
}

/// Nested results as one row each.
function flat(result, prefix = '') {
  return Object.entries(result).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null ? flat(value, `${prefix}${name}.`) : [[prefix + name, value]]);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !benches[name]);
if (unknown.length > 0) {
  console.error(`bench: no benchmark is called ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}`);
  process.exit(2);
}

const results = {};
for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`${name} …\n`);
  results[name] = await bench();
  console.log(`\n${name}`);
  for (const [row, value] of flat(results[name])) console.log(`  ${row.padEnd(40)} ${show(value).padStart(14)}`);
}
const file = path.join(buildDir, 'bench.json');
mkdirSync(path.dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
console.log(`\nas JSON: ${path.relative(process.cwd(), file)}`);
