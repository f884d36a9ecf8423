// lumen-admind doctor: a healthy Lumen has nothing to mend; each thing that an operator can get wrong is named, with
// what to do about it (L9: it sees a refusal before it says that all is well).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, checkout, runAsServerUser, serverEnvironment, waitFor, writeServerFile } from '../harness/machine.mjs';
import { runMainJob } from '../harness/main_job.mjs';
import { startStack } from '../harness/stack.mjs';

let stack;
before(async () => { stack = await startStack({ name: 'doctor', redisSync: 'always' }); });
after(() => stack?.stop());

/// What it prints, and whether it found something to mend.
function doctor() {
  try {
    return { healthy: true, text: stack.server('admind').run('doctor') };
  } catch (error) {
    return { healthy: false, text: error.message };
  }
}

function finds(pattern) {
  const { healthy, text } = doctor();
  assert.equal(healthy, false, text);
  assert.match(text, pattern);
}

test('of a healthy Lumen it says that nothing is wrong, and that it was refused (L9)', () => {
  const { healthy, text } = doctor();
  assert.ok(healthy, text);
  for (const part of ['files', 'postgres', 'redis', 'books', 'gate', 'endpoints']) assert.match(text, new RegExp(`^ok +${part}: `, 'm'));
  assert.match(text, /^ok +gate: .*\/v1 refuses a call without a key$/m);
  assert.match(text, /^Nothing is wrong\.$/m);
  assert.doesNotMatch(text, /FAIL/);
});

test('it never prints a secret', () => {
  const { text } = doctor();
  for (const secret of [stack.instance.installationSecret, stack.instance.sessionSecret]) assert.ok(!text.includes(secret));
});

test('a configuration that others can write is named, with the command that mends it', () => {
  const file = stack.instance.configFile;
  chmodSync(file, 0o646);
  try {
    finds(/^FAIL files: .*lumen\.yaml is open to other users of this host\n +chmod go-w /m);
  } finally {
    chmodSync(file, 0o600);
  }
});

test('a secret in a file that others can read is named, with the command that mends it', async () => {
  const file = path.join(stack.instance.stateDir, 'session.secret');
  stack.writeSettings({ app: { secret_key: `\${file:${file}}` } });
  chmodSync(file, 0o644);
  try {
    finds(/^FAIL files: .*session\.secret is open to other users of this host\n +chmod g-w,o= /m);
  } finally {
    chmodSync(file, 0o600);
    stack.writeSettings({});
  }
});

test('a host whose clock is off is told by how much', () => {
  const built = spawnSync(path.join(checkout, 'lumen'), ['build', 'clock_shift'], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  const shift = path.join(stack.dir, 'clock-shift');
  writeFileSync(shift, Buffer.from(BigInt64Array.of(-90n).buffer), { mode: 0o644 });
  const command = [stack.instance.program('lumen-admind'), 'doctor', '--config', stack.instance.configFile];
  const env = {
    ...serverEnvironment, ...stack.instance.admindEnvironment(),
    LD_PRELOAD: path.join(buildDir, 'tests/harness/clock_shift.so'), CLOCK_SHIFT_FILE: shift,
  };
  const apart = ['postgres', 'redis'].map((store) => new RegExp(`^FAIL ${store}: its clock and this host's are (8[89]|9\\d|1\\d\\d)\\.\\d s apart\\n +synchronise`, 'm'));
  // What an answer took to come is not counted, and on a machine that stalls that is seconds.
  return waitFor('both stores to be told of', () => {
    try {
      return assert.fail(`nothing wrong: ${runAsServerUser(command, { env })}`);
    } catch ({ message }) {
      return apart.every((told) => told.test(message));
    }
  }, 60, 500);
});

test('a bucket that is out of service is counted', async () => {
  await stack.server('admind').stop();  // or it would be back before anybody looked
  try {
    assert.equal(await stack.redis('HDEL', '{b007}:meta', 'ready'), 1);
    finds(/^FAIL redis: 1 buckets are out of service: their accounts get 503\n +a running lumen-admind brings them back/m);
  } finally {
    await stack.start('admind');
  }
  await waitFor('the bucket to be back', () => doctor().healthy, 60, 500);
});

test('a model server that is gone is a warning, with what the gate has seen of it', async () => {
  await stack.kill('model0');
  try {
    await waitFor('the endpoint to be down', async () => {
      await (await stack.post('/v1/chat/completions', { model: 'demo', messages: [] })).text();
      const { healthy, text } = doctor();
      assert.ok(healthy, text);
      return /^warn endpoints: demo at demo-1 is down: \S.*\n +is that server running\?$/m.test(text);
    }, 60, 200);
  } finally {
    await stack.start('model0');
  }
});

for (const [setting, wrong, right] of [
  ['appendonly', 'no', 'yes'], ['maxmemory-policy', 'allkeys-lru', 'noeviction'], ['appendfsync', 'no', 'always'],
]) {
  test(`a Redis with ${setting} ${wrong} would lose money`, async () => {
    await stack.redis('CONFIG', 'SET', setting, wrong);
    try {
      finds(new RegExp(`^FAIL redis: .*set ${setting} ${right} \\(it is ${wrong}\\)`, 'm'));
    } finally {
      await stack.redis('CONFIG', 'SET', setting, right);
    }
  });
}

test('a Redis that is nearly full is a warning, not a failure', async () => {
  const [, before] = await stack.redis('CONFIG', 'GET', 'maxmemory');
  const used = Number(/^used_memory:(\d+)/m.exec(await stack.redis('INFO', 'memory'))[1]);
  await stack.redis('CONFIG', 'SET', 'maxmemory', String(Math.ceil(used * 1.3)));
  try {
    const { healthy, text } = doctor();
    assert.ok(healthy, text);
    assert.match(text, /^warn redis: \d+\.\d % of its memory is used\n +raise maxmemory$/m);
  } finally {
    await stack.redis('CONFIG', 'SET', 'maxmemory', before);
  }
});

test('a missing migration is named', async () => {
  const [{ name, sha256, applied_at: at }] = await stack.sql('select name, sha256, applied_at from schema_migrations order by name desc limit 1');
  await stack.sql(`delete from schema_migrations where name = '${name}'`);
  try {
    finds(new RegExp(`^FAIL postgres: 1 migrations are missing, first ${name}\\n +lumen-admind migrate$`, 'm'));
  } finally {
    await stack.sql(`insert into schema_migrations (name, sha256, applied_at) values ('${name}', '${sha256}', '${at}')`);
  }
});

test('an account whose balances differ is named, with the difference', async () => {
  const wallet = `{b${String(BigInt(stack.account) % 256n).padStart(3, '0')}}:a:${stack.account}`;
  await waitFor('the book to have every event', async () => {
    const [{ seq }] = await stack.sql(`select seq from account_balances where account_id = ${stack.account}`);
    return BigInt(seq) === (await stack.wallet(stack.account)).seq;
  });
  await stack.redis('HINCRBY', wallet, 'bal', '1500000000');
  try {
    finds(new RegExp(`^FAIL books: account ${stack.account}: .* by 1\\.5\\d* coins`, 'm'));
  } finally {
    await stack.redis('HINCRBY', wallet, 'bal', '-1500000000');
  }
});

test('L9: a gate that lets everybody through is a failure, for the doctor and for ./lumen up', async () => {
  const { url } = stack.modelServers[0];  // answers as a gate would, and asks nobody for a key
  const config = path.join(stack.instance.stateDir, 'open.yaml');
  writeServerFile(config, readFileSync(stack.instance.configFile, 'utf8').replaceAll(stack.url, url), 0o600);
  const file = stack.instance.configFile;
  stack.instance.configFile = config;
  try {
    finds(/^FAIL gate: .* answered a call without a key with 200 instead of 401/m);
  } finally {
    stack.instance.configFile = file;
  }
  await assert.rejects(runMainJob({ ...stack.instance, url }, { key: stack.key }), /a key of nobody with 200 instead of 401/);
});

test('a gate that is away, and stores that are away, are found, each with its consequence', async () => {
  for (const [server, sentence] of [
    ['nginx', /^FAIL gate: .*\/v1 does not answer/m],
    ['redis', /^FAIL redis: .*\n +without it every request is refused/m],
    ['postgres', /^FAIL postgres: .*\n +grants and sign-ins wait for it/m],
  ]) {
    await stack.server(server).stop();
    try {
      finds(sentence);
    } finally {
      await stack.start(server);
    }
  }
  await waitFor('Lumen to be well again', () => doctor().healthy, 60, 500);
});
