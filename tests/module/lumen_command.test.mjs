// ./lumen up, env and down as a person uses them (the building apart, which ./lumen test has just done).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, freePort, makeServerDir, waitFor } from '../harness/machine.mjs';
import { runningPid } from '../harness/server_process.mjs';
import { sql } from '../harness/sql.mjs';

const SERVERS = ['postgres', 'redis', 'model0', 'admind', 'nginx'];

let dir;
before(() => {
  dir = mkdtempSync(path.join(process.env.LUMEN_TEST_DIR || '/tmp', 'lumen-command-'));
  makeServerDir(dir);
});
after(async () => {
  for (const name of readdirSync(dir)) await run('down', instanceAt(name, 0), '--purge');
  rmSync(dir, { recursive: true });
});

function instanceAt(name, port) {
  const state = path.join(dir, name);
  return { state, env: { ...process.env, LUMEN_STATE: state, LUMEN_PORT: String(port) } };
}

/// {code, stdout, stderr} of tests/harness/<command>.mjs.
function run(command, { env }, ...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [path.join(checkout, 'tests/harness', `${command}.mjs`), ...args], { env, cwd: '/' },
      (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
  });
}

const pids = ({ state }) => SERVERS.map((name) => runningPid(path.join(state, 'run', `${name}.pid`)));

async function killRedis({ state }) {
  const file = path.join(state, 'run', 'redis.pid');
  process.kill(runningPid(file), 'SIGKILL');
  await waitFor('it to be gone', () => runningPid(file) === null);
}

function variables(text) {
  return Object.fromEntries([...text.matchAll(/^export (\w+)='([^']*)'$/gm)].map(([, name, value]) => [name, value]));
}

test('up does the main job and says exactly what it cost; up again says the same and changes nothing', async () => {
  const instance = instanceAt('one', await freePort());
  const first = await run('up', instance);
  assert.equal(first.code, 0, first.stderr);
  const { LUMEN_URL, LUMEN_API_KEY, LUMEN_DATABASE_URL, LUMEN_MODEL } = variables((await run('env', instance)).stdout);
  assert.equal(LUMEN_URL, `http://127.0.0.1:${instance.env.LUMEN_PORT}`);
  for (const shown of [LUMEN_URL, `${LUMEN_URL}/profile`, LUMEN_API_KEY, LUMEN_MODEL, '5.000000000 → 4.9999']) assert.ok(first.stdout.includes(shown), shown);

  const [row] = await sql(LUMEN_DATABASE_URL, 'select cost, balance_after, request_id from ledger_events where kind = 1');
  assert.equal(5_000_000_000n - BigInt(row.cost), BigInt(row.balance_after));
  assert.ok(first.stdout.includes(row.request_id));

  const before = pids(instance);
  assert.ok(before.every((pid) => pid !== null));
  const second = await run('up', instance);
  assert.equal(second.code, 0, second.stderr);
  assert.equal(second.stdout, first.stdout);
  assert.deepEqual(pids(instance), before);
});

test('two instances run side by side, and one is stopped without the other', async () => {
  const [one, two] = [instanceAt('left', await freePort()), instanceAt('right', await freePort())];
  const started = await Promise.all([run('up', one), run('up', two)]);
  for (const { code, stderr } of started) assert.equal(code, 0, stderr);
  assert.equal((await run('down', one)).code, 0);
  assert.deepEqual(pids(one), SERVERS.map(() => null));
  assert.ok(pids(two).every((pid) => pid !== null));
  assert.equal((await run('env', one)).code, 1);
  assert.equal((await run('env', two)).code, 0);
});

test('a server that died is started again, data and key are kept through down, and purge leaves nothing', async () => {
  const instance = instanceAt('phoenix', await freePort());
  assert.equal((await run('up', instance)).code, 0);
  const { LUMEN_API_KEY } = variables((await run('env', instance)).stdout);
  await killRedis(instance);
  const again = await run('up', instance);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /balance +4\.9999\d+ → 4\.9999/);

  assert.equal((await run('down', instance)).code, 0);
  assert.equal((await run('up', instance)).code, 0);
  assert.equal(variables((await run('env', instance)).stdout).LUMEN_API_KEY, LUMEN_API_KEY);

  assert.equal((await run('down', instance, '--purge')).code, 0);
  assert.equal(existsSync(instance.state), false);
});

test('a pid file whose number belongs to another process now stops nobody', async () => {
  const instance = instanceAt('stale', await freePort());
  assert.equal((await run('up', instance)).code, 0);
  const file = path.join(instance.state, 'run', 'redis.pid');
  const [, began, boot] = readFileSync(file, 'utf8').trim().split(' ');
  await killRedis(instance);
  writeFileSync(file, `${process.pid} ${began} ${boot}\n`);  // ours, but begun at another time
  assert.equal(runningPid(file), null);
  assert.equal((await run('down', instance)).code, 0);  // and we are still here
});

test('a port in use, a directory of somebody else\'s and a missing file are refused in plain words', async () => {
  const squatter = createServer();
  await new Promise((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const taken = await run('up', instanceAt('taken', squatter.address().port));
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /in use by another program/);
  squatter.close();

  const foreign = await run('up', { env: { ...process.env, LUMEN_STATE: checkout } });
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /is not empty, and not a state directory of Lumen/);

  const missing = await run('up', instanceAt('missing', await freePort()), '--config', '/nonexistent.yaml');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /nonexistent\.yaml/);
});
