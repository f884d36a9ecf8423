// ./lumen env: shell lines that name the running instance.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { runningPid } from './server_process.mjs';
import { existingState } from './state_dir.mjs';

try {
  const stateDir = existingState();
  const file = stateDir && path.join(stateDir, 'env');
  if (!file || !existsSync(file) || runningPid(path.join(stateDir, 'run', 'nginx.pid')) === null)
    throw new Error('no instance is running here; ./lumen up starts one');
  process.stdout.write(readFileSync(file, 'utf8'));
} catch (error) {
  const hint = error.code === 'EACCES' ? ' (it holds a key and a token: try as root, or as who started it)' : '';
  console.error(`lumen env: ${error.message}${hint}`);
  process.exitCode = 1;
}
