// Redis slow, gone, back, replaced by an empty one, and failing over to a replica, under load: clients get
// `503 billing_unavailable` and nothing else while it lasts, every price told is booked once, and nothing stays held.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { asServerUser, freePort, makeServerDir, serverEnvironment, waitFor } from '../harness/machine.mjs';
import { RedisLink } from '../harness/redis_link.mjs';
import { startStack } from '../harness/stack.mjs';
import { bookedAsTold, underLoad } from './steady_load.mjs';
import { chatBody } from './traffic.mjs';

const UNAVAILABLE = '503 billing_unavailable';
const READY_SECONDS = 60;

let stack;
let masterPort;
let slow;
let replica;
before(async () => {
  masterPort = await freePort();
  stack = await startStack({
    name: 'redis_trouble',
    redisTimeout: '1s',
    redisOptions: ['--port', String(masterPort), '--bind', '127.0.0.1', '--protected-mode', 'no', '--repl-diskless-sync-delay', '0'],
    // The gate goes through a socket that can be slowed down; admind does not.
    nginx: (file, text) => text.replace(/lumen_redis unix:(\S+?)redis\.sock/, 'lumen_redis unix:$1slow.sock'),
    startServers: false,
  });
  slow = await startSlowSocket(path.join(stack.instance.runDir, 'slow.sock'), stack.instance.redis.socket);
  await stack.instance.start();
  await stack.signIn();
});
after(async () => {
  await stack?.stop();
  slow?.close();
  if (replica) {
    replica.kill('SIGTERM');
    await once(replica, 'exit');
  }
});

/// Passes everything on in its order; what Redis answers waits `delayMs` first.
async function startSlowSocket(at, to) {
  const proxy = { delayMs: 0, close: () => server.close() };
  const server = net.createServer((gate) => {
    const redis = net.connect(to);
    let before = Promise.resolve();  // what came earlier leaves earlier, also where the delay has become less
    redis.on('data', (bytes) => {
      const due = new Promise((resolve) => { setTimeout(resolve, proxy.delayMs); });
      before = Promise.all([before, due]).then(() => gate.writable && gate.write(bytes));
    });
    gate.on('data', (bytes) => redis.write(bytes));
    for (const [one, other] of [[gate, redis], [redis, gate]]) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  });
  server.listen({ path: at, writableAll: true, readableAll: true });
  await once(server, 'listening');
  return proxy;
}

const more = (heard, count = 30) => {
  const from = heard.answers;
  return waitFor('more answers', () => heard.answers >= from + count, READY_SECONDS);
};
const refusals = (heard) => waitFor('refusals', () => (heard.refused[UNAVAILABLE] ?? 0) > 5, READY_SECONDS);

async function assertNothingLost(heard) {
  assert.deepEqual(heard.failures, [], 'no answer was cut');
  assert.deepEqual(Object.keys(heard.refused).filter((row) => row !== UNAVAILABLE), [], 'the row of the table and no other');
  await bookedAsTold(stack, heard);
}

test('a Redis that takes 300 ms is waited for', async () => {
  slow.delayMs = 300;
  // A machine that is slow itself may make more than a second of it, once or twice.
  const response = await waitFor('an answer', async () => {
    const began = performance.now();
    const answer = await stack.post('/v1/chat/completions', chatBody());
    await answer.text();
    assert.ok(answer.status !== 503 || performance.now() - began >= 1_000, 'given up before its time');
    return answer.status !== 503 && answer;
  });
  assert.equal(response.status, 200);
  assert.ok(Number(response.headers.get('x-lumen-overhead-us')) >= 250_000);
  slow.delayMs = 0;
});

test('a Redis that takes longer than lumen_redis timeout: refused, voided, and served again when it is quick', async () => {
  const heard = await underLoad(stack, async (seen) => {
    await more(seen);
    slow.delayMs = 1_200;
    await refusals(seen);
    slow.delayMs = 0;
    await more(seen);
  }, { restMs: 5 });
  await assertNothingLost(heard);
});

test('a Redis that is full: what runs is settled, nothing new is admitted, and all is served when there is room (T11)', async () => {
  const { account, key } = await stack.newAccount();
  const ask = () => stack.post('/v1/chat/completions', chatBody(), { key });
  const [, room] = await stack.redis('CONFIG', 'GET', 'maxmemory');
  await stack.modelServers[0].behave('held');
  const running = ask();
  await stack.waitForHold(account, running);
  await stack.redis('CONFIG', 'SET', 'maxmemory', '1mb');
  try {
    const refused = await ask();
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal((await refused.json()).error.code, 'billing_unavailable');
    await stack.modelServers[0].behave('');
    const answer = await running;
    assert.equal(answer.status, 200, await answer.text());
    await waitFor('the settle', async () => (await stack.wallet(account)).running === 0n);
    assert.equal((await stack.ledger(answer.headers.get('x-request-id'))).length, 1);
  } finally {
    await stack.redis('CONFIG', 'SET', 'maxmemory', room);
    await stack.modelServers[0].behave('');
  }
  await waitFor('requests to be served again', async () => {
    const answer = await ask();
    await answer.text();
    return answer.status === 200;
  });
});

test('a Redis that is gone and comes back', async () => {
  const heard = await underLoad(stack, async (seen) => {
    await more(seen);
    await stack.kill('redis');
    await refusals(seen);
    await stack.start('redis');
    await more(seen);
  }, { restMs: 5 });
  await assertNothingLost(heard);
});

test('a Redis that was replaced by an empty one: never 401, and the wallets are as the book has them', async () => {
  const { dataDir } = stack.instance.redis;
  const heard = await underLoad(stack, async (seen) => {
    await more(seen);
    await stack.kill('redis');
    rmSync(dataDir, { recursive: true });
    makeServerDir(dataDir, 0o700);
    await stack.start('redis');
    await more(seen);
  }, { restMs: 5 });
  await assertNothingLost(heard);
});

test('a Redis that fails over to a replica', async () => {
  const socket = path.join(stack.instance.runDir, 'replica.sock');
  await startReplica(socket);
  const heard = await underLoad(stack, async (seen) => {
    await more(seen);
    await stack.kill('redis');
    await command(socket, 'REPLICAOF', 'NO', 'ONE');
    renameSync(socket, stack.instance.redis.socket);
    await more(seen);
  }, { restMs: 5 });
  await assertNothingLost(heard);
});

async function command(socket, ...words) {
  const link = new RedisLink(socket);
  try {
    return await link.command(...words);
  } finally {
    link.close();
  }
}

async function startReplica(socket) {
  const dir = path.join(stack.dir, 'replica');
  makeServerDir(dir, 0o700);
  const [program, ...args] = asServerUser(['redis-server', path.join(stack.instance.stateDir, 'redis.conf'),
    '--port', String(await freePort()), '--bind', '127.0.0.1', '--unixsocket', socket, '--unixsocketperm', '700', '--dir', dir,
    '--replicaof', '127.0.0.1', String(masterPort)], 'TERM');
  replica = spawn(program, args, { env: serverEnvironment, stdio: 'ignore' });
  await waitFor('the replica to follow', async () => {
    if (!existsSync(socket)) return false;
    return /master_link_status:up/.test(await command(socket, 'INFO', 'replication').catch(() => ''));
  }, READY_SECONDS);
  await waitFor('nothing to be missing there', async () => {
    const offset = (text, name) => new RegExp(`${name}:(\\d+)`).exec(text)?.[1];
    const [master, follower] = [await stack.redis('INFO', 'replication'), await command(socket, 'INFO', 'replication')];
    return Number(offset(follower, 'slave_repl_offset')) >= Number(offset(master, 'master_repl_offset'));
  }, READY_SECONDS);
  // The first replica changes the master's replication id: each bucket is reconciled once more.
  const id = /master_replid:(\w+)/.exec(await stack.redis('INFO', 'replication'))[1];
  await waitFor('each bucket to be true under that id', async () => {
    for (let bucket = 0; bucket < 256; ++bucket) {
      const token = await stack.redis('HGET', `{b${String(bucket).padStart(3, '0')}}:meta`, 'ready');
      if (!token?.startsWith(id)) return false;
    }
    return true;
  }, READY_SECONDS);
  await waitFor('all buckets to serve', async () => (await fetch(`${stack.server('admind').url}/readyz`)).status === 200, READY_SECONDS);
}
