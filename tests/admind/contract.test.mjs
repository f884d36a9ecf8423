// openapi.json is true: schemathesis makes up requests for every operation, and no answer may be a 5xx or unlisted.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout } from '../harness/machine.mjs';
import { pythonWith } from '../harness/python_packages.mjs';
import { startStack } from '../harness/stack.mjs';

const REQUIREMENTS = path.join(checkout, 'tests/admind/requirements.txt');
const SECONDS_A_RUN = 18;
const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_schema_conformance'];

let stack;
let address;
let schemathesis;

before(async () => {
  schemathesis = path.join(pythonWith(REQUIREMENTS, 'contract'), 'schemathesis');
  stack = await startStack({ name: 'contract', settings: { groups: { staff: { max: 5 } }, api: { prometheus: { enabled: true, token: 'metrics' } } } });
  address = stack.instance.admind.url;
  await stack.newAccount();
});
after(() => stack?.stop());

/// One worker: two at once meet a fault of Python 3.11's parser ("AST constructor recursion depth mismatch").
/// The run's closing lines, and whether it found nothing.
function run(headers, ...options) {
  const args = ['run', `${address}/api/openapi.json`, '--url', address, '--checks', CHECKS.join(','), '--phases', 'coverage,fuzzing',
    '--max-examples', '6', '--no-shrink', '--seed', '1', '--workers', '1', '--request-timeout', '20', '--max-time', String(SECONDS_A_RUN),
    '--suppress-health-check', 'all', '--generation-database', 'none', '--no-color', '--warnings', 'off',
    // The gate's own, and without an end: tests/module/live.test.mjs.
    '--exclude-path', '/api/v1/me/events',
    // What it answers depends on a server outside: its 502 is listed.
    '--exclude-path', '/api/v1/readmes/{name}',
    ...headers.flatMap((header) => ['-H', header]), ...options];
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(schemathesis, args, { cwd: stack.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (text) => { output += text; });
    child.stderr.on('data', (text) => { output += text; });
    child.on('close', (code) => resolve({ code, output }));
  });
}

test('an operator gets only what the contract lists', async () => {
  const { code, output } = await run([`Authorization: Bearer ${stack.operator.token}`]);
  assert.equal(code, 0, output.slice(-6000));
});

test('an administrator in a browser gets only what the contract lists', async () => {
  const signedIn = await fetch(`${address}/api/v1/devlogin`, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' }, redirect: 'manual' });
  const [cookie] = signedIn.headers.get('set-cookie').split(';');
  // Signing out would end the run; its answers are looked at in the table of rights.
  const { code, output } = await run([`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin'], '--exclude-path', '/api/v1/logout');
  assert.equal(code, 0, output.slice(-6000));
});
