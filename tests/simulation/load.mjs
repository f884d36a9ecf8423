// Clients that never pause while servers die under them, and the comparison of what they were told with what was booked.
import { waitFor } from '../harness/machine.mjs';
import { chatBody, Connections, nano } from '../module/traffic.mjs';

export const CLIENTS = 12;
const SOFT_ACCOUNTS = 2;
const MOST_ROUNDS = 200_000;  // of one client; the trouble ends long before
const SERVED_AGAIN_SECONDS = 120;
const LOOK_MS = 250;
const STRICT_GRANT = '0.0005';  // a few hundred requests: it runs dry, and is filled again

/// A connection that broke is no answer; anything else that goes wrong is a fault of the test's.
const BROKEN = /ECONNRESET|ECONNREFUSED|socket hang up|EPIPE/;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// Runs `trouble(served, accounts, heard)` while clients send; `served()` counts the requests answered so far. Returns what was heard:
/// {told: request → cost in nano-coins, statuses, cut, broken, accounts, strict, revocations, revoked, negative}.
export async function under({ stack, gates }, trouble) {
  const heard = { told: new Map(), statuses: {}, cut: 0, broken: 0, revocations: 0, revoked: 0, negative: 0 };
  heard.accounts = await Promise.all(Array.from({ length: SOFT_ACCOUNTS }, () => stack.newAccount({ max: '100000' })));
  heard.strict = await stack.newAccount({ max: '100000', starting: STRICT_GRANT, mode: 'strict' });
  heard.accounts.push(heard.strict);
  let stop = false;
  const work = Promise.all([
    ...Array.from({ length: CLIENTS }, (_, n) => client(gates[n % gates.length], heard, n, () => stop)),
    revoker(stack, gates, heard, () => stop),
    watcher(stack, heard, () => stop),
  ]);
  // Whoever fails first is the reason.
  const failed = work.then(() => {}, (error) => { stop = true; throw error; });
  try {
    await Promise.race([trouble(() => heard.statuses[200] ?? 0, heard.accounts, heard), failed.then(() => new Promise(() => {}))]);
  } finally {
    stop = true;
    await work;
  }
  return heard;
}

async function client(gate, heard, n, stopped) {
  const { key } = heard.accounts[n % heard.accounts.length];
  const connections = new Connections(gate.url, 1);
  for (let round = 0; round < MOST_ROUNDS && !stopped(); round++) {
    const stream = (n + round) % 3 === 0;
    try {
      const answer = await connections.post(0, '/v1/chat/completions', key, chatBody({ stream, max_tokens: 40 }));
      take(heard, answer, stream);
      // A gate that fails closed answers in microseconds: no busy loop against it.
      if (answer.status !== 200) await pause(20);
    } catch (error) {
      if (!BROKEN.test(String(error.code ?? error.message))) throw error;
      heard.broken++;
    }
  }
  connections.close();
}

/// Makes a key, uses it, revokes it, and after the 204 no gate may serve it (I9).
async function revoker(stack, gates, heard, stopped) {
  const { account } = heard.accounts[0];
  const ask = async (gate, key) => {
    try {
      return (await fetch(`${gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(chatBody({})),
      })).status;
    } catch {
      return 0;
    }
  };
  while (!stopped()) {
    await pause(200);
    const made = await stack.operator.call('POST', `/admin/accounts/${account}/keys`, { name: 'to be revoked' }).catch(() => null);
    if (made?.status !== 201) continue;
    await Promise.all(gates.map((gate) => ask(gate, made.body.key)));
    for (let inForce = false; !inForce && !stopped();) {
      const answer = await stack.operator
        .call('DELETE', `/admin/accounts/${account}/keys/${made.body.id}`, undefined, { 'if-match': '*' }).catch(() => null);
      inForce = answer?.status === 204;
      if (!inForce) await pause(100);
      else heard.revocations++;
    }
    for (let i = 0; i < 3 && !stopped(); i++) {
      const statuses = await Promise.all(gates.map((gate) => ask(gate, made.body.key)));
      heard.revoked += statuses.filter((status) => status === 200).length;
    }
  }
}

/// Nothing is ever held below zero; and the strict wallet gets coins whenever it runs dry.
async function watcher(stack, heard, stopped) {
  while (!stopped()) {
    await pause(LOOK_MS);
    for (const { account } of heard.accounts) {
      const wallet = await stack.wallet(account).catch(() => null);
      if (wallet === null) continue;
      if (wallet.held < 0n || wallet.running < 0n) heard.negative++;
      if (account === heard.strict.account && wallet.balance < 50_000n && wallet.seq > 0n)
        await stack.operator.call('POST', `/admin/accounts/${account}/grants`, { coins: STRICT_GRANT, reason: 'ran dry' }).catch(() => null);
    }
  }
}

const comment = /^: lumen cost=(\S+) request=(\S+)$/m;

/// Notes the price the client was told: exact for whole answers, unknown for cut ones.
function take(heard, answer, stream) {
  heard.statuses[answer.status] = (heard.statuses[answer.status] ?? 0) + 1;
  if (answer.status !== 200) return;
  if (!answer.complete) {
    heard.cut++;
    return;
  }
  if (!stream) {
    heard.told.set(answer.headers['x-request-id'], nano(answer.headers['x-lumen-cost']));
    return;
  }
  const found = comment.exec(answer.body);
  if (found) heard.told.set(found[2], nano(found[1]));
  else heard.cut++;
}

/// Every price that a client was told is in the book, once, in usage, reap and correction rows together (I5), nothing was
/// held below zero (I4), no revoked key was served (I9), and the strict wallet is not below what forgotten holds allow
/// (I7). Throws with the first differences. Returns {booked, coins, lost, double}.
export async function bookedAsTold(stack, heard, { inFlightForgotten }) {
  const ids = heard.accounts.map(({ account }) => account).join(',');
  await waitFor('all holds to end', async () => {
    const wallets = await Promise.all(heard.accounts.map(({ account }) => stack.wallet(account)));
    return wallets.every((wallet) => wallet.running === 0n);
  }, 120);
  let booked = new Map();
  const differences = () => [...heard.told].filter(([request, cost]) => booked.get(request) !== cost);
  try {
    await waitFor('each answer to be in the book', async () => {
      const rows = await stack.sql(`
        select request_id, sum(cost) as cost
          from ledger_events
         where account_id in (${ids}) and kind in (1, 5, 6)
         group by request_id`);
      booked = new Map(rows.map((row) => [row.request_id, BigInt(row.cost)]));
      return differences().length === 0;
    }, 120, 250);
  } catch (error) {
    const shown = differences().slice(0, 5).map(([request, cost]) => `${request}: told ${cost}, booked ${booked.get(request)}`);
    throw new Error(`${error.message}: ${differences().length} of ${heard.told.size} differ\n${shown.join('\n')}`);
  }
  if (heard.negative > 0) throw new Error(`I4: held was below zero ${heard.negative} times`);
  if (heard.revoked > 0) throw new Error(`I9: ${heard.revoked} requests were served after their key's revocation`);
  const dearest = [...booked.values()].reduce((most, cost) => (cost > most ? cost : most), 0n);
  const { balance } = await stack.wallet(heard.strict.account);
  if (balance < -dearest * BigInt(inFlightForgotten)) throw new Error(`I7: the strict wallet is at ${balance}`);
  const [{ coins }] = await stack.sql(`select sum(spent) as coins from account_balances where account_id in (${ids})`);
  const sum = [...booked.values()].reduce((total, cost) => total + cost, 0n);
  if (BigInt(coins) !== sum) throw new Error(`I16: ${sum} nano-coins are booked, ${coins} counted`);
  return { booked: booked.size, nano_coins_moved: String(sum), lost: 0, double: 0 };
}

/// After a blow at least a few more requests are answered: the gate came back by itself.
export async function servedAgain(served) {
  const before = served();
  await waitFor('requests to be served again', () => served() > before + 5, SERVED_AGAIN_SECONDS);
}
