// The installation secret is changed while clients go on, step by step as docs/security.md has it: no request is refused, keys
// that are used move to the new secret, credentials and signatures too; then the old one is dropped.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { waitFor, writeServerFile } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { BrowserSession } from './browser_session.mjs';
import { bookedAsTold, underLoad } from './steady_load.mjs';
import { chatBody } from './traffic.mjs';

const CREDENTIAL = 'what-the-model-server-wants-to-see';
const PASSWORD = 'only-the-gate-knows-this';

let stack;
let second;        // another gate, which is reloaded later
let secretLine;    // of nginx.conf; undefined: as shipped
let passwordFile;
let guarded;       // a model server that answers only who has the credential
const files = {};

before(async () => {
  guarded = http.createServer((request, response) => {
    const known = request.headers.authorization === `Bearer ${CREDENTIAL}`;
    request.resume().on('end', () => response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify({
      id: 'x', object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    })));
  });
  await new Promise((resolve) => guarded.listen(0, '127.0.0.1', resolve));
  stack = await startStack({
    name: 'secret-rotation',
    nginx: (file, conf) => (secretLine ? conf.replace(/lumen_secret_file [^;]+;/, secretLine)
      .replace(/lumen_redis unix:[^\s;]+/, (line) => `${line} user=lumen-gate password_file=${passwordFile}`) : conf),
    models: ([server]) => [
      { name: 'demo', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'one', url: `${server}/v1` }] },
      { name: 'guarded', access: 'allowed', output_cost_per_million: 1, endpoints: [{ id: 'two', url: `http://127.0.0.1:${guarded.address().port}/v1`, api_key: CREDENTIAL }] },
    ],
    settings: { api: { monitoring: { token: 'a-monitoring-token' } } },
  });
  files.old = path.join(stack.instance.stateDir, 'installation.secret');
  files.fresh = path.join(stack.instance.stateDir, 'installation.secret.new');
  files.freshSecret = randomBytes(32).toString('hex');
  writeServerFile(files.fresh, `${files.freshSecret}\n`, 0o600);
  // The gate as packaged installations have it: with no more rights in Redis than it needs.
  passwordFile = path.join(stack.dir, 'gate.password');
  writeServerFile(passwordFile, `${PASSWORD}\n`);
  await stack.redis('ACL', 'SETUSER', 'lumen-gate', 'on', `>${PASSWORD}`);
  await gateKnows(`lumen_secret_file ${files.old};`);
  second = await stack.addGate();
});
after(async () => {
  await stack?.stop();
  guarded?.closeAllConnections();
  guarded?.close();
});

async function gateKnows(line) {
  secretLine = line;
  stack.instance.nginx.prepare();
  await stack.reload();
}
async function secondGateToo() {
  const before = new Set(second.workers());
  second.prepare();
  second.kill('SIGHUP');
  await waitFor('the second gate to have new workers', () => second.workers().length > 0 && second.workers().every((pid) => !before.has(pid)));
}
async function admindKnows(current, previous) {
  Object.assign(stack.instance, { installationSecret: current, previousSecret: previous });
  const admind = stack.server('admind');
  admind.env = { ...admind.env, ...stack.instance.admindEnvironment() };
  await stack.restart('admind');
}
/// Status of a call on a connection of its own: one kept idle may be closed by a reload just as it is used.
async function statusOf(url, key, body) {
  const headers = { authorization: `Bearer ${key}`, connection: 'close', ...(body && { 'content-type': 'application/json' }) };
  const answer = await fetch(url, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
  await answer.arrayBuffer();
  return answer.status;
}
const chat = (key, model = 'demo', gate = stack.url) => statusOf(`${gate}/v1/chat/completions`, key, chatBody({ model }));
const sealed = async () => (await stack.sql("select credential from endpoints where name = 'two'"))[0].credential;
const secretIdOf = async (keyId) => (await stack.sql("select secret_id from api_keys where id = :'id'", { id: keyId }))[0].secret_id;
/// `lumen-admind secret`: what it says.
function leftBehind() {
  try {
    return { code: 0, text: stack.server('admind').run('secret') };
  } catch (error) {
    return { code: 1, text: error.message };
  }
}
/// What must work at every step, for a key whichever secret its hash is under.
async function everythingWorks(key) {
  for (const gate of [stack.url, second.url]) {
    assert.equal(await chat(key, 'demo', gate), 200, 'a call');
    assert.equal(await chat(key, 'guarded', gate), 200, 'a model server that wants its credential');
    assert.equal(await statusOf(`${gate}/v1/key`, key), 200, 'what the gate signs for admind');
    assert.equal(await statusOf(`${gate}/v1/models`, 'a-monitoring-token'), 200, 'the monitoring token');
  }
  assert.ok((await stack.rest('GET', '/admin/users')).data.length > 0, 'the operator token');
}

test('the secret changes under load: nothing is refused, what is used moves, and the old one can go', async () => {
  const { old, fresh, freshSecret } = files;
  const oldSecret = stack.instance.installationSecret;
  const [used, unused, forgotten] = [await stack.newAccount(), await stack.newAccount(), await stack.newAccount({ email: 'ada@example.edu' })];
  const before = { sealed: await sealed(), id: await secretIdOf(used.keyId) };
  const person = await BrowserSession.ofDevUser(stack);
  const dialog = (path, body) => person.call('POST', path, body, { connection: 'close' });
  let late;
  const heard = await underLoad(stack, async () => {
    await everythingWorks(used.key);
    // 1. Every gate takes both, one after the other.
    await gateKnows(`lumen_secret_file ${fresh} previous=${old};`);
    await everythingWorks(used.key);
    await secondGateToo();
    await everythingWorks(used.key);
    await waitFor('the gates to say what they know', () => new RegExp(`^gate \\S+ knows [0-9a-f]{16} ${before.id}$`, 'm').test(leftBehind().text));
    const { body: draft } = await dialog('/me/keys/draft');
    // 2. admind makes everything new under the new one.
    await admindKnows(freshSecret, oldSecret);
    const saved = await dialog('/me/keys', { draft_id: draft.draft_id, name: 'saved across' });
    assert.equal(saved.status, 201, 'a key whose dialog was open meanwhile, by somebody who stays signed in');
    await everythingWorks(draft.key);
    await everythingWorks(used.key);
    late = await stack.newAccount();
    for (const { key } of [late, stack]) await everythingWorks(key);
    assert.notEqual(await secretIdOf(late.keyId), before.id);
    // 3. What is used moves; what is not is named.
    await waitFor('the used keys to move', async () => (await secretIdOf(used.keyId)) !== before.id);
    await waitFor('all but two keys to move', () => /: 2 keys, 0 operator tokens/.test(leftBehind().text));
    const { code, text } = leftBehind();
    assert.equal(code, 1);
    for (const { keyId } of [unused, forgotten]) assert.match(text, new RegExp(`^key ${keyId} .*last used never$`, 'm'));
    assert.notEqual(await sealed(), before.sealed);
    assert.equal(await chat(unused.key), 200, 'what was not used works as well, until the old secret goes');
    await waitFor('it to move', () => /: 1 keys, 0 operator tokens/.test(leftBehind().text));
    // 4. The old one goes, at the gates, one after the other, and then at admind.
    await gateKnows(`lumen_secret_file ${fresh};`);
    await everythingWorks(used.key);
    await secondGateToo();
    await everythingWorks(used.key);
    await admindKnows(freshSecret, '');
    for (const { key } of [used, unused, late, draft]) await everythingWorks(key);
  }, { clients: 4, restMs: 20 });
  assert.deepEqual({ refused: heard.refused, failures: heard.failures }, { refused: {}, failures: [] });
  assert.ok(heard.answers > 20, `${heard.answers} answers`);
  await bookedAsTold(stack, heard);
  assert.doesNotMatch(stack.log('nginx-error'), /catalogue refused/);
  assert.deepEqual((await stack.redis('ACL', 'LOG')).map((entry) => entry.join(' ')), []);
  assert.equal(await chat(forgotten.key), 401, 'what never moved is over, as was said');
  // What Redis knows of the moved ones is what the book knows.
  await stack.redis('FLUSHALL');
  for (const { key } of [used, unused, stack]) {
    let status;
    await waitFor('its bucket to be rebuilt', async () => (status = await chat(key)) !== 503);
    assert.equal(status, 200);
  }
  await stack.operator.deleteKey(forgotten.account, forgotten.keyId);
  assert.equal(leftBehind().code, 0, 'nothing is left');
});
