// ./lumen bench: what the gate and the ledger cost on this machine, as ratios within one run (absolute numbers wander on
// shared machines). Prints a table for people and writes the same as JSON.
//
//   node bench.mjs [gate|latency|streams|redis|drain|rebuild …]      all without an argument
//   LUMEN_BENCH_SECONDS=4   of each measured run             LUMEN_BENCH_ROUNDS=5   pairs of runs
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buildDir } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { BareNginx } from './bare_nginx.mjs';
import { median, Worker, wrk } from './measure.mjs';
import { openStreams } from './streams.mjs';

const seconds = Number(process.env.LUMEN_BENCH_SECONDS ?? 4);
const rounds = Number(process.env.LUMEN_BENCH_ROUNDS ?? 5);
const CONNECTIONS = 128;  // enough that a worker never waits for one request's flush to disk
const STREAMS = 1000;

/// The gate and a bare nginx before the same model server, one worker each, no access log on either side.
async function withBoth(measure) {
  const stack = await startStack({
    name: 'bench',
    workers: 1,
    nginx: (file, text) => text.replace(/access_log [^;]+;/g, 'access_log off;'),
  });
  try {
    const { account, key } = await stack.newAccount({ max: '1000000' });
    const bare = new BareNginx(stack);
    await bare.start();
    try {
      return await measure({ stack, bare, account, key });
    } finally {
      await bare.stop();
    }
  } finally {
    await stack.stop();
  }
}

/// CPU per request of the gate's worker against the bare one's, alternating, a 1 KB chat body, keep-alive.
async function gate() {
  return withBoth(async ({ stack, bare, key }) => {
    const sides = {
      bare: { url: bare.url, worker: () => new Worker(bare.workers()[0]) },
      gate: { url: stack.url, worker: () => new Worker(stack.workers()[0]) },
    };
    const run = async (side) => {
      const worker = side.worker();
      const before = worker.cpuNs();
      const load = await wrk({ url: `${side.url}/v1/chat/completions`, key, connections: CONNECTIONS, seconds });
      return { usPerRequest: (worker.cpuNs() - before) / 1000 / load.requests, ...load };
    };
    for (const side of Object.values(sides)) await run(side);  // warm
    const pairs = [];
    for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(sides.bare), gate: await run(sides.gate) });
    const ratios = pairs.map((pair) => pair.gate.usPerRequest / pair.bare.usPerRequest);
    return {
      bare_us_per_request: median(pairs.map((pair) => pair.bare.usPerRequest)),
      gate_us_per_request: median(pairs.map((pair) => pair.gate.usPerRequest)),
      ratio: median(ratios),
      ratio_lowest: Math.min(...ratios),
      ratio_highest: Math.max(...ratios),
      bare_requests_per_s: median(pairs.map((pair) => pair.bare.requests / pair.bare.seconds)),
      gate_requests_per_s: median(pairs.map((pair) => pair.gate.requests / pair.gate.seconds)),
      worker_pss_mb: new Worker(stack.workers()[0]).pssKb() / 1024,
      bare_worker_pss_mb: new Worker(bare.workers()[0]).pssKb() / 1024,
    };
  });
}

/// Time of one request on one connection, alternating.
async function latency() {
  return withBoth(async ({ stack, bare, key }) => {
    const run = async (url) => (await wrk({ url: `${url}/v1/chat/completions`, key, connections: 1, seconds })).latencyUs;
    await run(bare.url);
    await run(stack.url);
    const pairs = [];
    for (let i = 0; i < rounds; i++) pairs.push({ bare: await run(bare.url), gate: await run(stack.url) });
    const of = (side, percentile) => median(pairs.map((pair) => pair[side][percentile]));
    return {
      bare_median_us: of('bare', 'p50'),
      gate_median_us: of('gate', 'p50'),
      added_median_us: median(pairs.map((pair) => pair.gate.p50 - pair.bare.p50)),
      added_p99_us: median(pairs.map((pair) => pair.gate.p99 - pair.bare.p99)),
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

/// A benchmark program that prints one JSON object.
function program(name) {
  return async () => JSON.parse(execFileSync(path.join(buildDir, 'tests/bench', name), { encoding: 'utf8', maxBuffer: 1 << 24 }));
}

const benches = { gate, latency, streams, redis: program('redis_cost'), drain: program('drain_rate'), rebuild: program('rebuild_rate') };

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
