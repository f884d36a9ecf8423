// One running Lumen: its state directory, its ports and secrets, and its servers in the order in which they need each
// other. `./lumen up` keeps one; each test suite makes its own.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, makeServerDir, writeServerFile } from './machine.mjs';
import { RedisCluster } from './redis_cluster.mjs';
import { Admind, ModelServer, Nginx, Postgres, Redis } from './servers.mjs';

export class Instance {
  /// `runDir`: short path for sockets. `programs`: name → path of what was built. `lifetime`: see ServerProcess.
  /// `modelServers`: how many. `httpPort`: where nginx listens; absent = a free port.
  /// `redisNodes`: masters of a Redis Cluster; 0: one Redis on a unix socket. `redisTimeout`: as the gate has it.
  /// `editNginxConf(file, text)`: last word on nginx's files.
  constructor({
    stateDir, runDir, programs, webDir, lifetime, httpPort, workers = 2, modelServers = 1,
    postgresOptions = [], redisOptions = [], redisNodes = 0, redisTimeout = '1s', editNginxConf = (file, text) => text,
  }) {
    Object.assign(this, { stateDir, runDir, programs, webDir, lifetime, httpPort, workers, postgresOptions, redisOptions, redisNodes, redisTimeout, editNginxConf });
    this.modelServerCount = modelServers;
    this.configFile = path.join(stateDir, 'lumen.yaml');
  }

  /// Makes what is missing: directories, secrets, ports. Nothing that is there changes, so a restart finds its data.
  async prepare() {
    makeServerDir(this.stateDir);
    makeServerDir(this.runDir, 0o700);
    for (const dir of ['run', 'log']) makeServerDir(path.join(this.stateDir, dir));
    this.installationSecret = this.#secret('installation.secret');
    this.sessionSecret = this.#secret('session.secret');
    this.ports = await this.#ports();
    this.url = `http://127.0.0.1:${this.ports.http}`;
    if (this.redisNodes > 0) await (this.redis = new RedisCluster(this, this.redisNodes)).choosePorts();
    this.#makeServers();
  }

  #secret(name) {
    const file = path.join(this.stateDir, name);
    if (!existsSync(file)) writeServerFile(file, `${randomBytes(32).toString('hex')}\n`, 0o600);
    return readFileSync(file, 'utf8').trimEnd();
  }

  async #ports() {
    const file = path.join(this.stateDir, 'ports.json');
    const ports = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    if (this.httpPort !== undefined) ports.http = this.httpPort;
    const wanted = ['http', 'admind'];
    for (let i = 0; i < this.modelServerCount; i++) wanted.push(`model${i}`, `model${i}-control`);
    for (const name of wanted) ports[name] ??= await freePort();
    writeServerFile(file, `${JSON.stringify(ports, null, 2)}\n`);
    return ports;
  }

  #makeServers() {
    this.postgres = new Postgres(this);
    this.redis ??= new Redis(this);
    this.modelServers = [];
    for (let i = 0; i < this.modelServerCount; i++)
      this.modelServers.push(new ModelServer(this, `model${i}`, this.ports[`model${i}`], this.ports[`model${i}-control`]));
    this.admind = new Admind(this);
    this.nginx = new Nginx(this);
  }

  /// In the order in which they start.
  get servers() {
    return [this.postgres, this.redis, ...this.modelServers, this.admind, this.nginx];
  }

  server(name) {
    const found = this.servers.find((server) => server.name === name);
    if (!found) throw new Error(`no server is called ${name}; there are ${this.servers.map((s) => s.name).join(', ')}`);
    return found;
  }

  processOptions(name) {
    return { name, stateDir: this.stateDir, lifetime: this.lifetime };
  }

  program(name) {
    const found = this.programs[name];
    if (!found) throw new Error(`unknown program ${name}`);
    return found;
  }

  admindEnvironment() {
    return {
      DATABASE_URL: this.postgres.url,
      LUMEN_REDIS_URL: this.redis.url,
      LUMEN_SECRET_KEY: this.sessionSecret,
      LUMEN_ENCRYPTION_KEY: this.installationSecret,
      ...(this.previousSecret === undefined ? {} : { LUMEN_PREVIOUS_ENCRYPTION_KEY: this.previousSecret }),
      // For configuration files written for an instance whose ports are not known beforehand (lumen.demo.yaml).
      LUMEN_URL: this.url,
      ...Object.fromEntries(this.modelServers.map((server, i) => [`LUMEN_MODEL_SERVER_${i}`, server.url])),
    };
  }

  writeConfig(text) {
    writeServerFile(this.configFile, text, 0o600);
  }

  /// Starts what does not run yet; `onStart(name)` is told before each. Stores and model servers wait for nobody.
  async start(onStart = () => {}) {
    const independent = [this.postgres, this.redis, ...this.modelServers];
    for (const server of independent) server.prepare();
    await Promise.all(independent.map((server) => {
      onStart(server.name);
      return server.start();
    }));
    for (const server of [this.admind, this.nginx]) {
      server.prepare();
      onStart(server.name);
      await server.start();
    }
  }

  /// In reverse order: nobody loses what he still needs.
  async stop() {
    for (const server of [this.nginx, this.admind]) await server.stop();
    await Promise.all([this.postgres, this.redis, ...this.modelServers].map((server) => server.stop()));
  }
}
