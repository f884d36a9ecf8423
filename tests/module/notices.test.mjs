// A wallet that runs low, or out, is told of: to open pages, by a signed webhook and by mail, once for each crossing and to
// whoever asked for it; and what else open pages are told: another announcement, and rights that changed (E4).
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { LivePage, signIn } from './live_page.mjs';
import { makeCertificate, readMail, SmtpServer } from './smtp_server.mjs';
import { chatBody } from './traffic.mjs';

const SECRET = Buffer.from('a secret of the webhook, long enough');
const NAME = 'Zoë "Å" <eve@evil.org>, Bcc: x';
const USERS = { lumen: 'a password of the mail server' };

let stack;
let hooks;        // of the site: an HTTP server that keeps what it got
let smtp;
let people = 0;

/// Takes POSTs; `respond(hook)` may say another status, or undefined for 204, or 'hang'.
async function hookServer() {
  const server = { hooks: [], respond: () => undefined };
  server.listener = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      const hook = { headers: request.headers, body, ...JSON.parse(body) };
      server.hooks.push(hook);
      const status = server.respond(hook) ?? 204;
      if (status !== 'hang') response.writeHead(status).end();
    });
  });
  await new Promise((resolve) => server.listener.listen(0, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${server.listener.address().port}/in`;
  server.of = (person) => server.hooks.filter(({ data }) => data.user.id === String(person.user));
  server.close = () => { server.listener.closeAllConnections(); server.listener.close(); };
  return server;
}

const mailSettings = (over = {}) => ({ host: '127.0.0.1', port: smtp.port, security: 'none', from: 'lumen@example.edu', ...over });
const mailsOf = (person, list = smtp.mails) => list.filter(({ to }) => to.includes(person.email));

before(async () => {
  hooks = await hookServer();
  smtp = await SmtpServer.start();
  stack = await startStack({
    name: 'notices',
    models: ([server]) => [{ name: 'demo', access: 'allowed', output_cost_per_million: 100_000, endpoints: [{ id: 'one', url: `${server}/v1` }] }],
    settings: {
      api: { prometheus: { enabled: true, token: 'metrics' } },
      notices: { webhook: { url: hooks.url, secret: `whsec_${SECRET.toString('base64')}` }, mail: mailSettings() },
    },
  });
});
after(async () => {
  await stack?.stop();
  hooks?.close();
  smtp?.close();
});

/// Somebody with 5 coins and a session, who wants these notices.
async function newPerson(notices = { mail: true, webhook: true }, name = 'A Person') {
  const email = `reader-${++people}@example.edu`;
  const person = await stack.operator.createUser({ email, name, limits: { max: '5', refresh: '0', starting: '5', mode: 'soft' }, keyName: 'one' });
  const cookie = await signIn(stack, person);
  const answer = await patchMe(cookie, { notices });
  assert.equal(answer.status, 200, await answer.clone().text());
  return { ...person, email, cookie };
}
const patchMe = (cookie, body) => fetch(`${stack.url}/api/v1/me`, {
  method: 'PATCH', body: JSON.stringify(body),
  headers: { cookie: `lumen_session=${cookie}`, origin: stack.url, 'content-type': 'application/json' },
});
/// Moves the balance by this many coins.
const move = (person, coins) => stack.rest('POST', `/admin/accounts/${person.account}/grants`, { coins, reason: 'a test' });
const deliveries = (person) => stack.sql(
  "select d.channel, d.state, d.attempts::text, d.error, n.kind from notice_deliveries d join notices n on n.id = d.notice_id where d.user_id = :'user' order by n.seq, d.channel",
  { user: person.user });
const allDone = (person, count) => waitFor('the deliveries', async () => {
  const rows = await deliveries(person);
  return rows.length === count && rows.every(({ state }) => state !== 'pending') && rows;
});
/// What failed is tried again now, and not in 5 s.
const hurry = (person) => waitFor('a failed attempt', async () => (await stack.sql(
  "update notice_deliveries set next_at = now() where user_id = :'user' and state = 'pending' and error <> '' returning id", { user: person.user })).length > 0);
const metric = async (name) => {
  const text = await (await fetch(`${stack.server('admind').url}/metrics`, { headers: { authorization: 'Bearer metrics' } })).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
};

function verify({ headers, body }) {
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', SECRET).update(signed).digest('base64')}`);
  assert.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000) < 300);
}

test('a charge that crosses a threshold is told once: to open pages, by webhook and by mail', async () => {
  const person = await newPerson(undefined, NAME);
  const page = await LivePage.open(stack.url, { cookie: person.cookie });
  await page.next('balance');
  await move(person, '-3.9');  // 1.1 left, low is 1
  const answer = await stack.post('/v1/chat/completions', chatBody({ max_tokens: 2 }), { key: person.key });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { balance } = await waitFor('the charge', async () => {
    const wallet = await stack.wallet(person.account);
    return wallet.balance <= 1_000_000_000n && wallet;
  });
  await allDone(person, 2);
  const [hook] = hooks.of(person);
  verify(hook);
  assert.equal(hook.type, 'wallet.low_balance');
  assert.equal(hook.id, hook.headers['webhook-id']);
  assert.deepEqual(hook.data.account, { id: String(person.account), type: 'user', name: null });
  assert.deepEqual(hook.data.user, { id: String(person.user), name: NAME, email: person.email });
  assert.deepEqual([hook.data.balance.nano, hook.data.limit.nano], [String(balance), '5000000000']);

  const [mail] = mailsOf(person);
  assert.deepEqual([mail.from, mail.to], ['lumen@example.edu', [person.email]]);
  const { headers, body } = readMail(mail);
  assert.deepEqual(Object.keys(headers).sort(), ['auto-submitted', 'content-transfer-encoding', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to']);
  assert.equal(headers.to, `${NAME} <${person.email}>`);
  assert.equal(headers.from, 'Lumen <lumen@example.edu>');
  assert.equal(headers.subject, 'Lumen: few coins left');
  assert.match(headers['message-id'], /^<[0-9a-f-]{36}@127\.0\.0\.1>$/);
  assert.match(body, new RegExp(`Hello Zoë.*${stack.url}/profile`, 's'));
  const { data: notice } = await page.next('notice');
  assert.equal(notice.notice, 'low_balance');
  assert.equal(notice.balance.nano, String(balance));

  // Further down is no other crossing; zero is one, and so is low after a rise.
  await move(person, '-0.01');
  await move(person, '-2');
  await page.next('notice', ({ notice: kind }) => kind === 'exhausted');
  await move(person, '4');
  await move(person, '-2');
  const rows = await allDone(person, 6);
  assert.deepEqual(rows.map(({ channel, kind, state }) => `${kind} ${channel} ${state}`),
    ['low_balance', 'exhausted', 'low_balance'].flatMap((kind) => [`${kind} mail sent`, `${kind} webhook sent`]));
  assert.equal(hooks.of(person).length, 3);
  assert.equal(mailsOf(person).length, 3);
  await page.next('notice', ({ notice: kind, id }) => kind === 'low_balance' && id !== notice.id);
  page.close();
});

test('who did not ask hears nothing, and who stops asking hears no more', async () => {
  const [silent, leaving] = [await newPerson({ mail: false }), await newPerson({ mail: true, webhook: true })];
  hooks.respond = ({ data }) => (data.user.id === String(leaving.user) ? 500 : undefined);
  for (const person of [silent, leaving]) await move(person, '-4.5');
  await waitFor('the first attempt', () => hooks.of(leaving).length > 0);
  await patchMe(leaving.cookie, { notices: { webhook: false } });
  hooks.respond = () => undefined;
  await hurry(leaving);
  const rows = await allDone(leaving, 2);
  assert.deepEqual(rows.map(({ channel, state }) => `${channel} ${state}`), ['mail sent', 'webhook dropped']);
  assert.equal((await stack.sql("select kind from notices where account_id = :'account'", { account: silent.account })).length, 1, 'the crossing is noted');
  assert.deepEqual(await deliveries(silent), []);
});

test('a receiver that fails is asked again under the same id, a mail server too; a refused mail is dead and counted', async () => {
  const person = await newPerson();
  const unknown = await newPerson({ mail: true });
  let failures = 0;
  hooks.respond = () => (failures++ === 0 ? 503 : undefined);
  smtp.answer = ({ to }) => {
    if (to.includes(unknown.email)) return '550 no such user';
    return mailsOf(person, smtp.attempts).length === 1 ? '451 later' : undefined;
  };
  for (const one of [person, unknown]) await move(one, '-4.5');
  assert.deepEqual((await allDone(person, 2)).map(({ state, attempts }) => [state, attempts]), [['sent', '2'], ['sent', '2']]);
  const [first, second] = hooks.of(person);
  verify(second);
  assert.equal(second.headers['webhook-id'], first.headers['webhook-id']);
  const ids = mailsOf(person, smtp.attempts).map((mail) => readMail(mail).headers['message-id']);
  assert.deepEqual([ids.length, ids[0]], [2, ids[1]]);
  const [dead] = await allDone(unknown, 1);
  assert.deepEqual([dead.state, dead.attempts], ['dead', '1']);
  assert.match(dead.error, /550/);
  await waitFor('the metric', async () => (await metric('lumen_notices_dead')) === 1);
  assert.ok((await metric('lumen_notice_failures_total')) >= 3);
  assert.ok((await metric('lumen_notices_sent_total{channel="mail"}')) >= 1);
  hooks.respond = () => undefined;
  smtp.answer = undefined;
});

test('mail goes by STARTTLS with a name and a password; without TLS nothing is sent, and no password', async () => {
  const certificate = makeCertificate(stack.dir);
  const secure = await SmtpServer.start({ certificate, users: USERS });
  const bare = await SmtpServer.start({ users: USERS });
  const server = (port) => ({ notices: { mail: mailSettings({ host: 'localhost', port, security: 'starttls', username: 'lumen', password: USERS.lumen, ca_file: certificate.certFile }) } });
  const first = await newPerson({ mail: true });
  stack.writeSettings(server(bare.port));
  await waitFor('the settings to be taken', () => /settings were read anew/.test(stack.log('admind')));
  await move(first, '-4.5');
  const failed = await waitFor('an attempt', async () => (await deliveries(first)).find(({ error }) => error !== ''));
  assert.match(failed.error, /ssl|tls/i);
  assert.deepEqual(bare.attempts, []);
  const readAnew = () => stack.log('admind').split('settings were read anew').length;
  const readings = readAnew();
  stack.writeSettings(server(secure.port));
  await waitFor('these to be taken', () => readAnew() > readings);
  await hurry(first);
  await allDone(first, 1);
  const [mail] = secure.mails;
  assert.deepEqual([mail.secure, mail.user, mail.to], [true, 'lumen', [first.email]]);
  for (const each of [secure, bare]) each.close();
  stack.writeSettings({});
});

test('an admind that dies while it delivers: the next leader repeats it under the same id', async () => {
  const person = await newPerson({ webhook: true });
  await stack.addAdmind();
  hooks.respond = () => (hooks.of(person).length === 1 ? 'hang' : undefined);
  await move(person, '-4.5');
  await waitFor('the first attempt', () => hooks.of(person).length === 1);
  await stack.kill('admind');
  const [row] = await allDone(person, 1);
  assert.equal(row.state, 'sent');
  const [first, second] = hooks.of(person);
  verify(second);
  assert.equal(second.headers['webhook-id'], first.headers['webhook-id']);
  hooks.respond = () => undefined;
  await stack.start('admind');
});

test('E4 who becomes an administrator, or is none any more, gets a new stream; others keep theirs, and a new announcement comes to all', async () => {
  const [person, other] = [await newPerson({}), await newPerson({})];
  const open = async ({ cookie }) => {
    const page = await LivePage.open(stack.url, { cookie });
    await page.next('balance');
    return page;
  };
  const [page, others] = [await open(person), await open(other)];
  stack.writeSettings({ admins: ['ada@example.edu', person.email], app: { announcement: 'Maintenance <b>tonight</b>' } });
  await page.untilEnded();
  assert.ok(page.ended, 'ended properly');
  const again = await open(person);
  assert.equal((await others.next('notice')).data.announcement, 'Maintenance <b>tonight</b>');
  stack.writeSettings({});
  await again.untilEnded();
  assert.equal((await others.next('notice', ({ announcement }) => announcement === '')).data.announcement, '');
  assert.ok(!others.ended);
  others.close();
});

const REFUSED = [
  ['a word', { notices: { mail: 'yes' } }, 'notices.mail'],
  ['an unknown way', { notices: { pigeon: true } }, 'notices.pigeon'],
  ['a list', { notices: [] }, 'notices'],
];
for (const [name, body, path] of REFUSED) {
  test(`PATCH /me with ${name} for notices: 422, and the field is named`, async () => {
    const { cookie } = await newPerson({});
    const answer = await patchMe(cookie, body);
    assert.equal(answer.status, 422);
    assert.equal((await answer.json()).errors[0].path, path);
  });
}
