// Every shell block of README.md, SECURITY.md and docs/ is run as it stands there, or named below with the test that runs
// it, or with the reason why nobody can here. A block that this table does not know fails.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, checkout } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';

const pages = ['README.md', 'SECURITY.md', ...readdirSync(path.join(checkout, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
const textOf = (page) => readFileSync(path.join(checkout, page), 'utf8');

/// {page, text, rehearsed} of each block; its first line tells it from others.
const blocks = pages.flatMap((page) => [...textOf(page).matchAll(/(?:<!-- rehearsed: (\S+) -->\n)?```(?:sh|bash|shell|console)\n([\s\S]*?)```/g)]
  .map(([, rehearsed, text]) => ({ page, rehearsed, text })));

/// `make` shows what it would run: compiling takes minutes, and CMakeLists.txt compiles the same files anyway.
const MAKE_SHOWS = 'make() { command make --dry-run "$@" >"$WORK/made"; grep -q ngx_http_lumen_module.so "$WORK/made"; }\n';
/// Compose's own reader instead of an engine, which there is none of.
const COMPOSE_READS = `docker() {
  local files=() services
  [ "$1" = compose ]
  shift
  while [ "$1" = --file ]; do files+=("$1" "$2"); shift 2; done
  services=$(docker-compose "\${files[@]}" config --services)
  case "$1" in
    up) docker-compose "\${files[@]}" config --quiet ;;
    exec) grep -qx "$2" <<<"$services" && "\${@:3}" --help >/dev/null ;;
    *) return 1 ;;
  esac
}
`;

// page, how its block begins, and one of: run (edits of the text first; what its output must match), by (a test and words
// that it has), lines (the same for each line), never (why).
const TABLE = [
  ['README.md', './lumen up', { by: ['tests/module/lumen_command.test.mjs', "run('up'"] }],
  ['docs/clients.md', 'export OPENAI_BASE_URL', { run: { prints: /"object":"chat\.completion"/ } }],
  ['docs/clients.md', 'curl -s "$LUMEN_URL/v1/key"', { run: { prints: /"object":"key"[\s\S]*"object":"usage"/ } }],
  ['docs/gate.md', 'curl -s -H', { run: { prints: /"redis_up":true/ } }],
  ['docs/develop.md', 'cmake --preset', { run: { edit: (text) => text.replace(/cmake --preset release && .*/, 'cmake --list-presets | grep \'"release"\''), prints: /release/ } }],
  ['docs/develop.md', 'LUMEN_CHECKOUT=', { run: { edit: (text) => MAKE_SHOWS + text.replaceAll('/tmp/objs', '"$WORK/objs"') } }],
  ['docs/develop.md', './lumen test ', { lines: [
    ['./lumen test  ', { never: 'it is what runs this' }],
    ['./lumen test module lint', { never: 'it is what runs this' }],
    ['./lumen build core_tests', { by: ['tests/core/CMakeLists.txt', 'core_tests'] }],
    ['node --test', { by: ['tests/module/main_job.test.mjs', 'startStack'] }],
    ['LUMEN_SEED=7 LUMEN_HISTORIES', { by: ['tests/simulation/history_test.cpp', 'LUMEN_HISTORIES'] }],
    ['LUMEN_SEED=7 ./lumen chaos', { by: ['tests/simulation/chaos.test.mjs', 'chaos'] }],
    ['./lumen chaos --cluster', { by: ['tests/simulation/chaos_run.mjs', 'onACluster'] }],
    ['./lumen build sanitized', { by: ['tests/harness/run_tests.mjs', 'fuzz/run.sh'] }],
    ['LUMEN_SANITIZED=1', { by: ['tests/harness/run_tests.mjs', 'LUMEN_SANITIZED'] }],
  ] }],
  ['docs/develop.md', 'LUMEN_KEEP=1', { lines: [
    ['LUMEN_KEEP=1 node', { by: ['tests/module/upgrade.test.mjs', "test('reloads"] }],
    ['gdb --args', { never: 'it waits for a person' }],
    ['gdb -p', { never: 'it waits for a person' }],
    ['redis-cli -s', { run: { edit: (text) => `{ timeout 60 ${text.replace(/ +#.*/, '')} || true; } | head -n 1`, prints: /^OK/ } }],
  ] }],
  ['docs/develop.md', 'perf record', { never: 'profilers are not among the packages that the tests install' }],
  ['docs/import-ncsa.md', 'lumen-admind import-ncsa', { by: ['tests/module/import_ncsa.test.mjs', "run('import-ncsa'"] }],
  ['docs/install.md', 'packaging/build-packages.sh', { by: ['tests/package/packages.test.mjs', 'packaging/build-packages.sh'] }],
  ['docs/install.md', 'docker build', { never: 'there is no engine; tests/package/containers.test.mjs makes both images by hand' }],
  ['docs/install.md', 'cd packaging/container', { run: { edit: (text) => COMPOSE_READS + text, in: 'packaging' } }],
  ['docs/install.md', 'kubectl apply', { never: 'there is no cluster; tests/package/containers.test.mjs holds its names against the manifests' }],
  ['docs/install.md', 'cd "$NGINX_SOURCE"', { run: { edit: (text) => MAKE_SHOWS + text, nginxSource: true } }],
  ['docs/install.md', 'cd "$OPENRESTY_SOURCE"', { never: 'no registry has OpenResty\'s release' }],
  ['docs/install.md', 'tests/package/other_nginx.sh', { never: 'it compiles an nginx for minutes; it is itself a test' }],
  ['docs/operations.md', 'redis-cli --cluster check', { lines: [
    ['redis-cli --cluster check', { never: 'a broken move has it; see the last' }],
    ['for b in', { never: 'there is one Redis here, which knows no slots' }],
    ['redis-cli -c -h', { by: ['tests/simulation/cluster_blows.mjs', "'HDEL', `{b${"] }],
    ['redis-cli --cluster fix', { by: ['tests/harness/redis_cluster.mjs', "'--cluster', 'fix'"] }],
  ] }],
  ['docs/operations.md', 'lumen-admind rebuild', { run: { prints: /./ } }],
  ['docs/operations.md', "pg_dump --format=custom --table='ledger_archive", { run: {} }],
  ['docs/security.md', '   (umask 027; openssl rand', { run: { edit: (text) => `${text.replaceAll('/etc/lumen/', '"$WORK"/').replace('chgrp lumen', 'chgrp "$(id -g)"')}\nwc -c <"$WORK/installation.secret.new"`, prints: /^65$/m } }],
];

const entryOf = ({ page, text }) => TABLE.find(([where, begins]) => where === page && text.startsWith(begins))?.[2];

let stack;
let work;
before(async () => {
  stack = await startStack({ name: 'docs', models: ([server]) => [{
    name: 'lumen-demo', access: 'allowed', input_cost_per_million: 0.15, output_cost_per_million: 0.6, endpoints: [{ id: 'demo-1', url: `${server}/v1` }],
  }] });
  work = mkdtempSync(path.join(stack.dir, 'work-'));
  mkdirSync(path.join(work, 'bin'));
  symlinkSync(stack.instance.program('lumen-admind'), path.join(work, 'bin/lumen-admind'));
  await stack.sql('create table ledger_archive.ledger_events_2024_01 (at timestamptz)');  // as retention leaves them
});
after(() => stack?.stop());

/// A place to run in: the checkout, or a copy of what the block writes into.
function placeFor({ in: part, nginxSource }) {
  const place = mkdtempSync(path.join(work, 'place-'));
  if (nginxSource) cpSync('/usr/share/nginx/src', path.join(place, 'nginx'), { recursive: true, dereference: true });
  if (part) cpSync(path.join(checkout, part), path.join(place, part), { recursive: true });
  return place;
}

function shell(text, options) {
  const { instance } = stack;
  const place = placeFor(options);
  const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', text], {
    encoding: 'utf8', cwd: options.in || options.nginxSource ? place : checkout, timeout: 120_000,
    env: {
      ...process.env, ...instance.admindEnvironment(), PATH: `${work}/bin:${process.env.PATH}`, LUMEN_CONFIG: instance.configFile, LUMEN_URL: stack.url,
      LUMEN_API_KEY: stack.key, LUMEN_DATABASE_URL: instance.postgres.url,
      LUMEN_REDIS_URL: `unix:${instance.redis.socket}`, BACKUP: place, WORK: place, NGINX_SOURCE: path.join(place, 'nginx'), LUMEN_CHECKOUT: checkout,
    },
  });
  assert.equal(status, 0, `${text}\n${stdout}${stderr}`);
  return stdout;
}

function prove(text, { run, by, lines, never }) {
  if (run) {
    const printed = shell(run.edit ? run.edit(text) : text, run);
    if (run.prints) assert.match(printed, run.prints);
    return;
  }
  if (by) assert.ok(textOf(by[0]).includes(by[1]), `${by[0]} does not run it`);
  else if (lines) {
    const commands = text.trim().split('\n');
    assert.equal(commands.length, lines.length);
    for (const [i, [begins, how]] of lines.entries()) {
      assert.ok(commands[i].startsWith(begins), commands[i]);
      prove(commands[i], how);
    }
  } else assert.ok(never.length > 0);
}

for (const block of blocks) {
  const [first] = block.text.split('\n');
  test(`${block.page}: ${first.slice(0, 60)}`, () => {
    if (block.rehearsed) {
      assert.ok(textOf('tests/module/disasters.test.mjs').includes(`'${block.rehearsed}'`), 'tests/module/disasters.test.mjs runs it');
      return;
    }
    const entry = entryOf(block);
    assert.ok(entry, 'this table does not say who runs it');
    prove(block.text, entry);
  });
}

test('the table names no block that is not there', () => {
  for (const [page, begins] of TABLE) assert.ok(blocks.some((block) => block.page === page && block.text.startsWith(begins)), `${page}: ${begins}`);
});

test('every command named in a sentence exists: verbs of ./lumen, subcommands of lumen-admind, files', () => {
  const lumen = readFileSync(path.join(checkout, 'lumen'), 'utf8');
  const help = spawnSync(path.join(buildDir, 'admind/lumen-admind'), ['--help'], { encoding: 'utf8' }).stdout;
  for (const page of pages) {
    for (const [, command] of textOf(page).matchAll(/`([^`\n]+)`/g)) {
      const [program, verb = ''] = command.replace(/^(?:[A-Z_]+=\S* )+/, '').split(/\s+/);
      if (program === './lumen' && verb) assert.match(lumen, new RegExp(`^    ${verb}\\)`, 'm'), `${page}: ${command}`);
      if (program === 'lumen-admind' && /^[a-z]/.test(verb)) assert.match(help, new RegExp(`^  ${verb} `, 'm'), `${page}: ${command}`);
      if (/^(tests|packaging|docs|nginx-conf|sql|lumen_core|ngx_lumen_module|admind)\/[\w./-]+$/.test(program)) {
        assert.ok(existsSync(path.join(checkout, program)), `${page}: ${program}`);
      }
    }
  }
});
