// What a build made, where it is, and copies of it that the server user can reach.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { checkout, makeServerDir } from './machine.mjs';
import { sanitized } from './sanitizer.mjs';

const BUILT = {
  'lumen-admind': 'admind/lumen-admind',
  'lumen-model-server': 'tests/harness/model_server/lumen-model-server',
  'ngx_http_lumen_module.so': 'ngx_lumen_module/ngx_http_lumen_module.so',
};

const GATE = 'ngx_http_lumen_module.so';

/// The machine's nginx, or another one (LUMEN_NGINX) with the gate that was built for it (LUMEN_GATE).
export const nginxProgram = process.env.LUMEN_NGINX || 'nginx';

/// Versions as nginx writes them: "1.29.0".
export function nginxIsOlder(than) {
  const version = /nginx version: \w+\/([\d.]+)/.exec(spawnSync(nginxProgram, ['-v'], { encoding: 'utf8' }).stderr)[1];
  return version.localeCompare(than, 'en', { numeric: true }) < 0;
}

/// name → path in a build directory.
export function builtPrograms(buildDir) {
  const programs = Object.fromEntries(Object.entries(BUILT).map(([name, place]) => [name, path.join(buildDir, place)]));
  if (process.env.LUMEN_GATE) programs[GATE] = process.env.LUMEN_GATE;
  else if (sanitized) programs[GATE] = path.join(buildDir, 'sanitized', BUILT[GATE]);
  return programs;
}

/// The copies in an instance's app directory.
export function installedPrograms(appDir) {
  return Object.fromEntries(Object.keys(BUILT).map((name) => [name, path.join(appDir, name)]));
}

/// Copies them, so that the server user reaches them wherever the checkout is, and a build does not pull them from under
/// a running server. name → path of the copy.
export function installPrograms(appDir, buildDir) {
  makeServerDir(appDir);
  const copies = installedPrograms(appDir);
  for (const [name, built] of Object.entries(builtPrograms(buildDir))) {
    if (!existsSync(built)) throw new Error(`${built} is not built`);
    rmSync(copies[name], { force: true });  // the file of a running program cannot be written into, but replaced
    copyFileSync(built, copies[name]);
    chmodSync(copies[name], 0o755);
  }
  return copies;
}

/// The built pages, likewise; where the copy is.
export function installPages(webDir) {
  rmSync(webDir, { recursive: true, force: true });
  cpSync(path.join(checkout, 'admind/web/dist'), webDir, { recursive: true });
  return webDir;
}
