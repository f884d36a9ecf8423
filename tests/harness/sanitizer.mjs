// nginx with the gate that was built with sanitizers (LUMEN_SANITIZED=1): their runtime is loaded before nginx itself, and
// whatever they report fails the suite that made it happen.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export const sanitized = process.env.LUMEN_SANITIZED === '1';

const REPORT = 'sanitizer';
// nginx ends without giving back what it remembers of its command line. What our C++ forgets is not allocated through it.
const LEAKS_OF_NGINX = 'leak:ngx_alloc\n';
const MACHINES = { x64: 'x86_64', arm64: 'aarch64' };

function runtime() {
  const name = `libclang_rt.asan-${MACHINES[os.arch()] ?? os.arch()}.so`;
  const found = spawnSync('clang', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout?.trim();
  if (!found || !path.isAbsolute(found)) throw new Error(`clang has no ${name}: libclang-rt-dev is missing`);
  return found;
}

/// `command`, run so that its sanitizers find their runtime and write their reports to `logDir`.
export function underSanitizers(command, logDir) {
  if (!sanitized) return command;
  const options = `log_path=${path.join(logDir, REPORT)}:print_stacktrace=1`;
  const suppressions = path.join(logDir, 'leaks-of-nginx.txt');
  writeFileSync(suppressions, LEAKS_OF_NGINX);
  return ['env', `LD_PRELOAD=${runtime()}`, `UBSAN_OPTIONS=${options}`, `LSAN_OPTIONS=suppressions=${suppressions}:print_suppressions=0`,
    `ASAN_OPTIONS=${options}:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1`, ...command];
}

/// The beginnings of the reports; none is how it should be.
export function sanitizerReports(logDir) {
  return readdirSync(logDir).filter((file) => file.startsWith(`${REPORT}.`))
    .map((file) => readFileSync(path.join(logDir, file), 'utf8').split('\n').slice(0, 30).join('\n'));
}
