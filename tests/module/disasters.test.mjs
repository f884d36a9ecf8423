// Every disaster of docs/operations.md on a running Lumen: nothing wrong is served on the way, the commands on that page
// are run as they stand there, and the books balance afterwards (ledger.md §8, T6).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { drainedLately } from '../simulation/blows.mjs';
import { chatBody, nano } from './traffic.mjs';

const page = readFileSync(path.join(checkout, 'docs/operations.md'), 'utf8');

/// The code block that the page marks with `<!-- rehearsed: name -->`.
function block(name) {
  const found = new RegExp(`<!-- rehearsed: ${name} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page);
  assert.ok(found, `docs/operations.md has no block ${name}`);
  return found[1];
}

let stack;
let backup;
before(async () => {
  stack = await startStack({ name: 'disasters' });
  backup = mkdtempSync(path.join(stack.dir, 'backup-'));
});
after(() => stack?.stop());

/// Runs shell lines as an operator would; status and output.
function shell(lines, more = {}) {
  const { instance } = stack;
  const bin = path.dirname(instance.program('lumen-admind'));
  const env = {
    ...process.env, ...instance.admindEnvironment(), PATH: `${bin}:${process.env.PATH}`, LUMEN_CONFIG: instance.configFile,
    LUMEN_DATABASE_URL: instance.postgres.url, BACKUP: backup, REDIS_DIR: instance.redis.dataDir, ...more,
  };
  try {
    return { status: 0, output: execFileSync('sh', ['-e', '-c', lines], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }) };
  } catch (error) {
    return { status: error.status, output: `${error.stdout}${error.stderr}` };
  }
}

function run(name) {
  const { status, output } = shell(block(name));
  assert.equal(status, 0, output);
}

/// One client that knows what it has: every answer must be 200 with the balance that follows from all prices it was told,
/// or 503. Never a wrong balance, never a 401 for a good key.
class Client {
  statuses = {};
  #hold;
  #costs = [];
  #booked = 0;  // of them, when the book was last seen to have all

  static async create() {
    const client = new Client();
    Object.assign(client, await stack.newAccount({ max: '1000' }));
    client.balance = nano('1000');
    await client.served();
    return client;
  }

  async ask() {
    const response = await stack.post('/v1/chat/completions', chatBody(), { key: this.key });
    await response.text();
    this.statuses[response.status] = (this.statuses[response.status] ?? 0) + 1;
    if (response.status === 503) return false;
    assert.equal(response.status, 200);
    const told = nano(response.headers.get('x-lumen-balance'));
    this.#hold ??= this.balance - told;
    const missing = told - (this.balance - this.#hold);
    assert.ok(this.#onTheirWay().includes(missing), `the balance told is off by ${missing}`);
    this.#costs.push(nano(response.headers.get('x-lumen-cost')));
    this.balance -= this.#costs.at(-1);
    return true;
  }

  /// Asks until it is served: what a disaster before this one has taken is back then.
  served() { return waitFor('an answer', () => this.ask()); }

  /// What may be missing: nothing, or the newest charges that the book had not got yet, which the gate's ring sends again
  /// within a second or so. How many those are is up to the machine.
  #onTheirWay() {
    const sums = [0n];
    for (const cost of this.#costs.slice(this.#booked).reverse()) sums.push(sums.at(-1) + cost);
    return sums;
  }

  /// Asks all the time until `disaster` is over and three more were served. The gate settles after the answer: the next
  /// question waits until it is in force.
  async askThroughout(disaster) {
    let over = false;
    const done = disaster().finally(() => { over = true; });
    for (let served = 0; served < 3 || !over;) {
      if (await this.ask()) {
        await this.settled();
        if (over) served++;
      } else {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    await done;
  }

  /// Until Redis has what was charged; while it is away or being replaced, the gate's ring knows it.
  async settled() {
    await waitFor('the settle', async () => {
      const wallet = await stack.wallet(this.account).catch(() => null);
      return wallet !== null && wallet.running === 0n && wallet.balance === this.balance;
    });
  }

  async booked() {
    await waitFor('the book to have it', async () => {
      const [row] = await stack.sql(`select balance from account_balances where account_id = ${this.account}`).catch(() => [{}]);
      return row.balance === String(this.balance);
    });
    this.#booked = this.#costs.length;
  }
}

const appendOnlyFiles = () => path.join(stack.instance.redis.dataDir, 'appendonlydir');

test('Postgres is away: requests are served, grants are refused, and all is booked when it is back (§8)', async () => {
  const client = await Client.create();
  await client.booked();
  await stack.server('postgres').stop();
  for (let i = 0; i < 5; i++) {
    assert.equal(await client.ask(), true);
    await client.settled();
  }
  const grant = await stack.operator.call('POST', `/admin/accounts/${client.account}/grants`, { coins: '1', reason: 'while it is away' });
  assert.deepEqual([grant.status, grant.body.code], [503, 'database_unavailable']);
  await stack.start('postgres');
  await client.booked();
  await client.settled();
});

test('Redis is emptied under load', async () => {
  const client = await Client.create();
  await client.settled();
  await client.booked();
  await client.askThroughout(async () => {
    for (let i = 0; i < 3; i++) {
      await drainedLately({ stack });
      assert.equal(await stack.redis('FLUSHALL'), 'OK');
      await waitFor('Redis to be filled', async () => (await stack.wallet(client.account)).seq > 0n);
    }
  });
  await client.booked();
});

test('an older append-only file is put back', async () => {
  const client = await Client.create();
  await client.settled();
  run('backup-redis');
  for (let i = 0; i < 5; i++) {
    await client.served();
    await client.settled();
  }
  await client.booked();
  await client.askThroughout(async () => {
    await drainedLately({ stack });
    await stack.server('redis').stop();
    rmSync(appendOnlyFiles(), { recursive: true });
    cpSync(path.join(backup, 'appendonlydir'), appendOnlyFiles(), { recursive: true });
    execFileSync('chown', ['-R', '--reference', stack.instance.redis.dataDir, appendOnlyFiles()]);
    await stack.start('redis');
  });
  await client.booked();
});

test('the end of the append-only file is lost before the book had it: the gates send it again', async () => {
  const client = await Client.create();
  await client.settled();
  await client.booked();
  await stack.kill('admind');  // nothing is drained from here on
  for (let i = 0; i < 3; i++) {
    await client.served();
    await client.settled();
  }
  await stack.kill('redis');
  const tail = readdirSync(appendOnlyFiles()).filter((name) => name.endsWith('.incr.aof')).sort().pop();
  const file = path.join(appendOnlyFiles(), tail);
  truncateSync(file, statSync(file).size - 700);  // the middle of the last settle or the one before
  await stack.start('redis');
  assert.ok((await stack.wallet(client.account)).balance !== client.balance, 'something was lost');
  await stack.start('admind');
  await client.settled();
  await client.booked();
  await client.served();
});

/// A client with four charges in the book that the backup does not have.
async function chargedAfterABackup() {
  const client = await Client.create();
  await client.settled();
  await client.booked();
  run('backup-postgres');
  for (let i = 0; i < 4; i++) {
    await client.served();
    await client.settled();
  }
  await client.booked();
  return client;
}

test('Postgres is restored from a backup of minutes ago: drained again by itself', async () => {
  const client = await chargedAfterABackup();
  await client.askThroughout(async () => {
    await stack.server('admind').stop();
    run('restore-postgres');
    await stack.start('admind');
  });
  await client.booked();
  assert.equal(shell('lumen-admind reconcile').output, '');
});

test('Postgres is restored from an older backup: it stands still, then a person decides', async () => {
  const client = await chargedAfterABackup();
  // Ten minutes later the gates' rings have let go of what was settled, and the drained events are gone from the streams.
  await waitFor('the replay window to pass', async () => {
    const metrics = await (await fetch(`${stack.url}/lumen/metrics`)).text();
    return /^lumen_ring_settled 0$/m.test(metrics);
  }, 60, 200);
  for (let bucket = 0; bucket < 256; bucket++) await stack.redis('XTRIM', `{b${String(bucket).padStart(3, '0')}}:events`, 'MAXLEN', '0');
  await client.askThroughout(async () => {
    await stack.server('admind').stop();
    run('restore-postgres');
    await stack.start('admind');
  });
  const before = client.balance;
  await waitFor('the drain to stand still at the hole', () => stack.log('admind').includes('hole in the stream'));
  assert.equal((await stack.wallet(client.account)).balance, before, 'what is served is right');
  const decided = shell('lumen-admind rebuild --from redis');
  assert.equal(decided.status, 0, decided.output);
  assert.match(decided.output, /accounts adjusted 1 by /);
  await client.booked();
  const rows = await stack.sql(`
    select actor from ledger_events join money_ops using (account_id, opn) where account_id = ${client.account} and ledger_events.kind = 4`);
  assert.deepEqual(rows, [{ actor: 'command line' }]);
  await client.served();
  await client.booked();
});

test('the query on the page re-adds any statement to its balance, and would notice if it did not', async () => {
  const client = await Client.create();
  await client.booked();
  const query = block('statement');
  const accounts = await stack.sql('select id from accounts');
  assert.ok(accounts.length > 4);
  for (const { id } of accounts) {
    const [row] = await stack.sql(query, { account: id });
    assert.deepEqual([row.difference, row.gaps], ['0', '0'], `account ${id}`);
  }
  const tampered = await stack.sql(`begin; update ledger_events set delta = delta + 1 where account_id = ${client.account}; ${query} rollback;`,
    { account: client.account });
  assert.equal(tampered[0].difference, '-' + (await stack.sql(`select count(*) as n from ledger_events where account_id = ${client.account}`))[0].n);
});

test('a statement read page by page says who, when, why, before and after, and adds up', async () => {
  const client = await Client.create();
  const grant = await stack.rest('POST', `/admin/accounts/${client.account}/grants`, { coins: '2.5', reason: 'a prize' });
  client.balance += nano('2.5');
  assert.equal(nano(grant.after.coins) - nano(grant.before.coins), nano('2.5'));
  for (let i = 0; i < 4; i++) {
    await client.served();
    await client.settled();
  }
  await client.booked();
  const rows = [];
  for (let cursor; ;) {
    const answer = await stack.rest('GET', `/admin/ledger?account=${client.account}&limit=2${cursor ? `&cursor=${cursor}` : ''}`);
    rows.push(...answer.data);
    if (answer.next_cursor === null) break;
    cursor = encodeURIComponent(answer.next_cursor);
  }
  const balances = rows.map((row) => [BigInt(row.balance_after.nano) - BigInt(row.amount.nano), BigInt(row.balance_after.nano)]).reverse();
  balances.forEach(([beforeIt], i) => assert.equal(beforeIt, i === 0 ? 0n : balances[i - 1][1]));
  assert.equal(balances.at(-1)[1], client.balance);
  const prize = rows.find((row) => row.reason === 'a prize');
  assert.match(prize.actor, /./);
  assert.match(prize.time, /^\d{4}-\d\d-\d\dT/);
});

test('the command on the page exports a statement as CSV, and its rows re-add', async () => {
  const client = await Client.create();
  await client.settled();
  await client.served();
  await client.booked();
  const { status, output } = shell(`cd "$BACKUP"; ${block('statement-csv')} cat statement.csv`, {
    LUMEN_URL: stack.url, LUMEN_OPERATOR_TOKEN: stack.operator.token, ACCOUNT: client.account,
  });
  assert.equal(status, 0, output);
  const [head, ...lines] = output.trim().split('\r\n').map((line) => line.split(','));
  const coins = (line, name) => nano(line[head.indexOf(name)]);
  assert.ok(lines.length >= 3);
  let balance = 0n;
  for (const line of lines) {
    assert.equal(coins(line, 'balance_before'), balance);
    balance += coins(line, 'amount');
    assert.equal(coins(line, 'balance_after'), balance);
  }
  assert.equal(balance, client.balance);
});
