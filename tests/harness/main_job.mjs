// The main job: a user with coins and a key, one chat completion through the gate, and what it cost, as the answer's
// header, Redis and Postgres have it. They must agree with each other and with the price list.
import { costOf, formatCoins, parseCoins } from './coins.mjs';
import { waitFor } from './machine.mjs';
import { Operator } from './operator.mjs';
import { RedisLink } from './redis_link.mjs';
import { sql } from './sql.mjs';

const USER = { email: 'demo@example.edu', name: 'Demo' };
const LIMITS = { max: '5', refresh: '0.05', starting: '5' };
export const QUESTION = 'Say hello to a newcomer.';

const LEDGER_COLUMNS = `at, request_id, account_id, key_id, tokens_in, tokens_out, cost, delta, balance_after, seq`;
export const ledgerQuery = (requestId) =>
  `select ${LEDGER_COLUMNS} from ledger_events where request_id = '${requestId}'`;

/// Access for a person who tries it out: {operatorToken, email, account, key, model}. Made once, then found in `saved`.
export async function demoAccess(instance, saved) {
  if (saved?.key) return saved;
  const operatorToken = saved?.operatorToken ?? createToken(instance);
  const operator = new Operator(instance.url, operatorToken);
  const known = (await operator.rest('GET', `/admin/users?q=${encodeURIComponent(USER.email)}`)).data
    .find((user) => user.email === USER.email);
  const made = known
    ? { account: known.account, key: (await operator.createKey(known.account)).key }
    : await operator.createUser({ ...USER, limits: LIMITS, keyName: 'demo' });
  return { operatorToken, email: USER.email, account: made.account, key: made.key };
}

function createToken(instance) {
  const token = /lop_\S+/.exec(instance.admind.run('token', 'create', '--scope', 'admin'))?.[0];
  if (!token) throw new Error('`lumen-admind token create` printed no token');
  return token;
}

/// Does it once; the report that `./lumen up` prints. Throws if any two sources disagree.
export async function runMainJob(instance, access) {
  const model = await firstModel(instance, access);
  await seeRefusal(instance);
  const response = await askUntilServed(instance, access, model.id);
  const body = await response.json();
  if (!response.ok) throw new Error(`the gate answered ${response.status}: ${JSON.stringify(body)}`);

  const requestId = response.headers.get('x-request-id');
  const row = await waitFor(`request ${requestId} to be in the book`,
    async () => (await sql(instance.postgres.url, ledgerQuery(requestId)))[0]);
  const report = {
    model: model.id,
    question: QUESTION,
    answer: body.choices[0].message.content,
    tokensIn: row.tokens_in,
    tokensOut: row.tokens_out,
    priceIn: model.pricing.input,
    priceOut: model.pricing.output,
    cost: formatCoins(BigInt(row.cost)),
    before: formatCoins(BigInt(row.balance_after) - BigInt(row.delta)),
    after: formatCoins(BigInt(row.balance_after)),
    requestId,
    row,
  };
  await checkAgreement(instance, access, { report, body, headerCost: response.headers.get('x-lumen-cost'), pricing: model.pricing });
  return report;
}

/// The gate answers once it has its catalogue.
async function firstModel(instance, access) {
  const list = await waitFor('the gate to list models', async () => {
    const response = await fetch(`${instance.url}/v1/models`, { headers: { authorization: `Bearer ${access.key}` } });
    return response.ok && response.json();
  });
  if (list.data.length === 0)
    throw new Error(`the configuration lets ${USER.email} use no model; set "defaults: {models: {access: allowed}}" or allow one`);
  return list.data[0];
}

/// A gate that lets everybody through does all else as well as one that works (L9).
async function seeRefusal(instance) {
  const response = await askUntilServed(instance, { key: 'no-key-of-anybody' }, 'any');
  const code = (await response.json().catch(() => ({}))).error?.code;
  if (response.status !== 401 || code !== 'invalid_api_key')
    throw new Error(`the gate answered a call with a key of nobody with ${response.status} instead of 401 invalid_api_key`);
}

/// Where Redis has just been started again, a gate says 503 until admind has looked at the bucket.
function askUntilServed(instance, access, model) {
  return waitFor('the gate to serve', async () => {
    const response = await ask(instance, access, model);
    if (response.status !== 503) return response;
    await response.text();
    return false;
  });
}

function ask(instance, access, model) {
  return fetch(`${instance.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${access.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: QUESTION }] }),
  });
}

async function checkAgreement(instance, access, { report, body, headerCost, pricing }) {
  const { usage } = body;
  const counted = {
    input: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    output: usage.completion_tokens,
  };
  const cost = parseCoins(report.cost);
  const expected = costOf(counted, { ...pricing, cached: pricing.cached_input });
  if (cost !== expected) throw new Error(`the ledger charged ${report.cost}, the price list says ${formatCoins(expected)}`);
  if (headerCost === null || parseCoins(headerCost) !== cost)
    throw new Error(`the ledger charged ${report.cost}, x-lumen-cost says ${headerCost}`);

  const redis = new RedisLink(instance.redis.socket);
  const bucket = String(BigInt(access.account) % 256n).padStart(3, '0');
  const [balance, seq] = await redis.command('HMGET', `{b${bucket}}:a:${access.account}`, 'bal', 'seq');
  redis.close();
  // Somebody else may use the key at this moment; then Redis is ahead of this row.
  if (seq === report.row.seq && balance !== report.row.balance_after)
    throw new Error(`the book says ${report.after} after request ${report.requestId}, Redis ${formatCoins(BigInt(balance))}`);
}
