// ./lumen test [SUITE...]: builds what the suites need, runs them, and closes with `N passed, N failed`.
// A suite is a directory of tests/: its C++ binaries (targets *_tests) and its node:test files (*.test.mjs). Two are not:
// `fuzz` runs each fuzz target for some seconds, `sanitize` some files of `module` on a gate built with sanitizers.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { lint } from './lint.mjs';
import { buildDir, checkout, makeServerDir, tail } from './machine.mjs';
import { COUNTS } from './test_reporter.mjs';

const SUITES = ['lint', 'core', 'scripts', 'admind', 'module', 'web', 'simulation', 'package', 'fuzz', 'sanitize'];
const PROGRAMS = ['lumen-admind', 'ngx_http_lumen_module', 'lumen-model-server', 'pages', 'test-packages'];
const JOB_SECONDS = 1200;  // on a machine that does other things too
const FUZZ_SECONDS = 1;  // on top of the committed corpus; tests/fuzz/run.sh runs longer
// Together they reach every file of the gate: admission, refusals, streams, failover, the ring, and workers that end.
const SANITIZED_FILES = ['main_job', 'refusals', 'metering', 'failover', 'settle_ring'];
// What takes longest, in seconds on two quiet cores: it begins first, so that nothing long is left for the end. The others
// take some ten.
const LONG = {
  'admind/admind_ledger_tests': 105, 'admind/admind_recovery_tests': 100, 'web/bars': 88, 'module/disasters': 85, 'admind/admind_web_tests': 60,
  'package/containers': 57, 'admind/contract': 55, 'web/models': 50, 'sanitize/refusals': 45, 'module/refusals': 40, 'simulation/chaos': 39,
  'module/live': 37, 'web/keys': 35, 'web/profile': 34, 'module/crash': 33, 'module/endpoints': 32, 'sanitize/settle_ring': 30,
  'module/settle_ring': 30, 'module/real_clients': 28, 'module/lumen_command': 28, 'web/shell': 27, 'module/notices': 25, 'package/packages': 24,
  'module/dialects': 23, 'module/probes': 21, 'module/freshness': 40, 'module/docs': 36, 'module/redis_cluster': 35, 'module/import_ncsa': 30,
};
const USUAL_SECONDS = 10;
// Browsers, compilers' work and fuzzers keep a core busy; the others wait most of the time, for each other's servers.
const BUSY_SUITES = ['web', 'package', 'fuzz'];
const BUSY_SHARE = 1;
const USUAL_SHARE = 2 / 3;  // of a core
const SANITIZED = { fuzz: fuzzJobs, sanitize: sanitizedJobs };
const testDir = path.join(checkout, 'tests');

const totals = { passed: 0, failed: 0 };
process.umask(0o022);
process.exitCode = await main(process.argv.slice(2));

async function main(asked) {
  const unknown = asked.find((name) => !SUITES.includes(name));
  if (unknown !== undefined) {
    console.error(`lumen test: unknown suite ${unknown}; there are ${SUITES.join(' ')}`);
    return 64;
  }
  // A short place that the servers' user can enter.
  const scratch = mkdtempSync('/tmp/lumen-test-');
  makeServerDir(scratch);
  await runSuites(asked.length > 0 ? SUITES.filter((name) => asked.includes(name)) : SUITES, scratch);
  if (totals.failed === 0 || readdirSync(scratch).length === 0) rmSync(scratch, { recursive: true, force: true });
  else console.log(`\nWhat the failed ones left is in ${scratch}`);
  console.log(`\n${totals.passed} passed, ${totals.failed} failed`);
  return totals.failed === 0 && totals.passed > 0 ? 0 : 1;
}

async function runSuites(suites, scratch) {
  if (suites.includes('lint'))
    for (const { name, problems } of await lint()) add(`lint: ${name}`, oneTest(problems.length === 0), problems.map((p) => `    ${p}`).join('\n'));
  const jobs = [];
  for (const suite of suites.filter((name) => name !== 'lint' && !(name in SANITIZED))) jobs.push(...await prepare(suite, scratch));
  const sanitized = suites.filter((name) => name in SANITIZED);
  if (sanitized.length > 0) jobs.push(...buildSanitized(sanitized, scratch));
  await inParallel(jobs.sort((a, b) => b.seconds - a.seconds), os.availableParallelism());
}

/// Builds what the suite needs; its jobs. A suite that cannot be built, or has nothing in it, has failed.
async function prepare(suite, scratch) {
  try {
    const binaries = await gtestBinaries(suite);
    const files = readdirSync(path.join(testDir, suite)).filter((name) => name.endsWith('.test.mjs'));
    if (binaries.length + files.length === 0) throw new Error(`no tests in tests/${suite}`);
    await build([...binaries.map((binary) => path.basename(binary)), ...(files.length > 0 ? PROGRAMS : [])]);
    return [
      ...binaries.map((binary) => job(suite, path.basename(binary), () => runGtest(suite, binary, scratch))),
      ...files.map((file) => job(suite, path.basename(file, '.test.mjs'), () => runNodeTest(suite, file, scratch))),
    ];
  } catch (error) {
    add(`${suite}: could not be built`, oneTest(false), error.message);
    return [];
  }
}

function job(suite, name, run) {
  return { run, seconds: LONG[`${suite}/${name}`] ?? USUAL_SECONDS, share: BUSY_SUITES.includes(suite) ? BUSY_SHARE : USUAL_SHARE };
}

function fuzzJobs(suite) {
  const ending = '_fuzz.cpp';
  const targets = readdirSync(path.join(testDir, 'fuzz')).filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length));
  return targets.map((target) => job(suite, target, async () => {
    const { code, output, seconds } = await run(path.join(testDir, 'fuzz/run.sh'), [String(FUZZ_SECONDS), target], { LUMEN_BUILD_DIR: buildDir }, JOB_SECONDS);
    add(`${suite}/${target}`, oneTest(code === 0), output, seconds);
  }));
}

function sanitizedJobs(suite, scratch) {
  return SANITIZED_FILES.map((file) => job(suite, file, () => runNodeTest('module', `${file}.test.mjs`, scratch, { suite, env: { LUMEN_SANITIZED: '1' } })));
}

/// What needs the gate and the fuzz targets by clang, behind the job that builds them: that goes on at the lowest
/// priority beside tests which wait most of the time.
function buildSanitized(suites, scratch) {
  const jobs = suites.flatMap((suite) => SANITIZED[suite](suite, scratch));
  const built = { seconds: Infinity, share: USUAL_SHARE, run: async () => {
    try {
      await build(suites.includes('sanitize') ? PROGRAMS : ['build.ninja']);
      await build(['sanitized']);
    } catch (error) {
      for (const suite of suites) add(`${suite}: could not be built`, oneTest(false), error.message);
      for (const job of jobs) job.run = async () => {};
    }
  } };
  for (const job of jobs) job.behind = built;
  return [built, ...jobs];
}

async function build(targets) {
  const { code, output } = await run(path.join(checkout, 'lumen'), ['build', ...targets], { LUMEN_BUILD_DIR: buildDir });
  if (code !== 0) throw new Error(output);
}

/// Paths in the build directory of the suite's targets that end in _tests.
async function gtestBinaries(suite) {
  if (!existsSync(path.join(testDir, suite, 'CMakeLists.txt'))) return [];
  await build(['build.ninja']);
  const { output } = await run('ninja', ['-C', buildDir, '-t', 'targets', 'all']);
  const names = output.matchAll(new RegExp(`^(tests/${suite}/[a-z_]+_tests): `, 'gm'));
  return [...names].map(([, name]) => name);
}

async function runGtest(suite, binary, scratch) {
  const name = path.basename(binary);
  const report = path.join(scratch, `${name}.json`);
  const { code, output, seconds } = await run(path.join(buildDir, binary),
    ['--gtest_brief=1', '--gtest_color=no', `--gtest_output=json:${report}`], {}, JOB_SECONDS);
  if (!existsSync(report)) {
    add(`${suite}/${name}`, oneTest(false), `ended with ${code}\n${output}`, seconds);
    return;
  }
  const { tests, failures, errors = 0 } = JSON.parse(readFileSync(report, 'utf8'));
  const failed = Math.max(failures + errors, code === 0 ? 0 : 1);
  add(`${suite}/${name}`, { passed: tests - failures - errors, failed }, output, seconds);
}

async function runNodeTest(folder, file, scratch, { suite = folder, env = {} } = {}) {
  const reporter = path.join(testDir, 'harness/test_reporter.mjs');
  const dir = mkdtempSync(path.join(scratch, `${path.basename(file, '.test.mjs')}-`));
  makeServerDir(dir);
  const { code, output, seconds } = await run(process.execPath, [`--test-reporter=${reporter}`, path.join(testDir, folder, file)],
    { LUMEN_TEST_DIR: dir, LUMEN_BUILD_DIR: buildDir, ...env }, JOB_SECONDS);
  const lines = output.split('\n');
  const counts = lines.filter((line) => line.startsWith(COUNTS)).pop();
  const shown = lines.filter((line) => !line.startsWith(COUNTS)).join('\n');
  const { passed, failed } = counts ? JSON.parse(counts.slice(COUNTS.length)) : oneTest(false);
  // A file that ends badly without a failed test has failed too: a hook, a crash, a promise nobody awaited.
  add(`${suite}/${file}`, { passed, failed: Math.max(failed, code === 0 && passed > 0 ? 0 : 1) }, `${shown}\n${stackLogs(dir)}`, seconds);
}

/// Ends of the logs of the servers that a failed file left behind.
function stackLogs(dir) {
  const logs = [];
  for (const stack of readdirSync(dir)) {
    const logDir = path.join(dir, stack, 'state/log');
    if (!existsSync(logDir)) continue;
    for (const file of readdirSync(logDir)) logs.push(`--- ${stack}/${file}\n${tail(path.join(logDir, file))}`);
  }
  return logs.join('\n');
}

function oneTest(passed) {
  return passed ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

function add(name, { passed, failed }, output = '', seconds = undefined) {
  totals.passed += passed;
  totals.failed += failed;
  const took = seconds === undefined ? '' : ` in ${seconds.toFixed(1)} s`;
  console.log(`${failed === 0 ? 'ok    ' : 'FAILED'} ${name}: ${passed} passed, ${failed} failed${took}`);
  if (failed > 0) console.log(output.trimEnd());
}

/// Its output (both streams in order) and exit code; killed with all it started when it takes more than `limit` seconds.
function run(program, args, env = {}, limit = undefined) {
  const began = Date.now();
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: '/', detached: true, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
    const timer = limit && setTimeout(() => {
      output += `\nkilled: it took more than ${limit} s\n`;
      process.kill(-child.pid, 'SIGKILL');
    }, limit * 1000);
    child.on('error', (error) => { output += error.message; });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, output, seconds: (Date.now() - began) / 1000 });
    });
  });
}

/// In their order, as many at a time as there are cores for their shares; each after the job that it stands behind.
async function inParallel(jobs, cores) {
  const waiting = [...jobs];
  const running = new Map();
  while (waiting.length > 0 || running.size > 0) {
    const at = waiting.findIndex(({ behind }) => !waiting.includes(behind) && !running.has(behind));
    const busy = [...running.keys()].reduce((sum, { share }) => sum + share, 0);
    if (at < 0 || (running.size > 0 && busy + waiting[at].share > cores + 0.01)) {
      await Promise.race(running.values());
      continue;
    }
    const [job] = waiting.splice(at, 1);
    running.set(job, job.run().finally(() => running.delete(job)));
  }
}
