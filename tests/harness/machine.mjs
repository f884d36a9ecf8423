// What the machine offers: the user that servers run as, free ports, programs, places that this user can reach.
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const buildDir = path.resolve(process.env.LUMEN_BUILD_DIR || path.join(checkout, 'build/release'));

const asRoot = process.getuid() === 0;

/// Servers never run as root: as root they get Debian's www-data, otherwise they are ours.
export const serverUser = asRoot ? lookUpUser('www-data') : { uid: process.getuid(), gid: process.getgid() };

function lookUpUser(name) {
  const fields = execFileSync('getent', ['passwd', name], { encoding: 'utf8' }).trim().split(':');
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}

/// `command` as the server user. `deathSignal`: what it gets when we die.
export function asServerUser(command, deathSignal) {
  const options = [];
  if (asRoot) options.push(`--reuid=${serverUser.uid}`, `--regid=${serverUser.gid}`, '--clear-groups');
  if (deathSignal) options.push(`--pdeathsig=${deathSignal}`);
  return options.length > 0 ? ['setpriv', ...options, '--', ...command] : command;
}

/// Environment of every server: nothing of the caller's but where programs are, and a locale that all machines have.
export const serverEnvironment = {
  PATH: process.env.PATH || '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
  TZ: 'UTC',
  HOME: '/nonexistent',
};

/// Can the server user do this (test(1)'s -r, -w, -x) with that path?
export function serverUserCan(flag, target) {
  const [program, ...args] = asServerUser(['test', flag, target]);
  return spawnSync(program, args).status === 0;
}

/// Why servers could not use that path, or null. nginx and Redis read paths from files in which blanks, quotes and braces
/// mean something else.
export function obstacleTo(target) {
  if (!/^[A-Za-z0-9._/+@-]+$/.test(target)) return 'its path holds characters that do not fit into configuration files';
  let ancestor = target;
  while (!existsSync(ancestor)) ancestor = path.dirname(ancestor);
  return serverUserCan('-x', ancestor) ? null : 'the servers\' user may not enter it';
}

export function makeServerDir(dir, mode = 0o755) {
  mkdirSync(dir, { recursive: true, mode });
  if (asRoot) chownSync(dir, serverUser.uid, serverUser.gid);
}

/// Writes a file that the server user owns; the mode is set before there is anything to read.
export function writeServerFile(file, text, mode = 0o644) {
  closeSync(openSync(file, 'a', mode));
  if (asRoot) chownSync(file, serverUser.uid, serverUser.gid);
  writeFileSync(file, text);
}

/// Runs to its end as the server user; its output, or an error that quotes it.
export function runAsServerUser(command, options = {}) {
  const [program, ...args] = asServerUser(command);
  const result = spawnSync(program, args, { encoding: 'utf8', env: serverEnvironment, cwd: '/', ...options });
  if (result.status !== 0) {
    const why = result.error ? result.error.message : `exit ${result.status ?? result.signal}\n${result.stdout}${result.stderr}`;
    throw new Error(`${command.join(' ')}: ${why}`);
  }
  return result.stdout;
}

/// Newest installed Postgres; Debian keeps its server programs out of the path.
export function postgresBin(program) {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).filter((v) => existsSync(`${root}/${v}/bin/initdb`)) : [];
  if (versions.length === 0) throw new Error('Postgres is not installed: no /usr/lib/postgresql/*/bin/initdb');
  versions.sort((a, b) => Number(b) - Number(a));
  return `${root}/${versions[0]}/bin/${program}`;
}

// Below the kernel's ephemeral range, so that no outgoing connection takes a port between our look and the server's bind.
const FIRST_PORT = 20000;
const BLOCKS = 600;
const BLOCK_PORTS = 20;
const ours = [];

/// Of a block of ports that is this process's as long as it lives: it listens on the first one. Suites that run side by
/// side look for ports long before their servers bind them.
export async function freePort() {
  for (let tries = 0; tries < 1000; tries++) {
    if (ours.length === 0) ours.push(...await claimBlock());
    const port = ours.pop();
    if (port !== undefined && (await portIsFree(port))) return port;
  }
  throw new Error(`no free port found from ${FIRST_PORT} on`);
}

async function claimBlock() {
  const first = FIRST_PORT + BLOCK_PORTS * Math.floor(Math.random() * BLOCKS);
  const claim = await listenOn(first);
  if (claim === null) return [];
  claim.unref();
  return Array.from({ length: BLOCK_PORTS - 1 }, (_, i) => first + 1 + i);
}

export async function portIsFree(port) {
  const probe = await listenOn(port);
  if (probe === null) return false;
  await new Promise((resolve) => { probe.close(resolve); });
  return true;
}

function listenOn(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}

/// The last lines of a log, for people.
export function tail(file, lines = 25) {
  if (!existsSync(file)) return `(no ${file})`;
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

/// How many ms `work` takes: the least of up to `tries`, which end when it is below `enough`. A bound that holds for a program
/// is held against the quickest: what takes a machine longer now and then is the machine.
export async function quickestOf(tries, enough, work) {
  let least = Infinity;
  for (let n = 0; n < tries && least >= enough; n++) {
    const began = performance.now();
    await work();
    least = Math.min(least, performance.now() - began);
  }
  return least;
}

/// Polls until `condition` returns something true, and returns it; an error that names `what` after `seconds`.
export async function waitFor(what, condition, seconds = 60, everyMs = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
