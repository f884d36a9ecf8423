// Clients that never pause while something befalls the gate. Each request has a connection of its own, so that what fails
// is the gate's fault, and no idle connection that was closed just as it was used again.
import { waitFor } from '../harness/machine.mjs';
import { chatBody, codeOf, Connections, toldCost } from './traffic.mjs';

const ACCOUNTS = 4;

/// What befell Redis before may not be over for admind: then the account follows by itself, and another one will do.
function newAccount(stack) {
  return waitFor('a new account', () => stack.newAccount({ max: '100000' }).catch((error) => {
    if (!error.message.includes('redis_unavailable')) throw error;
  }), 60, 500);
}

/// Runs `trouble(heard)` while `clients` send, every third request as a stream. Returns what was heard:
/// {answers, told: request → nano-coins, failures: [text], refused: {`503 billing_unavailable`: n}, accounts}.
export async function underLoad(stack, trouble, { clients = 8, model = 'demo', restMs = 0 } = {}) {
  const heard = { answers: 0, told: new Map(), failures: [], refused: {} };
  heard.accounts = await Promise.all(Array.from({ length: ACCOUNTS }, () => newAccount(stack)));
  let stop = false;
  const all = Promise.all(Array.from({ length: clients }, (_, n) => client(stack, heard, n, { model, restMs }, () => stop)));
  try {
    await trouble(heard);
  } finally {
    stop = true;
    await all;
  }
  return heard;
}

async function client(stack, heard, n, { model, restMs }, stopped) {
  const { key } = heard.accounts[n % ACCOUNTS];
  for (let round = 0; !stopped(); round++) {
    const stream = (n + round) % 3 === 0;
    const connection = new Connections(stack.url, 1);
    try {
      take(heard, await connection.post(0, '/v1/chat/completions', key, chatBody({ model, stream })), stream);
    } catch (error) {
      heard.failures.push(error.code ?? error.message);
    } finally {
      connection.close();
    }
    if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
  }
}

function take(heard, answer, stream) {
  if (answer.status !== 200) {
    const row = `${answer.status} ${codeOf(answer)}`;
    heard.refused[row] = (heard.refused[row] ?? 0) + 1;
    return;
  }
  const told = answer.complete && toldCost(answer, stream);
  if (!told || (stream && !answer.body.endsWith('data: [DONE]\n\n'))) {
    heard.failures.push(`an answer was cut after ${answer.body.length} bytes`);
    return;
  }
  heard.answers++;
  heard.told.set(told.request, told.cost);
}

/// Each price that a client was told is in the book once, in usage, reap and correction rows together (I5), and nothing
/// is held any more. Returns how many requests of these accounts the book has.
export async function bookedAsTold(stack, heard) {
  const accounts = heard.accounts.map(({ account }) => account);
  await waitFor('all holds to end', async () => {
    const wallets = await Promise.all(accounts.map((account) => stack.wallet(account)));
    return wallets.every((wallet) => wallet.running === 0n);
  });
  let booked = new Map();
  const differences = () => [...heard.told].filter(([request, cost]) => booked.get(request) !== cost);
  await waitFor('each price to be booked as it was told', async () => {
    const rows = await stack.sql(`
      select request_id, sum(cost) as cost
        from ledger_events
       where account_id in (${accounts.join(',')}) and kind in (1, 5, 6)
       group by request_id`);
    booked = new Map(rows.map((row) => [row.request_id, BigInt(row.cost)]));
    return differences().length === 0;
  }, 60, 200);
  return booked.size;
}
