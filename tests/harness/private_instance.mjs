// The instance that `./lumen up` keeps, as up, down and env find it again.
import path from 'node:path';
import { Instance } from './instance.mjs';
import { installedPrograms } from './programs.mjs';
import { runDirOf } from './state_dir.mjs';

/// `httpPort`: where nginx is to listen; absent = where it did before.
export async function privateInstance(stateDir, { httpPort } = {}) {
  const instance = new Instance({
    stateDir,
    runDir: runDirOf(stateDir),
    programs: installedPrograms(path.join(stateDir, 'app')),
    webDir: path.join(stateDir, 'app', 'web'),
    lifetime: 'own',
    workers: 'auto',
    httpPort,
  });
  await instance.prepare();
  return instance;
}
