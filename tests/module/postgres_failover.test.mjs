// The book's server dies in the middle of commits and its synchronous standby takes over: what was committed is there,
// what was in doubt is booked once, and admind finds the new server by itself (ledger.md §8).
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeServerDir, postgresBin, runAsServerUser, waitFor } from '../harness/machine.mjs';
import { ServerProcess } from '../harness/server_process.mjs';
import { sql } from '../harness/sql.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody, Connections, nano } from './traffic.mjs';

const CLIENTS = 6;

let stack;
let standby;
let standbyRun;
const urlOf = (...hosts) => `postgresql://lumen@/lumen?host=${hosts.map(encodeURIComponent).join(',')}&target_session_attrs=read-write`;

before(async () => {
  standbyRun = mkdtempSync('/tmp/lumen-run-');
  makeServerDir(standbyRun, 0o700);
  stack = await startStack({
    name: 'postgres_failover',
    // Both are named from the start, as an operator would: whichever takes writes is the book.
    prepared: (instance) => {
      instance.postgres.url = urlOf(instance.runDir, standbyRun);
      instance.admind.env.DATABASE_URL = instance.postgres.url;
    },
  });
  await startStandby();
});
after(async () => {
  await stack?.stop();
  await standby?.stop();
  if (standbyRun) rmSync(standbyRun, { recursive: true, force: true });
});

async function startStandby() {
  const { instance } = stack;
  const data = path.join(instance.stateDir, 'pg-standby');
  runAsServerUser([postgresBin('pg_basebackup'), '-h', instance.runDir, '-U', 'lumen', '-D', data, '-R', '--checkpoint=fast']);
  standby = new ServerProcess({
    ...instance.processOptions('standby'),
    command: [postgresBin('postgres'), '-D', data, '-k', standbyRun],
    ready: async () => (await sql(`postgresql://lumen@/lumen?host=${encodeURIComponent(standbyRun)}`, 'select 1 as one').catch(() => [])).length === 1,
    stopSignal: 'SIGINT',
    deathSignal: 'QUIT',
  });
  standby.data = data;
  await standby.start();
  await stack.sql("alter system set synchronous_standby_names = '*'");
  await stack.sql('select pg_reload_conf()');
  await waitFor('a synchronous standby', async () => (await stack.sql("select 1 as one from pg_stat_replication where sync_state = 'sync'")).length === 1);
}

test('the server dies under load, its standby is promoted, and every price told is booked once', async () => {
  const { account, key } = await stack.newAccount({ max: '1000' });
  const told = new Map();
  let stop = false;
  const clients = Array.from({ length: CLIENTS }, async () => {
    const connections = new Connections(stack.url, 1);
    while (!stop) {
      const answer = await connections.post(0, '/v1/chat/completions', key, chatBody());
      assert.equal(answer.status, 200, 'nothing on the request path waits for the book');
      told.set(answer.headers['x-request-id'], nano(answer.headers['x-lumen-cost']));
    }
    connections.close();
  });
  await waitFor('some of it to be booked', async () => {
    const [{ n }] = await stack.sql(`select count(*) as n from ledger_events where account_id = ${account} and kind = 1`);
    return Number(n) > 50;
  });
  await stack.kill('postgres');  // in the middle of whatever it was committing
  const before = told.size;
  await waitFor('requests to go on without a book', () => told.size > before + 20);
  runAsServerUser([postgresBin('pg_ctl'), 'promote', '-D', standby.data, '-w']);
  await waitFor('the new server to get rows', async () => {
    const rows = await stack.sql(`select count(*) as n from ledger_events where account_id = ${account} and kind = 1`).catch(() => [{ n: 0 }]);
    return Number(rows[0].n) > before;
  });
  stop = true;
  await Promise.all(clients);
  await waitFor('all of it to be booked', async () => {
    const rows = await stack.sql(`select request_id, sum(cost) as cost, count(*) as n from ledger_events
      where account_id = ${account} and kind in (1, 5, 6) group by request_id`);
    const booked = new Map(rows.map((row) => [row.request_id, row]));
    return [...told].every(([request, cost]) => booked.get(request)?.cost === String(cost) && booked.get(request).n === '1');
  });
  const grant = await stack.rest('POST', `/admin/accounts/${account}/grants`, { coins: '1', reason: 'the new server takes writes' });
  assert.equal(nano(grant.after.coins) - nano(grant.before.coins), nano('1'));
});
