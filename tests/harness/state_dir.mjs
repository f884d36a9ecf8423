// Where the instance of `./lumen up` keeps its data and its sockets: $LUMEN_STATE, or a place that its servers can reach.
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkout, makeServerDir, obstacleTo, serverUser } from './machine.mjs';

const MARK = '.lumen-state';
// What an instance makes in its directory; `down --purge` removes this and nothing else.
const CONTENTS = ['app', 'env', 'installation.secret', 'log', 'lumen.yaml', 'main_job.json', 'nginx', 'pg', 'pg.new',
  'ports.json', 'redis', 'redis.conf', 'run', 'session.secret', MARK];

const wanted = path.resolve(process.env.LUMEN_STATE || path.join(checkout, 'var'));
const shortName = (text) => createHash('sha256').update(text).digest('hex').slice(0, 12);

/// The directory of a running or stopped instance; null if there is none.
export function existingState() {
  return existsSync(path.join(wanted, MARK)) ? realpathSync(wanted) : null;
}

/// Makes the directory, or finds it. {dir, notice}: the notice tells why it is elsewhere than asked for.
export function openState() {
  const present = existingState();
  if (present !== null) return { dir: present };
  if (existsSync(wanted) && readdirSync(wanted).length > 0)
    throw new Error(`${wanted} is not empty, and not a state directory of Lumen. Choose another place with LUMEN_STATE`);

  const obstacle = obstacleTo(wanted);
  const dir = obstacle === null ? wanted : fallback();
  makeServerDir(dir);
  writeFileSync(path.join(dir, MARK), 'A state directory of Lumen; `./lumen down --purge` removes it.\n');
  if (obstacle === null) return { dir };
  if (existsSync(wanted)) rmdirSync(wanted);
  mkdirSync(path.dirname(wanted), { recursive: true });
  symlinkSync(dir, wanted);
  return { dir, notice: `${wanted} cannot hold the data, because ${obstacle}; it is a link to ${dir} now` };
}

function fallback() {
  return process.getuid() === 0 ? `/var/lib/lumen-${shortName(wanted)}` : `/var/tmp/lumen-${process.getuid()}-${shortName(wanted)}`;
}

/// A short path for sockets, which nobody else can have made.
export function runDirOf(stateDir) {
  const name = `lumen-${shortName(stateDir)}`;
  const dir = process.getuid() === 0 ? `/run/${name}` : path.join(process.env.XDG_RUNTIME_DIR || '/tmp', `${name}-${process.getuid()}`);
  makeServerDir(dir, 0o700);
  const entry = lstatSync(dir);
  if (!entry.isDirectory() || entry.uid !== serverUser.uid) throw new Error(`${dir} belongs to somebody else`);
  return dir;
}

/// Removes all data of a stopped instance.
export function purgeState(dir) {
  rmSync(runDirOf(dir), { recursive: true, force: true });
  for (const name of CONTENTS) rmSync(path.join(dir, name), { recursive: true, force: true });
  if (readdirSync(dir).length > 0) {
    console.error(`Not Lumen's, so still there: ${readdirSync(dir).map((name) => path.join(dir, name)).join(' ')}`);
    return;
  }
  rmdirSync(dir);
  if (lstatSync(wanted, { throwIfNoEntry: false })?.isSymbolicLink()) unlinkSync(wanted);
}
