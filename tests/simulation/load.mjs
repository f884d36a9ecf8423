// Clients that never pause while servers die under them, and the comparison of what they were told with what was booked.
import { waitFor } from '../harness/machine.mjs';
import { chatBody, Connections, nano } from '../module/traffic.mjs';

const CLIENTS = 12;
const ACCOUNTS = 3;
const MOST_ROUNDS = 200_000;  // of one client; the trouble ends long before
const SERVED_AGAIN_SECONDS = 60;

/// A connection that broke is no answer; anything else that goes wrong is a fault of the test's.
const BROKEN = /ECONNRESET|ECONNREFUSED|socket hang up|EPIPE/;

/// Runs `trouble(served)` while clients send; `served()` counts the requests answered so far. Returns what was heard:
/// {told: request → cost in nano-coins, statuses, cut, broken, accounts}.
export async function under(stack, trouble) {
  const heard = { told: new Map(), statuses: {}, cut: 0, broken: 0 };
  heard.accounts = await Promise.all(Array.from({ length: ACCOUNTS }, () => stack.newAccount({ max: '100000' })));
  let stop = false;
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(stack, heard, n, () => stop)));
  try {
    await trouble(() => heard.statuses[200] ?? 0);
  } finally {
    stop = true;
    await clients;
  }
  return heard;
}

async function client(stack, heard, n, stopped) {
  const { key } = heard.accounts[n % ACCOUNTS];
  const connections = new Connections(stack.url, 1);
  for (let round = 0; round < MOST_ROUNDS && !stopped(); round++) {
    const stream = (n + round) % 3 === 0;
    try {
      const answer = await connections.post(0, '/v1/chat/completions', key, chatBody({ stream }));
      take(heard, answer, stream);
      // A gate that fails closed answers in microseconds: no busy loop against it.
      if (answer.status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    } catch (error) {
      if (!BROKEN.test(String(error.code ?? error.message))) throw error;
      heard.broken++;
    }
  }
  connections.close();
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

/// Every price that a client was told is in the book, once, in usage, reap and correction rows together (I5). Throws
/// with the first differences. Returns how many requests the book has.
export async function bookedAsTold(stack, heard) {
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
    }, 30, 250);
  } catch (error) {
    const shown = differences().slice(0, 5).map(([request, cost]) => `${request}: told ${cost}, booked ${booked.get(request)}`);
    throw new Error(`${error.message}: ${differences().length} of ${heard.told.size} differ\n${shown.join('\n')}`);
  }
  return booked.size;
}

/// After a blow at least a few more requests are answered: the gate came back by itself.
export async function servedAgain(served) {
  const before = served();
  await waitFor('requests to be served again', () => served() > before + 5, SERVED_AGAIN_SECONDS);
}
