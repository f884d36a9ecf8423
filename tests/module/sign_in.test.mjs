// Signing in by an identity provider, a real one: who a person is, what each wrong answer leads to, groups by claims,
// and sessions (spec/rest.md §1, §2, §5; spec/ui.md B20–B22).
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { Browser, CLIENT, startProvider } from './identity_provider.mjs';

let stack;
let provider;
let browser;
let settings;

before(async () => {
  stack = await startStack({ name: 'sign_in' });
  provider = await startProvider(`${stack.url}/callback`);
  settings = {
    oauth2: {
      client_id: CLIENT.id, client_secret: CLIENT.secret, server_metadata_url: provider.metadataUrl,
      redirect_uri: `${stack.url}/callback`, scopes: 'openid email profile', params: { prompt: 'login', state: 'ours to set' },
    },
    admins: ['ada@example.edu'],
    groups: {
      default: { max: 2 },
      staff: { rules: [{ field: 'affiliation', contains: 'staff@' }], max: 20 },
      unit: { rules: [{ field: 'org.unit', equals: 'NCSA' }, { field: 'member_of', contains: 'cn=lab' }] },
      by_hand: {},
    },
  };
  await reload({});
  await waitFor('the groups to be in the book', async () => (await stack.sql("select id from groups where name = 'by_hand'")).length === 1);
});
after(async () => {
  await provider?.close();
  await stack?.stop();
});
beforeEach(() => {
  browser = new Browser();
  Object.assign(provider, { refuses: false, spoil: null });
});

/// Changes lumen.yaml and waits until it is in force.
async function reload(change) {
  Object.assign(settings, change);
  const mark = `the state of ${Date.now()}.${Math.random()}`;
  stack.writeSettings({ ...settings, app: { tagline: mark } });
  await waitFor('the settings to be in force', async () => (await (await fetch(`${stack.url}/api/v1/site`)).json()).tagline === mark);
}

/// The provider's answer, on its way back to us.
async function toCallback(subject, claims, next = '') {
  provider.people[subject] = claims;
  provider.person = subject;
  browser.forget(provider.issuer);
  return browser.walk(`${stack.url}/api/v1/login${next && `?next=${encodeURIComponent(next)}`}`, `${stack.url}/callback`);
}

async function signIn(subject, claims, next) {
  const answer = await browser.get(await toCallback(subject, claims, next));
  assert.equal(answer.status, 302, await answer.text());
  return answer;
}

const api = async (path) => (await browser.get(`${stack.url}/api/v1${path}`)).json();

/// "status code" of a refused sign-in; nobody is signed in by it.
async function refusal(answer) {
  const text = await answer.text();
  assert.match(answer.headers.get('content-type'), /^application\/problem\+json/, text);
  assert.equal((await api('/session')).user, null);
  return `${answer.status} ${JSON.parse(text).code}`;
}

const groups = async (account) => (await stack.rest('GET', `/admin/accounts/${account}`)).groups.map(({ name, via }) => `${name}:${via}`);
const accountOf = async (email) => (await stack.rest('GET', `/admin/users?q=${email}`)).data[0].account;

// ---- in and out

test('a person signs in with claims that only UserInfo has, and comes to the page that was asked for', async () => {
  const answer = await signIn('ada', { email: 'Ada@Example.edu', email_verified: true, name: 'Ada Lovelace' }, '/models?q=a');
  assert.equal(answer.headers.get('location'), '/models?q=a');
  const cookie = answer.headers.getSetCookie().find((line) => line.startsWith('lumen_session='));
  assert.match(cookie, /; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/, 'http only because app.debug allows it');
  const session = await api('/session');
  assert.deepEqual([session.user.email, session.user.name, session.is_admin], ['ada@example.edu', 'Ada Lovelace', true]);
  assert.equal((await api('/me')).budget.state, 'limited', 'a budget from the group of everybody');
});

test('ES256 and claims in the ID token do as well', async () => {
  provider.useNewKeys('ES256', { claimsInIdToken: true });
  await signIn('eve', { email: 'eve@example.edu', name: 'Eve' });
  assert.equal((await api('/session')).user.name, 'Eve');
  provider.useNewKeys('RS256');
});

test('the provider may change its keys at any time', async () => {
  await signIn('ada', { email: 'ada@example.edu', name: 'Ada' });
  provider.useNewKeys('RS256');
  await signIn('ada', { email: 'ada@example.edu', name: 'Ada again' });
  assert.equal((await api('/session')).user.name, 'Ada again');
});

test('the question to the provider carries state, nonce, PKCE, scopes and params, and never the verifier', async () => {
  const answer = await browser.get(`${stack.url}/api/v1/login`);
  const { searchParams } = new URL(answer.headers.get('location'));
  assert.equal(answer.status, 302);
  const asked = Object.fromEntries(searchParams);
  assert.deepEqual({ ...asked, state: null, nonce: null, code_challenge: null }, {
    response_type: 'code', client_id: CLIENT.id, redirect_uri: `${stack.url}/callback`, scope: 'openid email profile',
    state: null, nonce: null, code_challenge: null, code_challenge_method: 'S256', prompt: 'login',
  });
  for (const name of ['state', 'nonce']) assert.match(asked[name], /^[0-9a-f]{64}$/);
  assert.match(asked.code_challenge, /^[\w-]{43}$/);
  assert.match(answer.headers.getSetCookie()[0], /^lumen_login=[0-9a-f]{64}; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/);
});

test('next leads to no other site', async () => {
  for (const elsewhere of ['https://evil.example', '//evil.example', '/\\evil.example', 'profile']) {
    const answer = await signIn('ada', { email: 'ada@example.edu' }, elsewhere);
    assert.equal(answer.headers.get('location'), '/profile', elsewhere);
  }
});

test('the same person with another address stays the same person; another one with that address too', async () => {
  await signIn('moves', { email: 'before@example.edu', name: 'Moves' });
  const { user } = await api('/session');
  await signIn('moves', { email: 'after@example.edu', name: 'Moves' });
  assert.deepEqual((await api('/session')).user, { ...user, email: 'after@example.edu' });
  await signIn('moves-too', { email: 'after@example.edu', name: 'Moves' });
  assert.equal((await api('/session')).user.id, user.id, 'a second identity of one address is linked');
});

test('B22 sessions end by sign-out, one by one, and by deactivation, all at once', async () => {
  const [first, second] = [new Browser(), new Browser()];
  for (browser of [first, second]) await signIn('lea', { email: 'lea@example.edu', name: 'Lea' });
  const stolen = first.cookies(stack.url).get('lumen_session');
  const me = async (who) => (await who.get(`${stack.url}/api/v1/me`)).status;
  assert.deepEqual([await me(first), await me(second)], [200, 200]);
  const out = await first.get(`${stack.url}/api/v1/logout`, { method: 'POST', headers: { origin: stack.url } });
  assert.deepEqual([out.status, out.headers.get('location'), await me(first), await me(second)], [303, '/', 401, 200]);
  assert.equal((await fetch(`${stack.url}/api/v1/me`, { headers: { cookie: `lumen_session=${stolen}` } })).status, 401, 'a copied cookie ended with it');
  const { data: [lea] } = await stack.rest('GET', '/admin/users?q=lea@example.edu');
  await stack.rest('PATCH', `/admin/users/${lea.id}`, { active: false }, { 'if-match': '*' });
  assert.equal(await me(second), 401);
  browser = second;
  assert.equal(await refusal(await second.get(await toCallback('lea', { email: 'lea@example.edu' }))), '403 account_disabled');
});

test('signing in again gives a new session and ends the one before', async () => {
  await signIn('ada', { email: 'ada@example.edu' });
  const before = browser.cookies(stack.url).get('lumen_session');
  await signIn('ada', { email: 'ada@example.edu' });
  assert.notEqual(browser.cookies(stack.url).get('lumen_session'), before);
  assert.equal((await fetch(`${stack.url}/api/v1/me`, { headers: { cookie: `lumen_session=${before}` } })).status, 401);
});

// ---- what goes wrong

const ROWS = [
  { name: 'an answer brought to another browser', code: '400 oidc_state_mismatch', go: async () => new Browser().get(await toCallback('ada', { email: 'ada@example.edu' })) },
  {
    name: 'an answer used a second time', code: '400 oidc_state_mismatch',
    go: async () => {
      const url = await toCallback('ada', { email: 'ada@example.edu' });
      await browser.get(url);
      await browser.get(`${stack.url}/api/v1/logout`, { method: 'POST', headers: { origin: stack.url } });
      return browser.get(url);
    },
  },
  {
    name: 'a state that nobody asked with', code: '400 oidc_state_mismatch',
    go: async () => browser.get((await toCallback('ada', { email: 'ada@example.edu' })).replace(/state=[0-9a-f]{8}/, 'state=00000000')),
  },
  { name: 'no state at all', code: '400 oidc_state_mismatch', go: () => browser.get(`${stack.url}/callback?code=x`) },
  {
    name: 'an answer of another issuer', code: '400 oidc_state_mismatch',
    go: async () => browser.get((await toCallback('ada', { email: 'ada@example.edu' })).replace(/iss=[^&]*/, 'iss=https%3A%2F%2Fevil.example')),
  },
  { name: 'no address', code: '400 email_missing', go: async () => browser.get(await toCallback('nameless', { name: 'No Address' })) },
  { name: 'an address that is not verified', code: '403 email_unverified', go: async () => browser.get(await toCallback('claims', { email: 'ada@example.edu', email_verified: false })) },
  {
    name: 'a person who refuses at the provider', code: '502 oidc_provider_error',
    go: async () => {
      provider.refuses = true;
      return browser.get(await toCallback('ada', { email: 'ada@example.edu' }));
    },
  },
  {
    name: 'a code that is not the provider\'s', code: '502 oidc_provider_error',
    go: async () => browser.get((await toCallback('ada', { email: 'ada@example.edu' })).replace(/code=[^&]*/, 'code=made-up')),
  },
];
for (const { name, code, go } of ROWS) test(`refused: ${name}`, async () => { assert.equal(await refusal(await go()), code); });

const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
const parts = (token) => token.split('.').map((text, i) => (i < 2 ? JSON.parse(Buffer.from(text, 'base64url')) : text));

// What can be told from inside one process is in web_oidc_test.cpp, row by row; here, that each door is shut.
let tokenOfBefore;
const FORGERIES = {
  'claims changed after signing': (body) => {
    const [header, claims, signature] = parts(body.id_token);
    return { ...body, id_token: `${part(header)}.${part({ ...claims, exp: claims.exp + 3600 })}.${signature}` };
  },
  'alg none': (body) => ({ ...body, id_token: `${part({ alg: 'none' })}.${part(parts(body.id_token)[1])}.` }),
  'the token of an earlier sign-in (nonce)': (body) => ({ ...body, id_token: tokenOfBefore }),
  'no ID token': (body) => ({ ...body, id_token: undefined }),
  'UserInfo of another subject': (body, path) => (path === '/me' ? { ...body, sub: 'somebody-else' } : body),
};
for (const [name, spoil] of Object.entries(FORGERIES)) {
  test(`refused: ${name}`, async () => {
    provider.spoil = (path, body) => {
      if (path === '/token') tokenOfBefore = body.id_token;
      return body;
    };
    await signIn('ada', { email: 'ada@example.edu' });
    browser = new Browser();
    const url = await toCallback('ada', { email: 'ada@example.edu' });
    provider.spoil = (path, body) => (path === '/token' || name.startsWith('UserInfo') ? spoil(body, path) : body);
    assert.equal(await refusal(await browser.get(url)), '502 oidc_provider_error');
    assert.ok(!/eyJ|made-up/.test(stack.log('admind')), 'no token is in the log');
  });
}

test('an address that is not verified will do where the site says so', async () => {
  await reload({ oauth2: { ...settings.oauth2, allow_unverified_email: true } });
  await signIn('unverified', { email: 'unverified@example.edu', email_verified: false });
  await reload({ oauth2: { ...settings.oauth2, allow_unverified_email: false } });
});

// ---- groups by claims (spec/rest.md §5)

test('claims make members, other claims end it; what an administrator gave stays', async () => {
  await signIn('grace', { email: 'grace@example.edu', affiliation: 'staff@illinois.edu', org: { unit: 'NCSA' }, member_of: ['cn=all', 'cn=lab'] });
  const account = await accountOf('grace@example.edu');
  assert.deepEqual(await groups(account), ['default:config', 'staff:rule', 'unit:rule']);
  assert.equal((await api('/me')).budget.limit.coins, '20');
  await stack.sql(`insert into memberships select ${account}, id, 'manual' from groups where name = 'by_hand'`);
  await signIn('grace', { email: 'grace@example.edu', affiliation: 'alum@illinois.edu', org: { unit: 'NCSA' }, member_of: ['cn=lab-guests'] });
  assert.deepEqual(await groups(account), ['by_hand:manual', 'default:config']);
  assert.equal((await api('/me')).budget.limit.coins, '2');
});

test('rules that change are applied to the claims of the last sign-in', async () => {
  await signIn('grace', { email: 'grace@example.edu', affiliation: 'alum@illinois.edu' });
  const account = await accountOf('grace@example.edu');
  const before = settings.groups;
  await reload({ groups: { ...before, staff: { ...before.staff, rules: [{ field: 'affiliation', contains: 'alum@' }] } } });
  await waitFor('the new rule to count', async () => (await groups(account)).includes('staff:rule') && (await api('/me')).budget.limit.coins === '20');
  await reload({ groups: before });
  await waitFor('the old rule to count again', async () => !(await groups(account)).includes('staff:rule') && (await api('/me')).budget.limit.coins === '2');
});

// ---- last, as they leave the provider or the limit behind

test('a provider that is away: 502, and signed-in people notice nothing', async () => {
  const signedIn = browser;
  await signIn('ada', { email: 'ada@example.edu' });
  browser = new Browser();
  const url = await toCallback('ada', { email: 'ada@example.edu' });
  await provider.close();
  assert.equal(await refusal(await browser.get(url)), '502 oidc_provider_error');
  assert.equal((await signedIn.get(`${stack.url}/api/v1/me`)).status, 200);
  await provider.listen();
});

test('rate_limiting.login holds for each client address', async () => {
  await reload({ rate_limiting: { limit: '10000000 per minute', login: '3 per hour' } });
  const statuses = [];
  for (let i = 0; i < 5; i++) statuses.push((await browser.get(`${stack.url}/api/v1/login`)).status);
  const last = await browser.get(`${stack.url}/api/v1/login`);
  assert.equal(last.status, 429);
  assert.equal((await last.json()).code, 'rate_limited');
  assert.ok(Number(last.headers.get('retry-after')) > 0);
  assert.ok(statuses.every((status) => [302, 429].includes(status)) && statuses.includes(429));
});
