// The Debian packages: built by the one command, without lintian errors, installed in a root of their own (this machine's,
// under an overlay that is thrown away), configured as README.Debian says, started as the unit starts them, used,
// upgraded, removed and purged.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, checkout } from '../harness/machine.mjs';

const steps = path.join(checkout, 'tests/package/in_own_root.sh');
let packages;

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, LUMEN_BUILD_DIR: buildDir } });
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${error ?? ''}${stdout}${stderr}`);
  return stdout;
}

before(() => {
  assert.equal(process.getuid(), 0, 'packages are installed by root only');
  packages = mkdtempSync('/tmp/lumen-packages-');
  run(path.join(checkout, 'packaging/build-packages.sh'), [packages]);
});
after(() => rmSync(packages, { recursive: true, force: true }));

test('both packages are built, and lintian finds no error', () => {
  const built = readdirSync(packages).filter((name) => name.endsWith('.deb') && !name.includes('dbgsym')).map((name) => name.split('_')[0]);
  assert.deepEqual(built.sort(), ['libnginx-mod-http-lumen', 'lumen-admind']);
  const changes = readdirSync(packages).find((name) => name.endsWith('.changes'));
  run('lintian', ['--fail-on', 'error', '--allow-root', path.join(packages, changes)]);
});

test('the gate depends on the ABI of the nginx it was built for', () => {
  const gate = readdirSync(packages).find((name) => name.startsWith('libnginx-mod-http-lumen_'));
  const depends = run('dpkg-deb', ['-f', path.join(packages, gate), 'Depends']);
  assert.match(depends, /nginx-abi-[0-9.]+-\d+/);
});

test('installed, configured, started, used, upgraded, removed and purged', () => {
  const said = run('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', steps, packages, buildDir]);
  for (const step of ['installed', 'configured', 'served', 'upgraded', 'removed', 'purged']) assert.match(said, new RegExp(`^${step}$`, 'm'));
});
