// The gate and admind under the rights that packaging/redis.conf gives them (ledger.md 6.8): everything works, also what is
// rare, and nothing that would harm the ledger is allowed.
import assert from 'node:assert/strict';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { waitFor, writeServerFile } from '../harness/machine.mjs';
import { RedisLink } from '../harness/redis_link.mjs';
import { startStack } from '../harness/stack.mjs';

const PASSWORD = 'only-the-gate-knows-this';

let stack;
let passwordFile;
before(async () => {
  stack = await startStack({
    name: 'redis-acl',
    nginx: (file, conf) => (passwordFile ? conf.replace(/lumen_redis unix:\S+/, (line) => `${line} user=lumen-gate password_file=${passwordFile}`) : conf),
    models: ([server]) => [
      { name: 'demo', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'slow', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'two', url: `${server}/misbehave/pace-60+tokens-50/v1` }] },
    ],
  });
  passwordFile = path.join(stack.dir, 'gate.password');
  writeServerFile(passwordFile, `${PASSWORD}\n`);
  await stack.redis('ACL', 'SETUSER', 'lumen-gate', 'on', `>${PASSWORD}`);
  stack.instance.nginx.prepare();
  await stack.restart('nginx');
  await stack.waitUntilServing();
  assert.match((await stack.redis('ACL', 'LIST')).join('\n'), /^user lumen-gate on /m);
  assert.ok((await stack.redis('CLIENT', 'LIST')).includes('user=lumen-gate'), 'the gate came as its own user');
});
after(() => stack?.stop());

const ask = (model, more = {}) => stack.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hello' }], ...more });

test('requests are admitted, renewed and settled', async () => {
  const answer = await ask('demo');
  assert.equal(answer.status, 200, await answer.text());
  // Longer than the first renewal, which comes after two seconds.
  const stream = await ask('slow', { stream: true });
  const holds = `{b${String(BigInt(stack.account) % 256n).padStart(3, '0')}}:holds`;
  const shadow = async () => Number((await stack.redis('HGET', holds, stream.headers.get('x-request-id')))?.split(' ')[1]);
  await waitFor('the renewal', async () => (await shadow()) > 0);
  assert.match(await text(stream.body), /data: \[DONE\]/);
  const [row] = await stack.ledger(stream.headers.get('x-request-id'));
  assert.equal(row.usage_source, (await stack.ledger(answer.headers.get('x-request-id')))[0].usage_source);
  await waitFor('nothing to be held', async () => (await stack.wallet(stack.account)).held === 0n);
});

test('a script that Redis does not know is sent again whole', async () => {
  await stack.redis('SCRIPT', 'FLUSH');
  assert.equal((await ask('demo')).status, 200);
});

test('catalogue, probes and reports pass', async () => {
  await waitFor('the gate to report', async () => (await stack.redis('KEYS', 'lumen:gate:*')).length > 0);
  assert.equal((await stack.fetch('/v1/models')).status, 200);
});

test('Redis refused the gate nothing', async () => {
  const refused = (await stack.redis('ACL', 'LOG')).map((entry) => entry.join(' '));
  assert.deepEqual(refused, []);
});

for (const command of [['FLUSHALL'], ['SWAPDB', '0', '1'], ['DEBUG', 'SLEEP', '0'], ['KEYS', '*'], ['CONFIG', 'GET', '*'], ['DEL', '{b001}:a:1'],
  ['SET', 'lumen:catalogue', 'x'], ['GET', 'something:else']]) {
  test(`the gate may not ${command.join(' ')}`, async () => {
    const link = new RedisLink(stack.instance.redis.socket);
    try {
      await link.command('AUTH', 'lumen-gate', PASSWORD);
      await assert.rejects(() => link.command(...command), /NOPERM|command not allowed/);
    } finally {
      link.close();
    }
  });
}

// On one server; what it may do is tested where it does it, on a Cluster (redis_cluster.test.mjs), and here without one.
for (const command of [['FLUSHALL'], ['FLUSHDB'], ['SWAPDB', '0', '1'], ['DEBUG', 'SLEEP', '0'], ['KEYS', '*'], ['CONFIG', 'SET', 'appendonly', 'no'],
  ['SHUTDOWN', 'NOSAVE'], ['REPLICAOF', 'NO', 'ONE'], ['SCRIPT', 'FLUSH'], ['SET', 'something:else', 'x']]) {
  test(`admind may not ${command.join(' ')}`, async () => {
    await stack.redis('ACL', 'SETUSER', 'lumen-admind', 'on', `>${PASSWORD}`);
    const link = new RedisLink(stack.instance.redis.socket);
    try {
      await link.command('AUTH', 'lumen-admind', PASSWORD);
      await assert.rejects(() => link.command(...command), /NOPERM|command not allowed/);
    } finally {
      link.close();
    }
  });
}

test('admind reads streams, drains one server as its own user, and is refused nothing', async () => {
  await stack.redis('ACL', 'LOG', 'RESET');
  const { admind } = stack.instance;
  admind.env.LUMEN_REDIS_URL = `unix://lumen-admind:${PASSWORD}@${stack.instance.redis.socket}`;
  await stack.restart('admind');
  await stack.waitUntilServing();
  const answer = await ask('demo');
  assert.equal(answer.status, 200, await answer.text());
  assert.equal((await stack.ledger(answer.headers.get('x-request-id'))).length, 1);
  await waitFor('admind to come as its own user', async () => (await stack.redis('CLIENT', 'LIST')).includes('user=lumen-admind'));
  assert.deepEqual((await stack.redis('ACL', 'LOG')).map((entry) => entry.join(' ')), []);
});
