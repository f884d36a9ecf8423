// ./lumen up [--config FILE]: starts the instance, does the main job and prints what came of it.
// --if-running: only says it again if all of it runs already, else exits 3 and changes nothing.
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildDir, checkout, portIsFree, serverUserCan, writeServerFile } from './machine.mjs';
import { demoAccess, runMainJob } from './main_job.mjs';
import { privateInstance } from './private_instance.mjs';
import { installPages, installPrograms } from './programs.mjs';
import { describe } from './report.mjs';
import { existingState, openState } from './state_dir.mjs';

const DEFAULT_PORT = 8080;
const NOT_RUNNING = 3;

process.umask(0o022);
try {
  process.exitCode = await main();
} catch (error) {
  console.error(`lumen up: ${error.message}`);
  process.exitCode = 1;
}

async function main() {
  const { values } = parseArgs({ options: { config: { type: 'string' }, 'if-running': { type: 'boolean' } } });
  const running = await runningInstance();
  if (running) return sayAgain(running, values);
  if (values['if-running']) return NOT_RUNNING;

  const source = path.resolve(values.config ?? path.join(checkout, 'nginx-conf/lumen.demo.yaml'));
  accessSync(source, constants.R_OK);
  const { dir, notice } = openState();
  if (notice) console.error(notice);
  const httpPort = wantedPort();
  const instance = await privateInstance(dir, { httpPort });
  if (instance.nginx.pid === null && !(await portIsFree(httpPort)))
    throw new Error(`127.0.0.1:${httpPort} is in use by another program. Another port: LUMEN_PORT=${httpPort + 1} ./lumen up`);

  installPrograms(path.join(dir, 'app'), buildDir);
  installPages(path.join(dir, 'app', 'web'));
  useConfig(instance, source, values.config !== undefined);
  await startOrStop(instance, source);
  return 0;
}

function wantedPort() {
  const port = Number(process.env.LUMEN_PORT || DEFAULT_PORT);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error(`LUMEN_PORT=${process.env.LUMEN_PORT} is not a port`);
  if (port < 1024) throw new Error(`LUMEN_PORT=${port}: ports below 1024 are for root, and no server of Lumen runs as root`);
  return port;
}

/// The instance with all servers up and its main job done, or null.
async function runningInstance() {
  const dir = existingState();
  if (dir === null) return null;
  const saved = readSaved(dir);
  if (!saved?.report) return null;
  const instance = await privateInstance(dir);
  const ready = await Promise.all(instance.servers.map(async (server) => server.pid !== null && server.ready()));
  return ready.every(Boolean) ? { instance, saved } : null;
}

function sayAgain({ instance, saved }, { config }) {
  if (process.env.LUMEN_PORT && Number(process.env.LUMEN_PORT) !== instance.ports.http)
    throw new Error(`this instance already runs, on port ${instance.ports.http}; ./lumen down first, or choose another LUMEN_STATE`);
  if (config !== undefined && path.resolve(config) !== saved.config)
    throw new Error(`this instance already runs, with ${saved.config}; ./lumen down first, or choose another LUMEN_STATE`);
  process.stdout.write(describe(instance, saved));
  return 0;
}

/// The servers read the file where it is, so that editing it takes effect; where they can't, they get a copy.
function useConfig(instance, source, chosen) {
  if (serverUserCan('-r', source)) {
    instance.configFile = source;
    return;
  }
  if (chosen) console.error(`The servers cannot read ${source}, so they use a copy: ${instance.configFile}`);
  instance.writeConfig(readFileSync(source));
}

/// Starts it and does the main job; what is half up after a failure or Ctrl-C is stopped again, its data kept.
async function startOrStop(instance, source) {
  const interrupted = new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  });
  try {
    await Promise.race([startAndTry(instance, source), interrupted]);
  } catch (error) {
    await instance.stop();
    throw error;
  }
}

async function startAndTry(instance, source) {
  const began = Date.now();
  await instance.start();
  console.error(`Started in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  const saved = { config: source, ...(await demoAccess(instance, readSaved(instance.stateDir))) };
  save(instance.stateDir, saved);
  saved.report = await runMainJob(instance, saved);
  save(instance.stateDir, saved);
  writeEnv(instance, saved);
  process.stdout.write(describe(instance, saved));
}

function readSaved(dir) {
  const file = path.join(dir, 'main_job.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

function save(dir, saved) {
  writeServerFile(path.join(dir, 'main_job.json'), `${JSON.stringify(saved, null, 2)}\n`, 0o600);
}

function writeEnv(instance, saved) {
  const values = {
    LUMEN_URL: instance.url,
    LUMEN_API_KEY: saved.key,
    LUMEN_OPERATOR_TOKEN: saved.operatorToken,
    LUMEN_DATABASE_URL: instance.postgres.url,
    LUMEN_REDIS_URL: instance.redis.url,
    LUMEN_MODEL: saved.report.model,
  };
  const lines = Object.entries(values).map(([name, value]) => `export ${name}='${value}'\n`);
  writeServerFile(path.join(instance.stateDir, 'env'), lines.join(''), 0o600);
}
