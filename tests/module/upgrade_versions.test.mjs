// The version after this one comes while clients never pause: its migrations run on the tables in use, admind is replaced
// copy by copy, and its gates work beside the old ones, each with the scripts of its own hash. No request fails, and every
// price that a client was told is booked once.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { bookedAsTold, underLoad } from './steady_load.mjs';

const next = {
  'lumen-admind': path.join(buildDir, 'tests/module/lumen-admind-next'),
  'ngx_http_lumen_module.so': path.join(buildDir, 'tests/module/ngx_http_lumen_module_next.so'),
};

let stack;
let copies;
let upstreams;  // where nginx finds admind, filled in when its ports are known
before(async () => {
  const { status, stderr } = spawnSync(path.join(checkout, 'lumen'), ['build', 'next_version'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  stack = await startStack({
    name: 'upgrade_versions',
    nginx: (file, text) => (file === 'nginx.conf' && upstreams ? text.replace(/server 127\.0\.0\.1:\d+;(\s+keepalive 16;)/, `${upstreams}$1`) : text),
  });
  copies = [stack.server('admind'), await stack.addAdmind()];
  upstreams = copies.map(({ url }) => `server ${new URL(url).host} max_fails=0;`).join(' ');
  stack.instance.nginx.prepare();
  await stack.reload();
});
after(() => stack?.stop());

/// An operator's script that never pauses either: reads and writes, all through nginx.
async function operate(heard, stopped) {
  const { account } = heard.accounts[0];
  for (let round = 0; !stopped(); round++) {
    const calls = [['GET', `/admin/accounts/${account}`], ['GET', `/admin/ledger?account=${account}&limit=5`],
      ['POST', `/admin/accounts/${account}/grants`, { coins: '0.000000001', reason: `round ${round}` }]];
    for (const [method, target, body] of calls) {
      const answer = await stack.operator.call(method, target, body, method === 'POST' ? { 'idempotency-key': randomUUID() } : {});
      if (answer.status > 299) heard.failures.push(`${method} ${target}: ${answer.status} ${JSON.stringify(answer.body)}`);
      else heard.operated = (heard.operated ?? 0) + 1;
    }
  }
}

/// Clients and two operators' scripts; nobody may notice what `trouble` does.
async function unnoticed(trouble) {
  const heard = await underLoad(stack, async (seen) => {
    let done = false;
    const scripts = [1, 2].map(() => operate(seen, () => done));
    try {
      await more(seen);
      await trouble(seen);
      await more(seen);
    } finally {
      done = true;
      await Promise.all(scripts);
    }
  }, { clients: 4, restMs: 5 });
  assert.deepEqual(heard.failures, []);
  assert.deepEqual(heard.refused, {});
  await bookedAsTold(stack, heard);
  return heard;
}

async function more(heard) {
  const { answers, operated = 0 } = heard;
  await waitFor('more answers', () => heard.failures.length > 0 || (heard.answers >= answers + 30 && (heard.operated ?? 0) >= operated + 9));
}

const readiness = async ({ url }) => (await fetch(`${url}/readyz`)).status;

test('a migration adds columns and indexes to the tables in use: no request fails, and the old version stays ready', async (t) => {
  const heard = await unnoticed(async (seen) => {
    const old = stack.instance.programs['lumen-admind'];
    stack.instance.programs['lumen-admind'] = next['lumen-admind'];
    const migrated = stack.server('admind').run('migrate');
    stack.instance.programs['lumen-admind'] = old;
    assert.match(migrated, /9999_next/);
    await more(seen);
    for (const copy of copies) assert.equal(await readiness(copy), 200);
  });
  assert.throws(() => stack.server('admind').run('migrate'), /it is too old/);
  assert.match(stack.server('admind').run('doctor'), /^warn postgres: the schema is that of a newer version, by 1 migrations/m);
  t.diagnostic(`${heard.answers} answers, ${heard.operated} of an operator's`);
});

/// One request to a copy itself: 'answered', 'refused' (never connected), or what broke it.
function knock({ url }) {
  return new Promise((resolve) => {
    let through = false;
    const request = http.get(`${url}/healthz`, { agent: false }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode === 200 ? 'answered' : `${answer.statusCode}`));
      answer.on('error', ({ code }) => resolve(code));
    });
    request.on('socket', (socket) => socket.on('connect', () => { through = true; }));
    request.on('error', ({ code }) => resolve(through ? code : 'refused'));
  });
}

/// Clients without a proxy that go from copy to copy; more than a copy has threads.
async function withKnockers(heard, trouble) {
  let done = false;
  const clients = Array.from({ length: 48 }, async (_, n) => {
    for (let turn = n; !done; turn++) {
      const end = await knock(copies[turn % copies.length]);
      if (end === 'answered') heard.direct = (heard.direct ?? 0) + 1;
      else if (end !== 'refused') heard.failures.push(`without a proxy: ${end}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  try {
    await trouble();
  } finally {
    done = true;
    await Promise.all(clients);
  }
}

test('admind is replaced copy by copy: no request fails, with nginx in front or without', async (t) => {
  const heard = await unnoticed((seen) => withKnockers(seen, async () => {
    stack.instance.programs['lumen-admind'] = next['lumen-admind'];
    for (const copy of copies) {
      await copy.stop();
      await more(seen);
      await copy.start();
      await waitFor('it to be ready', async () => (await readiness(copy)) === 200);
      await more(seen);
    }
  }));
  assert.ok(heard.direct > 100);
  t.diagnostic(`${heard.answers} answers, ${heard.operated} of an operator's, ${heard.direct} without nginx`);
});

test('gates of two versions work side by side, each with the scripts of its own hash', async (t) => {
  const old = stack.instance.programs['ngx_http_lumen_module.so'];
  stack.instance.programs['ngx_http_lumen_module.so'] = next['ngx_http_lumen_module.so'];
  const gate = await stack.addGate();
  stack.instance.programs['ngx_http_lumen_module.so'] = old;
  const beside = { url: gate.url, newAccount: (limits) => stack.newAccount(limits) };
  const heard = await unnoticed(async (seen) => {
    const through = await underLoad(beside, (other) => more(Object.assign(other, { operated: Infinity })), { clients: 2, restMs: 5 });
    assert.deepEqual(through.failures, []);
    assert.deepEqual(through.refused, {});
    await bookedAsTold(stack, through);
    await more(seen);
  });
  const admits = ['lumen_core/embedded_scripts.cpp', 'tests/module/next_version/next_scripts.cpp'].map((file) => {
    const text = readFileSync(path.join(buildDir, file), 'utf8');
    return createHash('sha1').update(/\{"admit", R"lua\((.*?)\)lua"\}/s.exec(text)[1]).digest('hex');
  });
  assert.notEqual(admits[0], admits[1]);
  assert.deepEqual(await stack.redis('SCRIPT', 'EXISTS', ...admits), [1, 1]);
  t.diagnostic(`${heard.answers} answers of the old one meanwhile`);
});
