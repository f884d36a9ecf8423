// kill -9 of admind during the drain, of workers during requests, of Redis under load: every answered request is in the
// book once at the price the client was told, and the books balance (T4, T9; stack.stop() checks the invariants).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startStack } from '../harness/stack.mjs';
import { waitFor } from '../harness/machine.mjs';
import { chatBody, Connections, nano, seededRandom } from './traffic.mjs';

const CLIENTS = 12;
const ADMIND_KILLS = 12;
const WORKER_KILLS = 10;
const REDIS_KILLS = 6;
const MOST_ROUNDS = 4000;  // of one client; the kills end long before

const seed = Number(process.env.LUMEN_SEED ?? Date.now() % 2 ** 32);
const random = seededRandom(seed);

let stack;
before(async () => {
  console.log(`seed ${seed} (LUMEN_SEED=${seed} repeats the choices)`);
  stack = await startStack({ name: 'crash' });
});
after(() => stack?.stop());

/// Clients that send without a pause while `trouble` happens; every answer they got. A broken connection is no answer.
async function under(trouble) {
  const answers = [];
  const accounts = await Promise.all(Array.from({ length: 3 }, () => stack.newAccount({ max: '100000' })));
  let stop = false;
  const clients = Array.from({ length: CLIENTS }, async (_, n) => {
    const { key } = accounts[n % accounts.length];
    const connections = new Connections(stack.url, 1);
    for (let round = 0; round < MOST_ROUNDS && !stop; round++) {
      const stream = (n + round) % 3 === 0;
      try {
        answers.push({ stream, ...(await connections.post(0, '/v1/chat/completions', key, chatBody({ stream }))) });
      } catch (error) {
        if (!/ECONNRESET|ECONNREFUSED|socket hang up|EPIPE/.test(String(error.code ?? error.message))) throw error;
      }
      // A gate that fails closed answers in microseconds: no busy loop against it.
      if (answers.at(-1)?.status === 503) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    connections.close();
  });
  const running = Promise.all(clients);
  try {
    await trouble(() => answers.filter((answer) => answer.status === 200).length);
  } finally {
    stop = true;
  }
  await running;
  return { answers, accounts };
}

const comment = /^: lumen cost=(\S+) request=(\S+)$/m;

/// The price the client was told, by request: exact for whole answers, unknown for cut ones.
function told(answer) {
  if (answer.status !== 200 || !answer.complete) return null;
  if (!answer.stream) return { request: answer.headers['x-request-id'], cost: nano(answer.headers['x-lumen-cost']) };
  const found = comment.exec(answer.body);
  return found && { request: found[2], cost: nano(found[1]) };
}

async function inBookOnce({ answers, accounts }) {
  await waitFor('the drain', async () => {
    const [{ n }] = await stack.sql('select count(*) as n from ledger_events where kind = 1');
    return Number(n) >= answers.filter((answer) => told(answer)).length;
  });
  const ids = accounts.map(({ account }) => account).join(',');
  const settledCost = new Map();
  let rows = [];
  await waitFor('all holds to end', async () => (await Promise.all(accounts.map(({ account }) => stack.wallet(account)))).every((wallet) => wallet.running === 0n), 120);
  await waitFor('each answer to be in the book', async () => {
    rows = await stack.sql(`select request_id, kind, cost from ledger_events where account_id in (${ids}) and kind in (1, 5, 6)`);
    settledCost.clear();
    for (const row of rows) settledCost.set(row.request_id, (settledCost.get(row.request_id) ?? 0n) + BigInt(row.cost));
    return answers.every((answer) => !told(answer) || settledCost.get(told(answer).request) === told(answer).cost);
  }, 30, 250).catch((error) => {
    const wrong = answers.map(told).filter((t) => t && settledCost.get(t.request) !== t.cost);
    const shown = wrong.slice(0, 5).map((t) => `${t.request}: told ${t.cost}, booked ${settledCost.get(t.request)}`);
    throw new Error(`${error.message}: ${wrong.length} differ\n${shown.join('\n')}`);
  });
}

/// Between two blows at least a few more requests are answered: the gate came back.
async function blows(count, served, blow) {
  for (let i = 0; i < count; i++) {
    const before = served();
    await blow();
    await waitFor('requests to be served again', () => served() > before + 5, 60);
    await new Promise((resolve) => setTimeout(resolve, random() * 250));  // a random point, not a wait for something
  }
}

test('admind killed at random points of the drain: every event is booked once', async () => {
  const load = await under((served) => blows(ADMIND_KILLS, served, async () => {
    await stack.kill('admind');
    await stack.start('admind');
  }));
  await inBookOnce(load);
});

test('workers killed during requests: what they had begun is settled or voided by another', async () => {
  const load = await under((served) => blows(WORKER_KILLS, served, async () => {
    const workers = stack.workers();
    process.kill(workers[Math.floor(random() * workers.length)], 'SIGKILL');
    await waitFor('a new worker', () => stack.workers().length === workers.length);
  }));
  await inBookOnce(load);
});

test('Redis killed under load: no acknowledged settle is lost, none is charged twice', async () => {
  const load = await under((served) => blows(REDIS_KILLS, served, async () => {
    await stack.kill('redis');
    await stack.start('redis');
  }));
  await inBookOnce(load);
  assert.ok(load.answers.some((answer) => answer.status === 503), 'the gate failed closed while Redis was away');
});
