// nginx is reloaded, and replaced by a new binary, under load: no request fails, no stream is cut, and every price that a
// client was told is booked once.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { asServerUser, serverEnvironment, waitFor } from '../harness/machine.mjs';
import { nginxProgram } from '../harness/programs.mjs';
import { startStack } from '../harness/stack.mjs';
import { bookedAsTold, underLoad } from './steady_load.mjs';

// Absolute: nginx starts its successor by the name it was started by.
const NGINX = nginxProgram === 'nginx' ? '/usr/sbin/nginx' : nginxProgram;

let stack;
let pidFile;
let daemon = null;  // the master that we started, instead of the harness's
before(async () => {
  stack = await startStack({ name: 'upgrade' });
  await stack.modelServers[0].behave('slow-20+pace-5');  // so that requests and streams are under way all the time
  pidFile = path.join(stack.instance.runDir, 'nginx.pid');
});
after(async () => {
  if (daemon !== null) await end(daemon);
  await stack?.stop();
});

const runs = (pid) => existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');

/// Null while there is none: nginx renames its file before the new master writes its own.
function pidIn(file) {
  try {
    return Number(readFileSync(file, 'utf8')) || null;
  } catch {
    return null;
  }
}

async function end(master) {
  process.kill(master, 'SIGQUIT');
  await waitFor('nginx to end', () => !runs(master));
}

/// As an installed nginx runs: a daemon. In the foreground it ignores WINCH.
async function becomeDaemon() {
  await stack.server('nginx').stop();
  const { dir } = stack.instance.nginx;
  const [program, ...args] = asServerUser([NGINX, '-e', path.join(dir, 'lib/start.log'), '-p', dir, '-c', path.join(dir, 'nginx.conf')]);
  const { status, stderr } = spawnSync(program, args, { env: serverEnvironment, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  assert.equal(status, 0, stderr);
  daemon = await waitFor('its pid', () => pidIn(pidFile));
  await stack.waitUntilServing();
}

const childrenOf = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
const moreAnswers = (heard, count = 60) => {
  const from = heard.answers;
  return waitFor('more answers', () => heard.answers >= from + count);
};

function assertUnharmed(heard) {
  assert.deepEqual(heard.failures, []);
  assert.deepEqual(heard.refused, {});
}

test('reloads under load: no request fails and no settle is lost', async (t) => {
  const heard = await underLoad(stack, async (seen) => {
    for (let i = 0; i < 3; i++) {
      await moreAnswers(seen);
      await stack.reload();
    }
    await moreAnswers(seen);
  });
  assertUnharmed(heard);
  const booked = await bookedAsTold(stack, heard);
  t.diagnostic(`${heard.answers} answers, ${booked} booked`);
});

test('a binary upgrade under load (USR2, WINCH, QUIT): no request fails and no settle is lost', async (t) => {
  await becomeDaemon();
  const heard = await underLoad(stack, async (seen) => {
    await moreAnswers(seen);
    const old = daemon;
    process.kill(old, 'SIGUSR2');
    daemon = await waitFor('a new master', () => {
      const now = pidIn(pidFile);
      return now !== old && now;
    });
    await waitFor('its workers', () => childrenOf(daemon).length >= stack.instance.workers);
    await moreAnswers(seen);  // both serve
    process.kill(old, 'SIGWINCH');
    await waitFor('the old workers to end', () => childrenOf(old).every((pid) => pid === daemon));
    await moreAnswers(seen);
    await end(old);
    await moreAnswers(seen);
  });
  assertUnharmed(heard);
  const booked = await bookedAsTold(stack, heard);
  t.diagnostic(`${heard.answers} answers, ${booked} booked`);
});

test('an upgrade that is taken back (HUP to the old master, QUIT to the new): nothing fails either', async () => {
  const heard = await underLoad(stack, async (seen) => {
    const old = daemon;
    process.kill(old, 'SIGUSR2');
    const fresh = await waitFor('a new master', () => {
      const now = pidIn(pidFile);
      return now !== old && now;
    });
    await waitFor('its workers', () => childrenOf(fresh).length >= stack.instance.workers);
    process.kill(old, 'SIGWINCH');
    await waitFor('the old workers to end', () => childrenOf(old).every((pid) => pid === fresh));
    await moreAnswers(seen);
    process.kill(old, 'SIGHUP');
    await waitFor('the old master to have workers again', () => childrenOf(old).filter((pid) => pid !== fresh).length >= stack.instance.workers);
    await end(fresh);
    await waitFor('the old master\'s pid file', () => pidIn(pidFile) === old);
    await moreAnswers(seen);
  });
  assertUnharmed(heard);
  await bookedAsTold(stack, heard);
});
