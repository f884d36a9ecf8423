// A Redis Cluster of three real nodes under load: slots are moved while requests hold coins in them, and a master is
// lost to its replica. Requests may be refused for a moment; no coin is lost, charged twice or held for ever (T8, I7).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parseCoins } from '../harness/coins.mjs';
import { slotOf, slotOfBucket } from '../harness/redis_cluster.mjs';
import { waitFor, writeServerFile } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { LivePage, signIn } from './live_page.mjs';
import { bookedAsTold, underLoad } from './steady_load.mjs';
import { chatBody, codeOf, Connections, nano } from './traffic.mjs';

const PASSWORD = 'only-they-know-this';

let stack;
let cluster;
let passwordFile;
/// The gate and admind are users of each node by themselves, with the rights that packaging/redis.conf gives them.
const allowUsers = async (node) => {
  for (const user of ['lumen-gate', 'lumen-admind']) await node.ask('ACL', 'SETUSER', user, 'on', `>${PASSWORD}`);
};
before(async () => {
  stack = await startStack({
    name: 'redis_cluster',
    redisNodes: 3,
    redisTimeout: '1s',
    nginx: (file, conf) => (passwordFile ? conf.replace(/(lumen_redis .* cluster)/, `$1 user=lumen-gate password_file=${passwordFile}`) : conf),
  });
  cluster = stack.instance.redis;
  passwordFile = path.join(stack.dir, 'gate.password');
  writeServerFile(passwordFile, `${PASSWORD}\n`);
  await Promise.all(cluster.nodes.map(allowUsers));
  stack.instance.nginx.prepare();
  cluster.login = `lumen-admind:${PASSWORD}@`;
  stack.server('admind').env.LUMEN_REDIS_URL = cluster.url;
  await Promise.all(['nginx', 'admind'].map((name) => stack.restart(name)));
  await stack.waitUntilServing();
});
after(() => stack?.stop());

const bucketOf = (account) => Number(BigInt(account) % 256n);
const nodeWithout = async (slot) => {
  const owner = await cluster.ownerOf(slot);
  return cluster.nodes.find((node) => node !== owner && !node.replicates && node.pid !== null);
};
/// Refusals that a client may see, and repeats by itself (spec/api.md §2).
function onlyPauses(refused) {
  assert.deepEqual(Object.keys(refused).filter((row) => row !== '503 billing_unavailable'), [], JSON.stringify(refused));
}
const serves = (key) => waitFor('the account to be served', async () => {
  const answer = await stack.post('/v1/chat/completions', chatBody(), { key });
  await answer.text();
  return answer.status === 200;
});

test('every node has its share of the buckets: accounts of each are served, and commands ask the node that has what they want', async () => {
  const owners = new Set();
  const accounts = await Promise.all(Array.from({ length: 12 }, () => stack.newAccount()));
  for (const { account, key } of accounts) {
    owners.add(await cluster.ownerOf(slotOfBucket(bucketOf(account))));
    await serves(key);
  }
  assert.equal(owners.size, 3, 'twelve accounts in a row are on three nodes');
  const { admind } = stack.instance;
  for (const { account } of accounts.slice(0, 3))
    assert.match(admind.run('inspect', 'bucket', String(bucketOf(account))), /^serves\s+yes$/m);
  assert.equal(admind.run('reconcile'), '', 'silence is agreement');
  const { data: models } = await stack.rest('GET', '/admin/models');
  assert.ok(models.length > 0, 'what gates report is gathered from all nodes');
});

test('people are signed in and see their wallets live, whatever nodes their session and their account are on', async () => {
  const seen = new Set();
  for (let i = 0; i < 4; i++) {
    const person = await stack.newAccount({ max: '5' });
    const cookie = await signIn(stack, person);
    const page = await LivePage.open(stack.url, { cookie });
    assert.equal(page.status, 200, page.body);
    const answer = await waitFor('the account to be served', async () => {
      const reply = await stack.post('/v1/chat/completions', chatBody(), { key: person.key });
      await reply.text();
      return reply.status === 200 && reply;
    });
    const { data } = await page.next('balance', (wallet) => wallet.used !== null && wallet.used.nano !== '0');
    assert.equal(data.used.nano, String(parseCoins(answer.headers.get('x-lumen-cost'))));
    seen.add(await cluster.ownerOf(slotOfBucket(bucketOf(person.account))));
    page.close();
  }
  assert.ok(seen.size > 1, 'accounts of more than one node');
});

test('a wallet that was changed by hand on its node is named by reconcile, and rebuild --from book mends it', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  await serves(key);
  const { admind } = stack.instance;
  await waitFor('the book to have it all', () => admind.run('reconcile') === '');
  const before = (await stack.atRest(account)).balance;
  const bucket = `{b${String(bucketOf(account)).padStart(3, '0')}}`;
  await stack.redis('HINCRBY', `${bucket}:a:${account}`, 'bal', '1000');
  assert.throws(() => admind.run('reconcile'), new RegExp(`\\b${account}\\b`));
  assert.match(admind.run('rebuild', '--from', 'book', '--all'), /not in service 0$/m);
  assert.equal((await stack.wallet(account)).balance, before);
  assert.equal(admind.run('reconcile'), '');
  await serves(key);
});

test('the book is put back to a backup, and rebuild --from redis takes from the nodes what it lost', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  await serves(key);
  const { admind, postgres } = stack.instance;
  await waitFor('the book to have it all', () => admind.run('reconcile') === '');
  const backup = path.join(stack.dir, 'backup.sql');
  execFileSync('pg_dump', ['--no-owner', `--file=${backup}`, postgres.url]);
  await stack.rest('POST', `/admin/accounts/${account}/grants`, { coins: '3', reason: 'after the backup' });
  await waitFor('the book to have the grant', () => admind.run('reconcile') === '');
  const { balance } = await stack.wallet(account);
  await stack.server('admind').stop();
  // Ten minutes later what was drained is gone from the stream.
  await stack.redis('XTRIM', `{b${String(bucketOf(account)).padStart(3, '0')}}:events`, 'MAXLEN', '0');
  await stack.sql('drop schema if exists ledger_archive cascade; drop schema public cascade');
  execFileSync('psql', ['--quiet', '--set=ON_ERROR_STOP=1', '--command=create schema public', `--file=${backup}`, postgres.url], { stdio: ['ignore', 'ignore', 'pipe'] });
  const decided = admind.run('rebuild', '--from', 'redis');
  assert.match(decided, new RegExp(`^bucket ${bucketOf(account)}: .*: rebuilt$`, 'm'));
  assert.match(decided, /accounts adjusted 1 by \+?3/);
  assert.equal((await stack.wallet(account)).balance, balance);
  assert.equal(admind.run('reconcile'), '');
  await stack.start('admind');
  await serves(key);
});

test('an account whose slot is half moved is refused with 503 and Retry-After, never wrongly answered, and served when it is there', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  await serves(key);
  const before = (await stack.atRest(account)).balance;
  const slot = slotOfBucket(bucketOf(account));
  const seen = new Set();
  let charged = 0n;
  await cluster.moveSlot(slot, await nodeWithout(slot), {
    keysAtOnce: 1,
    between: async () => {
      const answer = await stack.post('/v1/chat/completions', chatBody(), { key });
      const body = await answer.text();
      seen.add(answer.status);
      if (answer.status === 200) charged += nano(answer.headers.get('x-lumen-cost'));
      else {
        assert.equal(answer.status, 503, body);
        assert.equal(answer.headers.get('retry-after'), '1');
        assert.equal(JSON.parse(body).error.code, 'billing_unavailable');
      }
    },
  });
  assert.ok(seen.has(503), 'some moment of the move was met');
  await waitFor('the bucket to be reconciled where it is now', async () => {
    const answer = await stack.post('/v1/chat/completions', chatBody(), { key });
    await answer.text();
    if (answer.status === 200) charged += nano(answer.headers.get('x-lumen-cost'));
    return answer.status === 200;
  });
  await waitFor('what was charged to be in the wallet', async () => (await stack.wallet(account)).balance === before - charged);
});

test('a request that ends when the keys its settle writes to are gone, and its hold is not, is charged once', async () => {
  const { account, key } = await stack.newAccount({ max: '5' });
  await serves(key);
  const before = (await stack.atRest(account)).balance;
  const slot = slotOfBucket(bucketOf(account));
  const source = await cluster.ownerOf(slot);
  const bucket = `{b${String(bucketOf(account)).padStart(3, '0')}}`;
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await source.ask('INFO', 'commandstats'))[1]);
  await stack.modelServers[0].behave('held');
  const asked = stack.post('/v1/chat/completions', chatBody(), { key });
  await stack.waitForHold(account, asked);
  let answer;
  await cluster.moveSlot(slot, await nodeWithout(slot), {
    first: [`${bucket}:events`, `${bucket}:done0`],
    between: async () => {
      if (answer) return;
      await stack.modelServers[0].behave('');
      answer = await asked;
      await answer.text();
      const sent = await calls();
      await waitFor('the settle to be tried', async () => await calls() > sent);
    },
  });
  assert.equal(answer.status, 200);
  const cost = nano(answer.headers.get('x-lumen-cost'));
  const rows = await stack.ledger(answer.headers.get('x-request-id'));
  assert.deepEqual(rows.map((row) => [row.kind, BigInt(row.cost)]), [['1', cost]], 'one usage row');
  assert.equal((await stack.wallet(account)).balance, before - cost);
});

test('slots move back and forth under load: each price is booked once, as it was told (T8)', async () => {
  const heard = await underLoad(stack, async (state) => {
    await waitFor('answers', () => state.answers > 20);
    const ids = state.accounts.map(({ account }) => account);
    const lookups = await stack.sql(`select get_byte(key_hash, 0) as bucket from api_keys where account_id in (${ids.join(',')})`);
    const buckets = new Set([...ids.map(bucketOf), ...lookups.map(({ bucket }) => Number(bucket))]);
    for (let round = 0; round < 2; round++) {
      for (const bucket of buckets) {
        const slot = slotOfBucket(bucket);
        await cluster.moveSlot(slot, await nodeWithout(slot));
      }
    }
    const catalogue = slotOf('lumen:catalogue');
    await cluster.moveSlot(catalogue, await nodeWithout(catalogue));
    const settled = state.answers;
    await waitFor('answers after the moves', () => state.answers > settled + 20);
  });
  onlyPauses(heard.refused);
  assert.deepEqual(heard.failures, []);
  assert.ok(await bookedAsTold(stack, heard) >= heard.told.size);
});

test('strict coins for three requests admit no fourth of twenty while their slot moves (I7)', async () => {
  const body = chatBody({ max_tokens: 16 });
  await stack.modelServers[0].behave('held');
  const probe = await stack.newAccount({ max: '10', mode: 'strict' });
  await everyBucketInService();
  const first = stack.post('/v1/chat/completions', body, { key: probe.key });
  const { held: hold } = await stack.waitForHold(probe.account, first);
  const { account, key } = await stack.newAccount({ max: `0.${String(hold * 3n).padStart(9, '0')}`, mode: 'strict' });
  const slot = slotOfBucket(bucketOf(account));
  const asked = Array.from({ length: 20 }, () => stack.post('/v1/chat/completions', body, { key }));
  await cluster.moveSlot(slot, await nodeWithout(slot));
  const { running } = await stack.allDecided(account, asked);
  assert.ok(running <= 3, `${running} run`);
  await stack.modelServers[0].behave('');
  const statuses = (await Promise.all([first, ...asked])).map(({ status }) => status);
  assert.ok(statuses.every((status) => [200, 429, 503].includes(status)), statuses.join(' '));
  assert.ok((await stack.atRest(account)).balance >= 0n);
});

test('a key that is revoked while its slot is half moved fails from the 204 on, wherever the slot ends up (I9)', async () => {
  const { account, key, keyId } = await stack.newAccount();
  await serves(key);
  const slot = slotOfBucket(bucketOf(account));
  let inForce = false;
  const revoke = async () => {
    const etag = (await stack.operator.call('GET', `/admin/accounts/${account}`)).headers.get('etag');
    const { status } = await stack.operator.call('DELETE', `/admin/accounts/${account}/keys/${keyId}`, undefined, { 'if-match': etag });
    assert.ok([204, 412, 503].includes(status), `${status}`);
    inForce ||= status === 204;
    return inForce;
  };
  const ask = async () => {
    const answer = await stack.post('/v1/chat/completions', chatBody(), { key });
    await answer.text();
    return answer.status;
  };
  await cluster.moveSlot(slot, await nodeWithout(slot), {
    keysAtOnce: 1,
    between: async () => {
      if (!inForce) await revoke();
      if (inForce) assert.notEqual(await ask(), 200);
    },
  });
  await waitFor('the revocation to be in force', async () => inForce || revoke());
  assert.notEqual(await ask(), 200);
  await waitFor('the bucket to serve again, and to refuse the key', async () => {
    const status = await ask();
    assert.notEqual(status, 200);
    return status === 401;
  });
});

test('requests of one turn, more than a call takes, are all refused at once while their node answers nothing', async () => {
  const CONNECTIONS = 80;  // of two workers one has 40: two whole calls, and a part of one
  const { account, key } = await stack.newAccount({ max: '5' });
  await serves(key);
  const node = await cluster.ownerOf(slotOfBucket(bucketOf(account)));
  const connections = new Connections(stack.url, CONNECTIONS);
  const all = () => Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => connections.post(i, '/v1/chat/completions', key, chatBody())));
  const signal = (pids, name) => pids.forEach((pid) => process.kill(pid, name));
  await all();  // each worker knows the key
  node.kill('SIGSTOP');
  try {
    for (const { status } of await all()) assert.equal(status, 503);  // each worker has met the silence
    const workers = stack.workers();
    signal(workers, 'SIGSTOP');
    const asked = all();
    try {
      await waitFor('every request to be at the gate', () => connections.unread() >= CONNECTIONS);
    } finally {
      signal(workers, 'SIGCONT');
    }
    for (const answer of await asked) assert.deepEqual([answer.status, codeOf(answer)], [503, 'billing_unavailable']);
  } finally {
    node.kill('SIGCONT');
    connections.close();
  }
  await serves(key);
  await waitFor('nothing to be held', async () => (await stack.wallet(account)).held === 0n);
});

/// What a test before this one has moved or killed is in force again.
function everyBucketInService() {
  return waitFor('the doctor to see every bucket in service', () => {
    try {
      return stack.instance.admind.run('doctor') !== '';
    } catch (error) {
      return !error.message.includes('out of service');
    }
  }, 60, 500);
}

test('a master is killed under load and its replica takes over: nothing that was told is lost or booked twice', async () => {
  await everyBucketInService();
  const heard = await underLoad(stack, async (state) => {
    await waitFor('answers', () => state.answers > 20);
    const master = await cluster.ownerOf(slotOfBucket(bucketOf(state.accounts[0].account)));
    const replica = await cluster.addReplica(master);
    await allowUsers(replica);
    master.kill('SIGKILL');
    await master.waitUntilGone();
    await waitFor('the replica to take over', async () => (await cluster.ownerOf(slotOfBucket(bucketOf(state.accounts[0].account)))) === replica);
    replica.replicates = undefined;
    const left = `left alone, it serves no slot: 127.0.0.1:${master.port}`;
    await waitFor('the gate to ask no more for the node that is gone', () => stack.log('nginx-error').includes(left));
    await serves(state.accounts[0].key);
    const since = state.answers;
    await waitFor('answers after the failover', () => state.answers > since + 20);
  });
  onlyPauses(heard.refused);
  assert.deepEqual(heard.failures, []);
  assert.ok(await bookedAsTold(stack, heard) >= heard.told.size);
});

test('no node refused the gate or admind anything, whatever moved', async () => {
  await everyBucketInService();
  for (const node of cluster.nodes.filter(({ pid }) => pid !== null)) {
    const clients = await node.ask('CLIENT', 'LIST');
    for (const user of ['lumen-gate', 'lumen-admind']) assert.ok(clients.includes(`user=${user}`), `${user} came as its own user`);
    const refused = (await node.ask('ACL', 'LOG')).map((entry) => entry.join(' '));
    assert.deepEqual(refused, []);
  }
});
