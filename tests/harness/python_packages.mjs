// Pythons with exactly the packages of a requirements file, each made once for a build directory.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buildDir } from './machine.mjs';

function mustRun(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`}`);
}

/// The bin directory of the one for `requirements` (a file); `name` tells it from others.
export function pythonWith(requirements, name) {
  const wanted = readFileSync(requirements, 'utf8');
  const dir = path.join(buildDir, `python-${name}`);
  const made = path.join(dir, 'made-from.txt');
  if (!existsSync(made) || readFileSync(made, 'utf8') !== wanted) {
    rmSync(dir, { recursive: true, force: true });
    mustRun('python3', ['-m', 'venv', dir]);
    mustRun(path.join(dir, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', '--no-compile', '-r', requirements]);
    writeFileSync(`${made}.new`, wanted);
    renameSync(`${made}.new`, made);
  }
  return path.join(dir, 'bin');
}
