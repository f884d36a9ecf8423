// A whole Lumen of a test suite's own: real Postgres, Redis, model servers, admind and nginx on free ports and sockets in
// a directory of its own, so that suites run side by side.
//
//   const stack = await startStack({ name: 'main_job' });     // in before()
//   await stack.stop();                                       // in after(): fails if the books do not balance
//
// Options (all but `name` have defaults)
//   name          of the suite: names its directory and its logs
//   models        the `models:` of lumen.yaml: objects, or YAML text (a value of the key), or a function that gets the
//                 base URLs of the model servers and returns either. Default: one model `demo` on model server 0
//   modelServers  how many (1)              workers     of nginx (2)
//   settings      merged over the other sections of lumen.yaml
//   nginx         (file, text) → text: last word on nginx.conf, lumen.conf, …
//   redisOptions, postgresOptions           added to their command lines
//   redisSync     Redis's appendfsync ('everysec': no test cuts the power, and a disk that is busy would make a call
//                 last); 'always', as shipped, where that is what is looked at
//   redisTimeout  after which the gate gives up a call ('10s': a machine may stall, and a disk); for suites in which Redis is
//                 silent, the shipped '1s'
//   redisNodes    so many masters of a Redis Cluster in place of one Redis; stack.instance.redis is then a RedisCluster
//   prepared      async (instance) →: called once places and ports are known, before anything runs
//   startServers  false: everything is prepared, nothing runs (stack.start(name) does)
//
// What it offers
//   url, key, account             the gate, and an account with 5 coins, made with the stack
//   newAccount({max, refresh, starting, mode, email})  → {user, account, key, keyId}; amounts are coins as text
//   operator, rest(method, path, body)                 admind's REST as operator; paths below /api/v1. Each answer is
//                                                      held against the served OpenAPI document
//   sql(text, parameters) → rows of strings            redis(...command) → reply
//   wallet(account) → {balance, held, running, seq}    nano-coins as BigInt, as Redis has them
//   waitForHold(account, request) → its wallet         once one request runs; an error if `request`, a promise, ends before
//   allDecided(account, asked) → how many run          once each of the promised answers is there or its request holds coins
//   atRest(account) → its wallet                       once nothing of it runs; a settle may come a little after its answer
//   whileRunning(account, ask, work)                   does `work(asked)` while the answer to what `ask` sends is held
//   ledger(requestId) → rows of ledger_events          once they are drained
//   modelServers[i]               .url .behave(words) .report() .resetCounts() .kill() .start()
//   server(name)                  postgres, redis, admind, nginx, model0 …: .pid .start() .stop() .kill(signal)
//   kill(name, signal), start(name), restart(name)     reload()  nginx, as SIGHUP does
//   workers()                     pids of nginx's workers
//   addAdmind()                   another copy of admind, started
//   addGate()                     another nginx with a ring of its own, on the same Redis: .url, as server(name)
//   writeSettings(settings)       replaces lumen.yaml, which admind reads again by itself
//   log(name)                     text of that server's log; nginx-error and nginx-access too
//   allowAlerts = true            for suites that make nginx complain on purpose; or a pattern of the lines they mean
import { existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Instance } from './instance.mjs';
import { Contract } from './contract.mjs';
import { checkInvariants } from './invariants.mjs';
import { buildDir, checkout, freePort, makeServerDir, obstacleTo, tail, waitFor, writeServerFile } from './machine.mjs';
import { Operator } from './operator.mjs';
import { builtPrograms, installPages, installPrograms } from './programs.mjs';
import { RedisLink } from './redis_link.mjs';
import { sanitizerReports } from './sanitizer.mjs';
import { Admind, Nginx } from './servers.mjs';
import { sql } from './sql.mjs';

const KEEP = process.env.LUMEN_KEEP === '1';

const defaultModels = (servers) => [{
  name: 'demo',
  access: 'allowed',
  input_cost_per_million: 0.15,
  output_cost_per_million: 0.6,
  endpoints: [{ id: 'demo-1', url: `${servers[0]}/v1` }],
}];

const defaultSettings = (url) => ({
  version: 2,
  app: { public_url: url, debug: true, dev_user: { email: 'ada@example.edu', groups: [] } },
  admins: ['ada@example.edu'],
  rate_limiting: { limit: '10000000 per minute', login: '100000 per minute', write: '100000 per minute' },
  defaults: { models: { access: 'allowed' } },
});

/// Objects deep, everything else as a whole.
function merge(base, over) {
  if (over === undefined) return base;
  const plain = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!plain(base) || !plain(over)) return over;
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = merge(base[key], value);
  return merged;
}

/// YAML: a line for each section, as JSON, which YAML contains; what is text already is taken as it is.
function toYaml(sections) {
  return Object.entries(sections)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? `\n${value}` : JSON.stringify(value)}\n`)
    .join('');
}

export async function startStack(options) {
  const stack = new Stack(options);
  try {
    await stack.begin();
  } catch (error) {
    await stack.abandon();
    throw error;
  }
  return stack;
}

/// Connections that fetch keeps idle are those of the old workers, which may close one just as the next call is written to
/// it. New calls go over new ones; what is under way on the others ends there.
function leaveIdleConnections() {
  const place = Symbol.for('undici.globalDispatcher.1');
  const agent = globalThis[place];
  if (agent === undefined) return;  // nothing was fetched yet
  globalThis[place] = new agent.constructor();
  agent.close().catch(() => {});
}

class Stack {
  allowAlerts = false;
  #redisLink;
  #accounts = 0;
  #copies = [];

  constructor({ name, models = defaultModels, modelServers = 1, workers = 2, settings, nginx, redisOptions = [], redisSync = 'everysec', redisNodes, redisTimeout = '10s', postgresOptions, prepared = () => {}, startServers = true }) {
    Object.assign(this, { name, models, settings, prepared, startServers });
    this.dir = mkdtempSync(path.join(process.env.LUMEN_TEST_DIR || '/tmp', `lumen-${name}-`));
    makeServerDir(this.dir);
    const dist = path.join(checkout, 'admind/web/dist');
    const inPlace = obstacleTo(buildDir) === null && obstacleTo(dist) === null;
    const appDir = path.join(this.dir, 'app');
    this.instance = new Instance({
      stateDir: path.join(this.dir, 'state'),
      // Short, whatever the suite is called: a socket's path has at most 107 bytes.
      runDir: mkdtempSync('/tmp/lumen-run-'),
      programs: inPlace ? builtPrograms(buildDir) : installPrograms(appDir, buildDir),
      webDir: inPlace ? dist : installPages(path.join(appDir, 'web')),
      lifetime: 'ours',
      modelServers,
      workers,
      redisOptions: ['--appendfsync', redisSync, ...redisOptions],
      redisNodes,
      redisTimeout,
      postgresOptions,
      editNginxConf: nginx,
    });
  }

  async begin() {
    const { instance } = this;
    await instance.prepare();
    await this.prepared(instance);
    this.url = instance.url;
    this.modelServers = instance.modelServers;
    const urls = instance.modelServers.map((server) => server.url);
    const models = typeof this.models === 'function' ? this.models(urls) : this.models;
    instance.writeConfig(toYaml({ ...merge(defaultSettings(this.url), this.settings), models }));
    if (!this.startServers) return;
    await instance.start();
    await this.signIn();
  }

  /// An operator's token, the first account, and the gate as ready as that account sees it.
  async signIn() {
    const token = /lop_\S+/.exec(this.instance.admind.run('token', 'create', '--scope', 'admin'))?.[0];
    if (!token) throw new Error('`lumen-admind token create` printed no token');
    this.contract = new Contract(this.url);
    this.operator = new Operator(this.url, token, this.contract);
    Object.assign(this, await this.newAccount({ email: 'first@example.edu' }));
    await this.waitUntilServing();
  }

  /// The gate has its catalogue and knows the first key.
  async waitUntilServing() {
    await waitFor('the gate to serve', async () => (await this.fetch('/v1/models')).status === 200);
  }

  /// A request to the gate with a key (the first account's unless another is given).
  fetch(target, { key = this.key, headers = {}, ...options } = {}) {
    return fetch(this.url + target, { ...options, headers: { authorization: `Bearer ${key}`, ...headers } });
  }

  /// POSTs JSON to the gate.
  post(target, body, options = {}) {
    return this.fetch(target, {
      method: 'POST', body: JSON.stringify(body), ...options,
      headers: { 'content-type': 'application/json', ...options.headers },
    });
  }

  async newAccount({ max = '5', refresh = '0', starting = max, mode = 'soft', email } = {}) {
    const number = ++this.#accounts;
    return this.operator.createUser({
      email: email ?? `person-${number}@example.edu`,
      name: `Person ${number}`,
      limits: { max, refresh, starting, mode },
      keyName: `key-${number}`,
    });
  }

  rest(method, target, body, headers) { return this.operator.rest(method, target, body, headers); }
  sql(text, parameters) { return sql(this.instance.postgres.url, text, parameters); }

  redis(...command) {
    if (this.instance.redisNodes > 0) return this.instance.redis.command(...command);
    if (this.#redisLink === undefined || this.#redisLink.closed) this.#redisLink = new RedisLink(this.instance.redis.socket);
    return this.#redisLink.command(...command);
  }

  async wallet(account) {
    const bucket = String(BigInt(account) % 256n).padStart(3, '0');
    const fields = await this.redis('HMGET', `{b${bucket}}:a:${account}`, 'bal', 'held', 'nh', 'seq');
    const [balance, held, running, seq] = fields.map((value) => BigInt(value ?? 0));
    return { balance, held, running, seq };
  }

  async waitForHold(account, request) {
    let ended;
    Promise.resolve(request).then((answer) => { ended = answer?.status ?? answer; }, (error) => { ended = error; });
    return waitFor('the request to hold coins', async () => {
      const wallet = await this.wallet(account);
      if (wallet.running === 1n) return wallet;
      if (ended !== undefined) throw new Error(`the request ended before it held coins, with ${ended}`);
      return false;
    });
  }

  allDecided(account, asked) {
    let ended = 0;
    for (const one of asked) one.then(() => ended++, () => ended++);
    return waitFor('each to be decided about', async () => {
      const running = Number((await this.wallet(account)).running);
      return ended + running === asked.length && { running };
    });
  }

  atRest(account) {
    return waitFor('all of the account to be settled', async () => {
      const wallet = await this.wallet(account);
      return wallet.running === 0n && wallet;
    });
  }

  async whileRunning(account, ask, work) {
    await this.modelServers[0].behave('held');
    let running;
    try {
      running = ask();
      await this.waitForHold(account, running);
      await work(running);
    } finally {
      await this.modelServers[0].behave('');
    }
    const { status } = await running;
    if (status !== 200) throw new Error(`the request that ran was answered with ${status}`);
    await this.atRest(account);
  }

  /// Rows of a request, once its first is in the book.
  ledger(requestId) {
    return waitFor(`the ledger rows of request ${requestId}`, async () => {
      const rows = await this.sql("select * from ledger_events where request_id = :'request' order by at, bseq", { request: requestId });
      return rows.length > 0 && rows;
    });
  }

  server(name) { return [...this.instance.servers, ...this.#copies].find((s) => s.name === name) ?? this.instance.server(name); }
  start(name) { return this.server(name).start(); }
  async kill(name, signal = 'SIGKILL') {
    this.server(name).kill(signal);
    if (signal === 'SIGKILL') await this.server(name).waitUntilGone();
  }
  async restart(name) {
    await this.server(name).stop();
    await this.start(name);
  }
  workers() { return this.instance.nginx.workers(); }

  /// New workers serve and none of the old ones takes connections any more.
  async reload() {
    const before = new Set(this.workers());
    this.instance.nginx.kill('SIGHUP');
    await waitFor('nginx to have new workers', () => {
      const now = this.workers();
      return now.length >= this.instance.workers && now.every((pid) => !before.has(pid));
    });
    leaveIdleConnections();
  }

  async addAdmind() {
    const copy = new Admind(this.instance, `admind${this.#copies.length + 2}`, await freePort());
    this.#copies.push(copy);
    await copy.start();
    return copy;
  }

  async addGate() {
    const gate = new Nginx(this.instance, `nginx${this.#copies.length + 2}`, await freePort());
    this.#copies.push(gate);
    gate.prepare();
    await gate.start();
    return gate;
  }

  writeSettings(settings) {
    const models = settings.models ?? (typeof this.models === 'function' ? this.models(this.modelServers.map((s) => s.url)) : this.models);
    const fresh = `${this.instance.configFile}.new`;
    writeServerFile(fresh, toYaml({ ...merge(defaultSettings(this.url), merge(this.settings, settings)), models }), 0o600);
    renameSync(fresh, this.instance.configFile);
  }

  log(name) {
    const file = path.join(this.instance.stateDir, 'log', `${name}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /// Checks the books and what admind has answered, stops everything, and fails with the logs if anything was wrong.
  async stop() {
    const problems = [];
    try {
      if (this.operator) problems.push(...await checkInvariants({ sql: (text) => this.sql(text), redis: (...command) => this.redis(...command) }));
    } catch (error) {
      problems.push(error.message);
    }
    problems.push(...(this.contract?.findings ?? []));
    await this.#stopServers();
    if (this.allowAlerts !== true) problems.push(...this.#nginxAlerts());
    problems.push(...sanitizerReports(path.join(this.instance.stateDir, 'log')));
    if (problems.length > 0) {
      throw new Error(`${this.name}: ${problems.length} problem(s) at the end\n- ${problems.join('\n- ')}\n${this.logTails()}`);
    }
    this.#removeFiles();
  }

  /// After a failed start: stops what runs; the logs stay.
  async abandon() {
    await this.#stopServers();
  }

  async #stopServers() {
    this.#redisLink?.close();
    this.instance.redis?.close?.();
    for (const copy of this.#copies.reverse()) await copy.stop();
    if (this.instance.nginx) await this.instance.stop();
    rmSync(this.instance.runDir, { recursive: true, force: true });
  }

  /// Crashes of workers, sockets left open, configuration errors. A worker that a test killed (9) is no news.
  #nginxAlerts() {
    return this.log('nginx-error').split('\n')
      .filter((line) => /\[(alert|emerg)\]/.test(line) && !/exited on signal (9|15)|setrlimit/.test(line) && !(this.allowAlerts && this.allowAlerts.test(line)))
      .slice(0, 10);
  }

  logTails(lines = 15) {
    const dir = path.join(this.instance.stateDir, 'log');
    const files = existsSync(dir) ? readdirSync(dir) : [];
    return files.map((file) => `--- ${file}\n${tail(path.join(dir, file), lines)}`).join('\n');
  }

  #removeFiles() {
    if (KEEP) console.log(`kept: ${this.dir}`);
    else rmSync(this.dir, { recursive: true, force: true });
  }
}
