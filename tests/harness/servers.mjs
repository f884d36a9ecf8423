// How each server of an instance is prepared, started and known to be ready.
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import path from 'node:path';
import {
  checkout, makeServerDir, postgresBin, runAsServerUser, serverEnvironment, writeServerFile,
} from './machine.mjs';
import { nginxProgram } from './programs.mjs';
import { RedisLink } from './redis_link.mjs';
import { underSanitizers } from './sanitizer.mjs';
import { ServerProcess } from './server_process.mjs';

const packaging = path.join(checkout, 'packaging');

/// Status of a GET, or 0 if nobody answers.
function statusOf(url) {
  return new Promise((resolve) => {
    const request = httpRequest(url, { timeout: 10_000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(0));
    request.end();
  });
}

/// Private Postgres on a unix socket in the instance's 0700 run directory: whoever can open that is trusted.
export class Postgres extends ServerProcess {
  constructor(instance) {
    const dataDir = path.join(instance.stateDir, 'pg');
    super({
      ...instance.processOptions('postgres'),
      command: [postgresBin('postgres'), '-D', dataDir, '-k', instance.runDir, ...instance.postgresOptions],
      ready: () => this.#answers(),
      stopSignal: 'SIGINT',
      deathSignal: 'QUIT',
    });
    Object.assign(this, { dataDir, runDir: instance.runDir });
    this.url = `postgresql://lumen@/lumen?host=${encodeURIComponent(instance.runDir)}`;
  }

  prepare() {
    if (existsSync(path.join(this.dataDir, 'PG_VERSION'))) return;
    const fresh = `${this.dataDir}.new`;  // an initdb that was interrupted leaves nothing that looks whole
    rmSync(fresh, { recursive: true, force: true });
    runAsServerUser([postgresBin('initdb'), '-D', fresh, '--username=lumen', '--auth=trust', '--encoding=UTF8',
      '--locale=C.UTF-8', '--no-sync', '--no-instructions']);
    writeServerFile(path.join(fresh, 'lumen.conf'), readFileSync(path.join(packaging, 'postgresql.conf')));
    runAsServerUser(['sh', '-c', `cat >>"$1/postgresql.conf" && sync && mv "$1" "$2"`, 'sh', fresh, this.dataDir], {
      input: "\nlisten_addresses = ''\ninclude 'lumen.conf'\n",
    });
  }

  async start() {
    await super.start();
    if (this.#psql('postgres', "select 1 from pg_database where datname = 'lumen'").trim() === '')
      this.#psql('postgres', 'create database lumen');
  }

  #psql(database, statement) {
    return runAsServerUser([postgresBin('psql'), '-X', '-qAt', '-h', this.runDir, '-U', 'lumen', '-d', database, '-c', statement]);
  }

  #answers() {
    try {
      return this.#psql('postgres', 'select 1').trim() === '1';
    } catch {
      return false;
    }
  }
}

export class Redis extends ServerProcess {
  constructor(instance) {
    const dataDir = path.join(instance.stateDir, 'redis');
    const socket = path.join(instance.runDir, 'redis.sock');
    super({
      ...instance.processOptions('redis'),
      command: ['redis-server', path.join(instance.stateDir, 'redis.conf'), '--port', '0', '--unixsocket', socket,
        '--unixsocketperm', '700', '--dir', dataDir, '--daemonize', 'no', ...instance.redisOptions],
      ready: () => this.#answers(),
    });
    Object.assign(this, { dataDir, socket, url: `unix://${socket}`, stateDir: instance.stateDir });
  }

  prepare() {
    makeServerDir(this.dataDir, 0o700);
    writeServerFile(path.join(this.stateDir, 'redis.conf'), readFileSync(path.join(packaging, 'redis.conf')));
  }

  /// PONG, not LOADING.
  async #answers() {
    if (!existsSync(this.socket)) return false;
    const link = new RedisLink(this.socket);
    try {
      return (await link.command('PING')) === 'PONG';
    } catch {
      return false;
    } finally {
      link.close();
    }
  }
}

export class ModelServer extends ServerProcess {
  constructor(instance, name, port, controlPort) {
    super({
      ...instance.processOptions(name),
      command: [instance.program('lumen-model-server'), '--port', String(port), '--control-port', String(controlPort)],
      ready: async () => (await statusOf(`${this.url}/health`)) === 200,
    });
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.controlUrl = `http://127.0.0.1:${controlPort}/control`;
  }

  prepare() {}

  /// Changes how it behaves from now on (words of model_server/behaviour.h); '' = well.
  async behave(mode) { return this.#control({ mode }); }
  /// {mode, total, requests, open_connections, aborted, recent}
  async report() { return (await fetch(this.controlUrl)).json(); }
  async resetCounts() { return this.#control({ reset: true }); }

  async #control(body) {
    const response = await fetch(this.controlUrl, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${this.name}: ${await response.text()}`);
    return response.json();
  }
}

export class Admind extends ServerProcess {
  constructor(instance, name = 'admind', port = instance.ports.admind) {
    super({
      ...instance.processOptions(name),
      command: () => [instance.program('lumen-admind'), 'serve', '--config', instance.configFile],
      env: { ...instance.admindEnvironment(), LUMEN_LISTEN: `127.0.0.1:${port}` },
      ready: async () => (await statusOf(`${this.url}/readyz`)) === 200,
    });
    this.url = `http://127.0.0.1:${port}`;
    this.instance = instance;
  }

  prepare() {}

  /// Runs a command of its command line to its end; what it printed.
  run(...args) {
    return runAsServerUser([this.instance.program('lumen-admind'), ...args, '--config', this.instance.configFile], {
      env: { ...serverEnvironment, ...this.instance.admindEnvironment() },
    });
  }

  async start() {
    if (this.pid === null) this.run('migrate');
    await super.start();
  }
}

export class Nginx extends ServerProcess {
  constructor(instance, name = 'nginx', port = instance.ports.http) {
    const dir = path.join(instance.stateDir, name);
    super({
      ...instance.processOptions(name),
      command: underSanitizers([nginxProgram, '-e', 'stderr', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-g', 'daemon off;'],
        path.join(instance.stateDir, 'log')),
      ready: async () => (await statusOf(`${this.url}/lumen/metrics`)) !== 0,
      stopSignal: 'SIGQUIT',
    });
    Object.assign(this, { instance, dir, port, url: `http://127.0.0.1:${port}` });
  }

  prepare() {
    makeServerDir(this.dir);
    makeServerDir(path.join(this.dir, 'lib'));
    const shipped = path.join(checkout, 'nginx-conf');
    for (const file of readdirSync(shipped).filter((name) => name.endsWith('.conf')))
      writeServerFile(path.join(this.dir, file), this.#adapt(file, readFileSync(path.join(shipped, file), 'utf8')));
    writeServerFile(path.join(this.dir, 'mime.types'), readFileSync('/etc/nginx/mime.types'));
  }

  /// The shipped files, with the places and the address of a packaged installation replaced by this instance's.
  #adapt(file, text) {
    const { instance } = this;
    const places = {
      '/var/lib/lumen/': `${this.dir}/lib/`,
      '/var/log/lumen/': `${instance.stateDir}/log/`,
      '/run/lumen/nginx.pid': `${instance.runDir}/${this.name}.pid`,
      '/run/lumen/': `${instance.runDir}/`,
      '/etc/lumen/': `${instance.stateDir}/`,
      '/usr/share/lumen/web': instance.webDir,
      'modules/ngx_http_lumen_module.so': instance.program('ngx_http_lumen_module.so'),
    };
    let adapted = text;
    for (const [place, here] of Object.entries(places)) adapted = adapted.replaceAll(place, here);
    if (file === 'nginx.conf') {
      adapted = replaceOnce(adapted, 'user www-data;\n', '');
      adapted = replaceOnce(adapted, 'worker_rlimit_nofile 65536;', `worker_rlimit_nofile ${Math.min(65536, openFilesLimit())};`);
      adapted = replaceOnce(adapted, 'worker_processes auto;', `worker_processes ${instance.workers};`);
      adapted = replaceOnce(adapted, 'listen 8080;', `listen 127.0.0.1:${this.port};`);
      adapted = replaceOnce(adapted, 'server 127.0.0.1:5001;', `server 127.0.0.1:${instance.ports.admind};`);
      adapted = replaceOnce(adapted, 'redis.sock timeout=1s;', `redis.sock timeout=${instance.redisTimeout};`);
      if (instance.redis.addresses)
        adapted = adapted.replace(/lumen_redis unix:\S+/, `lumen_redis ${instance.redis.addresses.join(' ')} cluster`);
    }
    return instance.editNginxConf(file, adapted);
  }

  /// Pids of the workers that are not on their way out.
  workers() {
    return childrenOf(this.pid).filter(({ title }) => title.startsWith('nginx: worker process') && !title.includes('shutting down'))
      .map(({ pid }) => pid);
  }
}

/// How many files a process of ours may open at most.
function openFilesLimit() {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))[1];
  return hard === 'unlimited' ? Infinity : Number(hard);
}

function replaceOnce(text, from, to) {
  const parts = text.split(from);
  if (parts.length !== 2) throw new Error(`nginx.conf: "${from}" is there ${parts.length - 1} times, not once`);
  return parts.join(to);
}

function childrenOf(parent) {
  if (parent === null) return [];
  const pids = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return pids.flatMap((pid) => {
    try {
      return [{ pid: Number(pid), title: readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ') }];
    } catch {
      return [];  // it ended between the two looks
    }
  });
}
