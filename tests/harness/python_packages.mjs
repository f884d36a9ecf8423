// Pythons with exactly the packages of a requirements file, each made once for a build directory, also when several suites
// want it at the same time: node python_packages.mjs REQUIREMENTS NAME makes one, under a lock.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildDir } from './machine.mjs';

const thisFile = fileURLToPath(import.meta.url);

function mustRun(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`}`);
}

const placeOf = (name) => path.join(buildDir, `python-${name}`);
const stampOf = (name) => path.join(placeOf(name), 'made-from.txt');
const isMade = (requirements, name) => existsSync(stampOf(name)) && readFileSync(stampOf(name), 'utf8') === readFileSync(requirements, 'utf8');

/// The bin directory of the one for `requirements` (a file); `name` tells it from others.
export function pythonWith(requirements, name) {
  if (!isMade(requirements, name)) mustRun('flock', [`${placeOf(name)}.lock`, process.execPath, thisFile, requirements, name]);
  return path.join(placeOf(name), 'bin');
}

function make(requirements, name) {
  if (isMade(requirements, name)) return;  // by who had the lock before
  rmSync(placeOf(name), { recursive: true, force: true });
  mustRun('python3', ['-m', 'venv', placeOf(name)]);
  mustRun(path.join(placeOf(name), 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', '--no-compile', '-r', requirements]);
  writeFileSync(`${stampOf(name)}.new`, readFileSync(requirements));
  renameSync(`${stampOf(name)}.new`, stampOf(name));
}

if (process.argv[1] === thisFile) make(...process.argv.slice(2));
