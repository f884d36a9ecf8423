// in_containers.mjs make PLACE PACKAGES BUILD: without an engine, what one would do with packaging/container. To be run by
// root in mount and pid namespaces of its own: what it mounts and starts ends with them.
//   make   a minimal Debian, and over it the last stages of both Dockerfiles; then, in a network namespace that has nothing
//          but itself,
//   run    the services migrate, admind and gate of the Compose files (as JSON in PLACE/compose.json), each as its image's
//          user without any right, on a read-only root, with its volumes, secrets and tmpfs, beside Postgres, Redis and a
//          model server; a request goes through them; each is stopped by its signal
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkout, postgresBin, waitFor } from '../harness/machine.mjs';
import { fill, settingsOf } from './image.mjs';

const [verb, place, packages, build] = process.argv.slice(2);
const images = ['gate', 'admind'];
const dockerfile = (image) => path.join(checkout, `packaging/container/${image}.Dockerfile`);
const rootOf = (image) => path.join(place, 'roots', image);

function run(command, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command[0], command.slice(1), { encoding: 'utf8', ...options });
  assert.equal(status, 0, `${command.join(' ')}\n${error ?? ''}${stdout}${stderr}`);
  return stdout;
}

// ---- make ------------------------------------------------------------------------------------------------------------

/// As debian:RELEASE-slim is, and with this machine's way to Debian's packages.
function makeBase(root) {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))[1];
  run(['mmdebstrap', '--quiet', '--variant=minbase', '--mode=root', '--format=dir', '--skip=cleanup/apt/lists', release, root]);
  for (const file of ['/etc/hosts', '/etc/resolv.conf']) cpSync(file, path.join(root, file), { dereference: true });
}

function make() {
  mkdirSync(path.join(place, 'roots'));
  run(['mount', '-t', 'tmpfs', 'tmpfs', path.join(place, 'roots')]);
  makeBase(rootOf('base'));
  for (const image of images) {
    const root = rootOf(image);
    const [changes, workdir] = ['changes', 'work'].map((part) => path.join(place, 'roots', `${image}.${part}`));
    for (const dir of [root, changes, workdir]) mkdirSync(dir);
    run(['mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=${rootOf('base')},upperdir=${changes},workdir=${workdir}`, root]);
    run(['mount', '-t', 'proc', 'proc', path.join(root, 'proc')]);
    run(['mount', '--bind', '/dev', path.join(root, 'dev')]);
    fill(root, dockerfile(image), checkout, stageFile);
    for (const mounted of ['dev', 'proc']) run(['umount', path.join(root, mounted)]);
    for (const secret of ['etc/lumen/installation.secret', 'etc/lumen/admind.env'])
      assert.ok(!existsSync(path.join(root, secret)), `${image} was made with a secret in it`);
  }
  console.log('made');
  const { status } = spawnSync('unshare', ['--net', process.execPath, process.argv[1], 'run', place, packages, build], { stdio: 'inherit' });
  return status ?? 1;
}

/// The first stage builds the packages, which are here already.
const stageFile = (file) => path.join(packages, path.relative('/packages', file));

// ---- run -------------------------------------------------------------------------------------------------------------

const compose = () => JSON.parse(readFileSync(path.join(place, 'compose.json'), 'utf8'));

class Container {
  /// What an engine prepares: mount points in the image, then its root read-only, then what is mounted.
  constructor(name, service) {
    this.name = name;
    this.image = service.image.replace('lumen-', '');
    this.settings = settingsOf(dockerfile(this.image));
    [this.uid, this.gid] = this.settings.user.split(':').map(Number);
    this.env = { ...this.settings.env, ...service.environment };
    this.root = path.join(place, 'roots', `${name}.container`);
    mkdirSync(this.root);
    assert.equal(service.read_only, true, `${name} has a root that it may write to`);
    const volumes = this.#volumes(service);
    const tmpfs = service.tmpfs.map((entry) => entry.split(':'));
    const secrets = (service.secrets ?? []).map(({ source }) => ({ from: path.join(place, 'secrets', source), to: `/run/secrets/${source}` }));
    for (const { to } of [...volumes, ...secrets]) this.#mountPoint(to, !secrets.some((secret) => secret.to === to) && !path.extname(to));
    for (const [to] of tmpfs) this.#mountPoint(to, true);
    run(['mount', '--bind', rootOf(this.image), this.root]);
    run(['mount', '-o', 'remount,bind,ro', this.root]);
    run(['mount', '-t', 'proc', 'proc', path.join(this.root, 'proc')]);
    run(['mount', '--rbind', '/dev', path.join(this.root, 'dev')]);
    for (const [to, options] of tmpfs) run(['mount', '-t', 'tmpfs', '-o', options ?? 'mode=1777', 'tmpfs', path.join(this.root, to)]);
    for (const { from, to } of [...volumes, ...secrets]) run(['mount', '--bind', from, path.join(this.root, to)]);
  }

  #mountPoint(to, isDir) {
    const target = path.join(rootOf(this.image), to);
    mkdirSync(isDir ? target : path.dirname(target), { recursive: true });
    if (!isDir && !existsSync(target)) writeFileSync(target, '');
  }

  /// Files of the checkout as they are; a named volume is filled from the image when it is new, owner included; a VOLUME
  /// of the image that nobody names becomes one.
  #volumes(service) {
    // Compose's reader says `from:to:mode` in its version 1, and an object in later ones.
    const named = (service.volumes ?? []).map((entry) => (typeof entry === 'string' ? entry.split(':') : [entry.source, entry.target]))
      .map(([from, to]) => ({ from, to }));
    for (const to of this.settings.volumes) if (!named.some((volume) => volume.to === to)) named.push({ from: `nameless-${this.name}`, to });
    return named.map(({ from, to }) => {
      if (path.isAbsolute(from)) return { from: path.basename(from) === 'lumen.yaml' ? path.join(place, 'lumen.yaml') : from, to };
      const dir = path.join(place, 'volumes', from);
      mkdirSync(path.dirname(dir), { recursive: true });
      if (!existsSync(dir)) run(['cp', '--archive', path.join(rootOf(this.image), to), dir]);
      return { from: dir, to };
    });
  }

  #command(command) {
    const env = Object.entries({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...this.env }).map(([key, value]) => `${key}=${value}`);
    return ['chroot', this.root, 'setpriv', `--reuid=${this.uid}`, `--regid=${this.gid}`, '--clear-groups', '--no-new-privs',
      '--inh-caps=-all', '--bounding-set=-all', '--', 'env', '-i', ...env, ...command];
  }

  /// As `exec` in the container.
  exec(...command) { return run(this.#command(command)); }

  /// As the image's health check.
  isHealthy() {
    const [program, ...args] = this.#command(this.settings.health);
    return spawnSync(program, args).status === 0;
  }

  start(args = this.settings.cmd) {
    this.log = path.join(place, `${this.name}.log`);
    const log = openSync(this.log, 'a');
    chownSync(this.log, this.uid, this.gid);  // as engines do, so that /dev/stdout can be opened
    const [program, ...rest] = this.#command([...this.settings.entrypoint, ...args]);
    this.child = spawn(program, rest, { stdio: ['ignore', log, log] });
    this.ended = new Promise((resolve) => { this.child.on('exit', (code, signal) => resolve(code ?? signal)); });
    return this;
  }

  async stop() {
    this.child.kill(this.settings.stopSignal);
    assert.equal(await this.ended, 0, `${this.name} after ${this.settings.stopSignal}`);
  }
}

const answers = (url, options) => fetch(url, { signal: AbortSignal.timeout(5000), ...options }).then(({ status }) => status, () => 0);

async function startStores() {
  const data = path.join(place, 'pg');
  mkdirSync(data);
  chownSync(data, Number(run(['id', '-u', 'postgres'])), Number(run(['id', '-g', 'postgres'])));
  const asPostgres = ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', '--'];
  run([...asPostgres, postgresBin('initdb'), '-D', data, '-U', 'lumen', '-A', 'trust', '--no-sync'], { cwd: '/' });
  spawn(asPostgres[0], [...asPostgres.slice(1), postgresBin('postgres'), '-D', data, '-c', 'listen_addresses=127.0.0.1', '-k', data],
    { stdio: 'ignore', cwd: '/' });
  spawn('redis-server', [path.join(checkout, 'packaging/redis.conf'), '--dir', place, '--bind', '127.0.0.1'], { stdio: 'ignore' });
  spawn(path.join(build, 'tests/harness/model_server/lumen-model-server'), ['--port', '9000'], { stdio: 'ignore' });
  await waitFor('Postgres', () => spawnSync(postgresBin('createdb'), ['-h', '127.0.0.1', '-U', 'lumen', 'lumen']).status === 0, 60, 200);
  await waitFor('the model server', async () => (await answers('http://127.0.0.1:9000/health')) === 200);
}

async function serve(containers) {
  const { migrate, admind, gate } = containers;
  migrate.start(['migrate']);
  assert.equal(await migrate.ended, 0, 'migrate');
  console.log('migrated');
  admind.start();
  await waitFor('admind to be ready', async () => (await answers('http://127.0.0.1:5001/readyz')) === 200, 60, 100);
  gate.start();
  for (const container of [admind, gate]) await waitFor(`${container.name} to be healthy`, () => container.isHealthy(), 60, 100);
  for (const probe of ['healthz', 'readyz', 'lumen/metrics']) assert.equal(await answers(`http://127.0.0.1:8081/${probe}`), 200, probe);
  assert.equal(await answers('http://127.0.0.1:8080/sign-in'), 200, 'the pages');
  console.log('healthy');
  const account = /account (\d+)/.exec(admind.exec('lumen-admind', 'user', 'create', 'ada@example.edu'))[1];
  const key = admind.exec('lumen-admind', 'key', 'create', '--account', account, '--name', 'first').trim();
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hello' }] });
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  await waitFor('an answer of the model', async () =>
    (await answers('http://127.0.0.1:8080/v1/chat/completions', { method: 'POST', headers, body })) === 200, 60, 200);
  await waitFor('its line in the access log', () => readFileSync(gate.log, 'utf8').includes('model=demo'));
  console.log('served');
  await gate.stop();
  await admind.stop();
  console.log('stopped');
}

async function runServices() {
  run(['ip', 'link', 'set', 'lo', 'up']);
  for (const image of images) appendFileSync(path.join(rootOf(image), 'etc/hosts'), '127.0.0.1 postgres redis admind\n');
  mkdirSync(path.join(place, 'secrets'));
  for (const name of ['installation.secret', 'session.secret', 'oidc.secret']) {
    const file = path.join(place, 'secrets', name);
    writeFileSync(file, run(['openssl', 'rand', '-hex', '32']));
    chmodSync(file, 0o444);
  }
  const shipped = readFileSync(path.join(checkout, 'packaging/container/lumen.yaml'), 'utf8');
  assert.match(shipped, /max: 0, refresh: 0, starting: 0/);
  writeFileSync(path.join(place, 'lumen.yaml'), shipped.replace('max: 0, refresh: 0, starting: 0', 'max: 5, refresh: 0, starting: 5'));
  const { services } = compose();
  const containers = {};
  try {
    await startStores();
    for (const name of ['migrate', 'admind', 'gate']) containers[name] = new Container(name, services[name]);
    await serve(containers);
  } catch (error) {
    const logs = Object.values(containers).filter(({ log }) => log).map(({ name, log }) => `--- ${name}\n${readFileSync(log, 'utf8').slice(-3000)}`);
    throw new Error(`${error.message}\n${logs.join('\n')}`);
  }
}

if (verb === 'make') process.exit(make());
await runServices();
process.exit(0);  // what still runs ends with the namespaces
