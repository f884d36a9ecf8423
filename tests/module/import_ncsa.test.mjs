// Coming from NCSA Lumen: a thousand users by one command; a second run changes nothing; and a client's old key works.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, waitFor, writeServerFile } from '../harness/machine.mjs';
import { sql } from '../harness/sql.mjs';
import { startStack } from '../harness/stack.mjs';

const USERS = 1000;
const OLD_KEY = 'sk_dGhpcyBpcyBhIGtleSBvZiBOQ1NBIEx1bWVuJ3Mga2luZA';
const PAUSED_KEY = 'sk_dGhpcyBvbmUgd2FzIHR1cm5lZCBvZmYgYnkgaXRzIG93bmVy';
const PROJECT_KEY = 'sk_YSBwcm9qZWN0IGhhcyBrZXlzIG9mIGl0cyBvd24gYXMgd2VsbA';

let stack;
let oldDatabase;
let oldConfig;

before(async () => {
  stack = await startStack({
    name: 'import_ncsa',
    settings: { groups: { staff: { max: 40, refresh: 1 } }, rate_limiting: { limit: '1000000 per minute' } },
    models: ([server]) => [
      { name: 'demo', access: 'allowed', input_cost_per_million: 0.15, output_cost_per_million: 0.6, endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'asks', access: 'allowed', needs_ack: true, input_cost_per_million: 1, endpoints: [{ id: 'two', url: `${server}/v1` }] },
    ],
  });
  await stack.sql('create database ncsa');
  oldDatabase = stack.instance.postgres.url.replace(/\/[^/?]*(\?|$)/, '/ncsa$1');
  await sql(oldDatabase, readFileSync(path.join(checkout, 'tests/data/ncsa_schema.sql'), 'utf8'));
  await sql(oldDatabase, realisticRows());
  oldConfig = path.join(stack.instance.stateDir, 'ncsa.yaml');
  writeServerFile(oldConfig, JSON.stringify({
    app: { name: 'Lumen', encryption_key: stack.instance.installationSecret, secret_key: 's'.repeat(40), database: { url: oldDatabase } },
    oauth2: { client_id: 'c', server_metadata_url: 'https://cilogon.org/.well-known/openid-configuration', redirect_uri: 'https://old.example.edu/callback' },
    models: [],
  }), 0o600);
});
after(() => stack?.stop());

function hash(key) {
  return createHmac('sha256', stack.instance.installationSecret).update(key).digest('hex');
}

/// Ada (1) has all there is; 2 to USERS are many; then a project, a nobody, and one who is turned off.
function realisticRows() {
  return `
    insert into model_configs (model_name, input_cost_per_million, output_cost_per_million, needs_ack)
    values ('demo', 0.15, 0.6, false), ('asks', 1, 0, true), ('gone', 1, 1, false);
    insert into entities (entity_type, email, name, created_at)
    select 'user', 'Person' || n || '@Example.edu', 'Person ' || n, '2025-09-01 08:00:00'
      from generate_series(1, ${USERS}) n;
    update entities set name = 'Ada', email = 'Ada.Old@Example.edu' where id = 1;
    insert into entities (entity_type, email, name, created_at, active, model_access_default) values
      ('project', null, 'research-bot', '2025-10-01', true, 'allowed'),
      ('user', null, 'Nobody', '2025-10-01', true, null),
      ('user', 'off@example.edu', 'Off', '2025-10-01', false, null),
      ('project', null, 'research-bot', '2025-11-01', false, null);
    insert into entity_limits (entity_id, max_coins, refresh_coins, starting_coins) values
      (1, 100, 0.5, 10), (2, -2, 0, 0), (3, 0, 0, 0), (${USERS + 1}, 500, 1, 500);
    insert into entity_balances (entity_id, coins_left, last_refill_at)
    select n, case when n = 1 then 12.345678 else 3.5 end, '2026-01-01' from generate_series(1, ${USERS}) n;
    insert into entity_balances (entity_id, coins_left) values (${USERS + 1}, 77.7);
    insert into entity_managers (user_entity_id, project_entity_id, is_owner) values (1, ${USERS + 1}, true), (4, ${USERS + 1}, false);
    insert into groups (name, description, config_managed, model_access_default) values
      ('staff', 'of the file', true, null), ('club', 'by hand', false, 'allowed');
    insert into group_limits (group_id, max_coins, refresh_coins, starting_coins) values (2, 9, 0.25, 9);
    insert into group_members (group_id, entity_id, config_managed)
    select 2, n, false from generate_series(5, ${USERS}) n;
    insert into group_members (group_id, entity_id, config_managed) values (1, 4, true);
    insert into entity_model_access (entity_id, model_config_id, access_type) values (4, 1, 'blocked');
    insert into entity_model_consents (entity_id, model_config_id, consented_at) values (1, 2, '2026-02-03 04:05:06');
    insert into api_keys (entity_id, name, key_hash, key_hint, active, requests, input_tokens, output_tokens, cost, last_used_at, created_at) values
      (1, 'laptop', '${hash(OLD_KEY)}', 'sk_dGhp...a2luZA', true, 3, 300, 30, 0.5, '2026-03-01 10:00:00', '2025-09-02'),
      (1, 'old', '${hash(PAUSED_KEY)}', 'sk_dGhp...93bmVy', false, 0, 0, 0, 0, null, '2025-09-03'),
      (${USERS + 1}, 'bot', '${hash(PROJECT_KEY)}', 'sk_YSBw...d2VsbA', true, 0, 0, 0, 0, null, '2025-10-02');
    insert into api_keys (entity_id, name, key_hash, key_hint, created_at)
    select n, 'key', encode(sha256(('key of ' || n)::bytea), 'hex'), 'sk_xxxx...yyyy', '2025-09-02' from generate_series(4, ${USERS}) n;
    insert into model_stats (entity_id, model_config_id, source, requests, input_tokens, output_tokens, cost, last_used_at) values
      (1, 1, 'api', 5, 500, 50, 0.75, '2026-03-01'), (1, 3, 'api', 1, 10, 1, 0.25, '2025-12-01'), (1, 1, 'chat', 2, 20, 4, 0.1, '2026-02-01');
    insert into request_logs (time, entity_id, model_config_id, source, input_tokens, output_tokens, cost)
    select '2026-03-01 10:00:00+00'::timestamptz - make_interval(mins => n), 1, 1, 'api', 100, 10, 0.15 from generate_series(1, 4) n;
    insert into conversations (entity_id, title) select 1, 'c' from generate_series(1, 7);
  `;
}

const importNow = (...more) => stack.instance.admind.run('import-ncsa', oldConfig, ...more);
const table = (name) => stack.sql(`select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as content from ${name} t`);
const everything = async () => JSON.stringify(await Promise.all([
  'users', 'api_keys', 'key_totals', 'usage_quarter', 'memberships', 'account_rules', 'groups', 'consents', 'past_usage', 'money_ops',
  'ncsa_imports', 'projects', 'project_managers', 'account_conversations',
].map(async (name) => [name, await table(name)])));
const ada = async () => (await stack.rest('GET', '/admin/users?q=ada.old')).data[0];
const ask = (key) => stack.post('/v1/chat/completions', { model: 'demo', messages: [{ role: 'user', content: 'Hello' }] }, { key });

test('a dry run says what would come over and writes nothing', async () => {
  const before = await everything();
  const report = importNow('--dry-run');
  assert.match(report, new RegExp(`users: ${USERS + 2} found, ${USERS + 1} would come over, 0 there before, 1 skipped`));
  assert.match(report, /projects: 2 found, 2 would come over/);
  assert.match(report, /users: entity \d+ has no usable address/);
  assert.match(report, /limits: person3@example.edu has max 0/);
  assert.match(report, /nothing was written/);
  assert.equal(await everything(), before);
  assert.equal((await ask(OLD_KEY)).status, 401);
});

test('one command brings a thousand users over, and the books agree', async () => {
  const report = importNow();
  console.log(/took \d+ ms/.exec(report)[0], `for ${USERS} users`);
  assert.match(report, /reconciled: Redis and the book agree/);
  const [{ n }] = await stack.sql("select count(*) as n from users where email like 'person%@example.edu'");
  assert.ok(Number(n) >= USERS - 1, n);
});

test('a second run changes nothing', async () => {
  const before = await everything();
  const report = importNow();
  assert.match(report, new RegExp(`users: ${USERS + 2} found, 0 came over, ${USERS + 1} there before`));
  assert.match(report, /keys: \d+ found, 0 came over/);
  assert.match(report, /usage: \d+ found, 0 came over/);
  assert.equal(await everything(), before);
});

test("a client's old key works, is charged, and one that was off stays off", async () => {
  const answer = await waitFor('the gate to know the old key', async () => {
    const reply = await ask(OLD_KEY);
    return reply.status === 200 && reply;
  });
  assert.ok(Number(answer.headers.get('x-lumen-cost') ?? '1') > 0);
  assert.equal((await ask(PAUSED_KEY)).status, 401);
  assert.equal((await ask(PROJECT_KEY)).status, 200);
});

test('balances, limits, groups, rules and consents came over to the nano-coin', async () => {
  const person = await ada();
  const account = await stack.rest('GET', `/admin/accounts/${person.account}`);
  assert.deepEqual(account.limits, { max: '100', refresh: '0.5', starting: '10', from: 'admin' });
  const entry = (await stack.rest('GET', `/admin/ledger?account=${person.account}&kind=adjust`)).data[0];
  assert.equal(entry.balance_after.coins, '12.345678');
  assert.equal(entry.actor, 'import-ncsa');
  const of = async (email) => {
    const [user] = (await stack.rest('GET', `/admin/users?q=${email}`)).data;
    return stack.rest('GET', `/admin/accounts/${user.account}`);
  };
  assert.equal((await of('person2@')).budget.state, 'unlimited');
  assert.equal((await of('person3@')).budget.state, 'blocked');
  const four = await of('person4@');
  assert.deepEqual(four.groups.map((g) => `${g.name} ${g.via}`), ['staff rule']);
  assert.deepEqual(four.rules.blocked, ['demo']);
  const five = await of('person5@');
  assert.equal(five.budget.limit.coins, '9');
  assert.equal(five.budget.balance.coins, '3.5');
  assert.equal(five.budget.source, 'group:club');
  const access = await stack.rest('GET', `/admin/access?account=${person.account}&model=asks`);
  assert.equal(access.access, 'consented');
  assert.equal((await of('off@')).active, false);
});

test('projects came over with their people, their balance and their keys', async () => {
  const projects = Object.fromEntries((await stack.rest('GET', '/projects?disabled=true')).data.map((project) => [project.name, project]));
  const bot = projects['research-bot'];
  assert.deepEqual(bot.managers.map((m) => [m.email, m.owner]), [['ada.old@example.edu', true], ['person4@example.edu', false]]);
  const account = await stack.rest('GET', `/admin/accounts/${bot.account}`);
  assert.equal(account.type, 'project');
  assert.equal(account.limits.max, '500');
  assert.equal(account.rules.default, 'allowed');
  const [entry] = (await stack.rest('GET', `/admin/ledger?account=${bot.account}&kind=adjust`)).data;
  assert.equal(entry.balance_after.coins, '77.7');
  // The name was another's there too: both are kept apart.
  assert.ok(projects[`research-bot (${USERS + 4})`]);
});

test('what an import brought by rule stays when the rules are applied anew', async () => {
  await stack.restart('admind');
  const [user] = (await stack.rest('GET', '/admin/users?q=person4@')).data;
  const account = await stack.rest('GET', `/admin/accounts/${user.account}`);
  assert.deepEqual(account.groups.map((g) => `${g.name} ${g.via}`), ['staff rule']);
});

test('P27 P29 use from before adds up: models, keys, the deleted ones, and chat whose conversations are gone', async () => {
  const person = await ada();
  // One request since, by the old key.
  const all = await waitFor('that one to be counted', async () => {
    const told = await stack.rest('GET', `/admin/users/${person.id}`);
    return told.models.data.find(({ model }) => model === 'demo').requests === 5 + 2 + 1 && told;
  });
  const keys = Object.fromEntries(all.keys.data.map((key) => [key.name, key]));
  assert.equal(keys.laptop.requests, 3 + 1);
  assert.equal(keys['(keys deleted before the import)'].requests, 6 - 3);
  assert.ok(keys['(keys deleted before the import)'].deleted_at);
  assert.equal(keys.old.paused, true);
  assert.equal(all.chat.requests, 2);
  assert.equal(all.chat.conversations, 7);
  const quarters = await stack.sql(`select count(*) as n from usage_quarter where account_id = :'account'`, { account: person.account });
  assert.ok(Number(quarters[0].n) >= 4);
});

test('another secret or the same database is refused', async () => {
  const wrong = `${oldConfig}.wrong`;
  writeServerFile(wrong, readFileSync(oldConfig, 'utf8').replace(stack.instance.installationSecret, 'x'.repeat(40)), 0o600);
  assert.throws(() => stack.instance.admind.run('import-ncsa', wrong), /encryption_key differs/);
  assert.throws(() => stack.instance.admind.run('import-ncsa', '--database', stack.instance.postgres.url), /database of its own|no database of NCSA/);
});
