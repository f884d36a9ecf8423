// Who may use which model (spec/rest.md §4): the 22 rows of its table, and random configurations, each pair of account and
// model three times over: as the text of the spec computes it, as REST shows it, and as the gate answers (P61).
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { Contract } from '../harness/contract.mjs';
import { startStack } from '../harness/stack.mjs';
import { BrowserSession } from './browser_session.mjs';
import { chatBody, seededRandom } from './traffic.mjs';

const SEED = Number(process.env.LUMEN_SEED ?? Date.now() % 1e9);
const random = seededRandom(SEED);
const pick = (list) => list[Math.floor(random() * list.length)];
const some = (list, share) => list.filter(() => random() < share);

// ---- the spec's text -----------------------------------------------------------------------------------------------

const A = 'allowed';
const B = 'blocked';

/// badge() of spec/rest.md §4; `account` and each group: {default, allowed, blocked}.
function badgeOf(account, groups, model, globalAccess, consented) {
  const ruleOf = (rules) => (rules.blocked?.includes(model.name) ? B : rules.allowed?.includes(model.name) ? A : undefined);
  const groupRules = groups.map(ruleOf).filter(Boolean);
  const groupDefaults = groups.map((group) => group.default).filter(Boolean);
  let rule = ruleOf(account);
  rule ??= groupRules.length > 0 ? (groupRules.includes(B) ? B : A) : undefined;
  rule ??= model.access;
  rule ??= groupDefaults.length > 0 ? (groupDefaults.includes(A) ? A : B) : undefined;
  rule ??= account.default ?? globalAccess;
  if (rule === B) return 'blocked';
  if (!model.needs_ack) return 'allowed';
  return consented ? 'consented' : 'need_consent';
}

/// serve(), as far as it is about access: "200", or status and code.
function servedAs(badge, model, keyModels, apiConsent) {
  if (model.disabled) return '404 model_not_found';
  if (badge === 'blocked') return model.hide_when_blocked ? '404 model_not_found' : '403 model_access_denied';
  if (keyModels && !keyModels.includes(model.name)) return '403 model_access_denied';
  return badge === 'need_consent' && apiConsent ? '403 model_consent_required' : '200';
}

// ---- the table -----------------------------------------------------------------------------------------------------

const row = (number, own, groupRules, access, groupDefaults, ownDefault, badge, v1, also = {}) => ({
  number, name: `row-${String(number).padStart(2, '0')}`, own, groupRules, access, groupDefaults, ownDefault, badge, v1, ...also,
});
const ROWS = [
  row(1, A, [A], A, [A], A, 'allowed', '404 model_not_found', { disabled: true }),
  row(2, A, [B], B, [B], B, 'allowed', '200'),
  row(3, null, [A, B], A, [A], A, 'blocked', '403 model_access_denied'),
  row(4, null, [A], B, [B], B, 'allowed', '200'),
  row(5, null, [B], A, [A], A, 'blocked', '403 model_access_denied'),
  row(6, null, [], B, [A], A, 'blocked', '403 model_access_denied'),
  row(7, null, [], A, [B], B, 'allowed', '200'),
  row(8, null, [], null, [A, B], B, 'allowed', '200'),
  row(9, null, [], null, [B], A, 'blocked', '403 model_access_denied', { global: A }),
  row(10, null, [], null, [], A, 'allowed', '200'),
  row(11, null, [], null, [], null, 'allowed', '200', { global: A }),
  row(12, null, [], null, [], null, 'blocked', '403 model_access_denied'),
  row(13, A, [], null, [], null, 'need_consent', '403 model_consent_required', { needs_ack: true }),
  row(14, null, [], null, [A], null, 'consented', '200', { needs_ack: true, consent: true }),
  row(15, null, [], A, [], null, 'need_consent', '200', { needs_ack: true, apiConsent: false }),
  row(16, B, [A], A, [A], null, 'blocked', '403 model_access_denied', { needs_ack: true, consent: true }),
  row(17, null, [], A, [], null, 'allowed', '403 model_access_denied', { keyModels: ['row-02'] }),
  row(18, null, [B], A, [], null, 'blocked', '403 model_access_denied', { keyModels: ['row-18'] }),
  row(19, null, ['inactive'], null, [], null, 'blocked', '403 model_access_denied'),
  row(20, null, [], null, [A], B, 'allowed', '200', { project: true }),
  row(21, null, ['default'], null, [], null, 'blocked', '403 model_access_denied', { project: true }),
  row(22, null, [], A, [], null, 'need_consent', '403 model_consent_required', { project: true, needs_ack: true, managersConsent: true }),
];

const listed = (rule, name) => (rule === A ? { allowed: [name] } : rule === B ? { blocked: [name] } : {});
const withDefault = (fallback) => (fallback ? { default: fallback } : {});

/// What lumen.yaml says for one row: a model, an account and the groups of its own.
function settingsOfRow({ name, own, groupRules, access, groupDefaults, ownDefault, disabled = false, needs_ack = false }) {
  const groups = {};
  for (const [i, rule] of groupRules.entries())
    if ([A, B].includes(rule)) groups[`${name}-rule-${i}`] = { model_access: listed(rule, name) };
  for (const [i, fallback] of groupDefaults.entries()) groups[`${name}-default-${i}`] = { model_access: { default: fallback } };
  return {
    model: { name, disabled, needs_ack, ack_message: 'Be careful.', ...(access ? { access } : {}) },
    groups,
    account: { groups: Object.keys(groups), model_access: { ...withDefault(ownDefault), ...listed(own, name) } },
  };
}

// ---- random worlds -------------------------------------------------------------------------------------------------

const MODELS = Array.from({ length: 9 }, (_, i) => `m${i}`);
const GROUPS = Array.from({ length: 6 }, (_, i) => `g${i}`);
const PEOPLE = Array.from({ length: 14 }, (_, i) => `someone-${i}@example.edu`);
const PROJECTS = Array.from({ length: 4 }, (_, i) => `project-${i}`);

const randomRules = (share) => ({
  ...withDefault(pick([undefined, undefined, A, B])), allowed: some(MODELS, share), blocked: some(MODELS, share),
});

function randomWorld() {
  return {
    models: Object.fromEntries(MODELS.map((name) => [name, {
      name, disabled: random() < 0.15, needs_ack: random() < 0.4, hide_when_blocked: random() < 0.3, ack_message: 'Be careful.',
      ...(random() < 0.5 ? { access: pick([A, B]) } : {}),
    }])),
    groups: Object.fromEntries(GROUPS.map((name) => [name, randomRules(0.2)])),
    accounts: Object.fromEntries([...PEOPLE, ...PROJECTS].map((name) => [name, { ...randomRules(0.1), groups: some(GROUPS, 0.3) }])),
  };
}

// ---- one Lumen for all ---------------------------------------------------------------------------------------------

let stack;
const accounts = new Map();  // name → {account, user?, project?, watch, key, keyModels}
let rounds = 0;

before(async () => {
  stack = await startStack({ name: 'access', settings: { defaults: { tokens: { max: -2 } } } });
});
after(() => stack?.stop());

/// A browser of that person's, with a session as a sign-in makes one.
async function sessionOf({ user, account }) {
  const cookie = randomBytes(32).toString('hex');
  const now = Date.now();
  await stack.redis('HSET', `lumen:session:${createHash('sha256').update(cookie).digest('hex')}`,
    'user', user, 'account', account, 'created', String(now), 'expires', String(now + 600_000), 'used', String(now));
  return new BrowserSession(stack.url, `lumen_session=${cookie}`, stack.contract);
}

async function makeAccount(name, isProject) {
  const made = isProject
    ? await stack.rest('POST', '/projects', { name, owner_email: PEOPLE[0] })
    : await stack.rest('POST', '/admin/users', { email: name.includes('@') ? name : `${name}@example.edu`, name });
  const entry = { account: made.account, ...(isProject ? { project: made.id } : { user: made.id }) };
  entry.watch = (await stack.operator.createKey(entry.account, { name: 'watch' })).key;
  accounts.set(name, entry);
  return entry;
}

async function giveKey(entry, models) {
  const { key } = await stack.operator.createKey(entry.account, { name: 'narrow', ...(models ? { models } : {}) });
  Object.assign(entry, { key, keyModels: models ?? null });
}

/// Brings a configuration into force, at admind and at the gate for each account there is.
async function configure({ globalAccess, apiConsent, world }) {
  const rows = ROWS.map(settingsOfRow);
  const sentinel = `sentinel-${++rounds}`;
  const endpoint = (name) => ({ input_cost_per_million: 1, endpoints: [{ id: name, url: `${stack.modelServers[0].url}/v1` }] });
  const byName = (names) => Object.fromEntries(names.map((name) => {
    const { groups, ...rules } = world.accounts[name];
    return [name, { groups, model_access: rules }];
  }));
  const ofRows = (isProject) => Object.fromEntries(ROWS.map((each, i) => [each, rows[i]])
    .filter(([each]) => Boolean(each.project) === isProject)
    .map(([each, { account }]) => [isProject ? each.name : `${each.name}@example.edu`, account]));
  stack.writeSettings({
    api: { consent: apiConsent },
    defaults: { models: { access: globalAccess }, tokens: { max: -2 } },
    groups: {
      default: { model_access: { allowed: ['row-21'] } },
      ...Object.fromEntries(GROUPS.map((name) => [name, { model_access: world.groups[name] }])),
      ...Object.assign({}, ...rows.map(({ groups }) => groups)),
    },
    users: { ...byName(PEOPLE), ...ofRows(false) },
    projects: { ...byName(PROJECTS), ...ofRows(true) },
    models: [
      ...Object.values(world.models), ...rows.map(({ model }) => model), { name: sentinel, access: A },
    ].map((model) => ({ ...model, ...endpoint(model.name) })),
  });
  await waitFor('the models to be there', async () => (await stack.sql(`select id from models where name = '${sentinel}'`)).length === 1);
  for (const isProject of [false, true]) {
    const names = isProject ? [...PROJECTS, ...ROWS.filter((r) => r.project).map((r) => r.name)]
      : [...PEOPLE, ...ROWS.filter((r) => !r.project).map((r) => r.name)];
    for (const name of names.filter((one) => !accounts.has(one))) await makeAccount(name, isProject);
  }
  for (const { watch } of accounts.values())
    await waitFor('the configuration to be in force', async () => (await ask(watch, sentinel)) === '200');
}

async function ask(key, model) {
  const answer = await stack.post('/v1/chat/completions', chatBody({ model, max_tokens: 1 }), { key });
  const text = await answer.text();
  return answer.status === 200 ? '200' : `${answer.status} ${JSON.parse(text).error.code}`;
}

/// Model → badge, as REST shows it.
async function badges({ user, project }) {
  const list = user ? (await stack.rest('GET', `/admin/users/${user}`)).models
    : await stack.rest('GET', `/projects/${project}/models?disabled=true&limit=200`);
  return new Map(list.data.map(({ model, access }) => [model, access]));
}

async function consent(entry, model, by = entry) {
  const path = entry.project && by === entry ? `/projects/${entry.project}/consents` : '/me/consents';
  const session = await sessionOf(entry.project && by === entry ? accounts.get(PEOPLE[0]) : by);
  const answer = await session.call('POST', path, { model, notice_version: 1 });
  assert.ok([200, 201].includes(answer.status), answer.text);
}

async function checkRow(each) {
  const entry = accounts.get(each.name);
  if (!entry.key) await giveKey(entry, each.keyModels);
  if (each.consent && each.badge === 'consented') await consent(entry, each.name);
  // No blocked model takes a consent any more; this one is of a time before.
  if (each.consent && each.badge === 'blocked')
    await stack.sql(`insert into consents (account_id, model_id, notice_ver) select ${entry.account}, id, 1 from models where name = '${each.name}'`);
  if (each.managersConsent) await consent(entry, each.name, accounts.get(PEOPLE[0]));
  assert.equal((await badges(entry)).get(each.name), each.badge, 'the badge');
  assert.equal(await ask(entry.key, each.name), each.v1, 'the gate');
}

async function checkWorld(world, globalAccess, apiConsent) {
  for (const name of [...PEOPLE, ...PROJECTS]) {
    const entry = accounts.get(name);
    const account = world.accounts[name];
    const groups = account.groups.map((group) => world.groups[group]);
    const shown = await badges(entry);
    if (!entry.key) {
      const visible = MODELS.filter((model) => !(shown.get(model) === 'blocked' && world.models[model].hide_when_blocked));
      const list = some(visible, 0.6);
      await giveKey(entry, random() < 0.5 && list.length > 0 ? list : null);
    }
    for (const model of Object.values(world.models)) {
      const where = `seed ${SEED}, round ${rounds}: ${name} and ${model.name}`;
      const consents = entry.consents ?? (entry.consents = new Set());
      if (shown.get(model.name) === 'need_consent' && !model.disabled && random() < 0.4) {
        await consent(entry, model.name);
        consents.add(model.name);
        shown.set(model.name, (await badges(entry)).get(model.name));
      }
      const badge = badgeOf(account, groups, model, globalAccess, consents.has(model.name));
      assert.equal(shown.get(model.name), badge, `REST, ${where}`);
      assert.equal(await ask(entry.key, model.name), servedAs(badge, model, entry.keyModels, apiConsent), `the gate, ${where}`);
    }
  }
}

const ROUNDS = [{ globalAccess: B, apiConsent: false }, { globalAccess: B, apiConsent: true }, { globalAccess: A, apiConsent: true }];
for (const { globalAccess, apiConsent } of ROUNDS) {
  const title = `global ${globalAccess}, api.consent ${apiConsent}`;
  const world = randomWorld();
  test(`the configuration is in force: ${title}`, async () => {
    await configure({ globalAccess, apiConsent, world });
    if (rounds > 1) return;
    // Row 19: a group that is there, has a member, and is turned off.
    await stack.sql("insert into groups (name, active, allowed) values ('row-19-off', false, '{row-19}') on conflict do nothing");
    await stack.sql(`insert into memberships select ${accounts.get('row-19').account}, id, 'manual' from groups where name = 'row-19-off'`);
  });
  const rows = ROWS.filter((each) => (each.global ?? B) === globalAccess && (each.apiConsent ?? true) === apiConsent);
  for (const each of rows) test(`row ${each.number} of spec/rest.md §4`, () => checkRow(each));
  test(`any account and model: REST and the gate agree with the spec's text: ${title}`, () => checkWorld(world, globalAccess, apiConsent));
}

test('P59 a notice that changes asks nobody again, until an administrator says so', async () => {
  const entry = accounts.get('row-14');
  assert.equal((await badges(entry)).get('row-14'), 'consented');
  await stack.sql("update models set notice_version = 2, ack_message = 'Be more careful.' where name = 'row-14'");
  assert.equal((await badges(entry)).get('row-14'), 'consented');
  const [{ id }] = (await stack.rest('GET', '/admin/models?q=row-14')).data;
  await stack.rest('POST', `/admin/models/${id}/ask-again`);
  assert.equal((await badges(entry)).get('row-14'), 'need_consent');
  await waitFor('the gate to ask again', async () => (await ask(entry.key, 'row-14')) === '403 model_consent_required');
});

test('an answer that openapi.json does not list is a finding of the stack: status, field and type', async () => {
  const contract = new Contract(stack.url);
  const answer = await stack.operator.call('GET', '/admin/groups/default');
  const checked = async (change) => {
    contract.findings.length = 0;
    await contract.check('GET', '/api/v1/admin/groups/default', { ...answer, ...change });
    return contract.findings.join();
  };
  assert.equal(await checked({}), '');
  assert.match(await checked({ body: { ...answer.body, made_up: 1 } }), /body must NOT have additional properties made_up/);
  assert.match(await checked({ body: { ...answer.body, name: 7 } }), /body\/name must be string/);
  const { name, ...nameless } = answer.body;
  assert.match(await checked({ body: nameless }), /body must have required property 'name'/, `it has one: ${name}`);
  assert.match(await checked({ status: 418 }), /answers 418, unlisted/);
});
