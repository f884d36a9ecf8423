// The lint suite: what machines can see of style.md. Each check has a name and lists its problems.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { checkout } from './machine.mjs';

const MAX_LINES = 500;  // some 400, and patience
const CLANG_FORMAT = '14';
const SKIPPED_DIRS = new Set(['.git', 'build', 'var', 'node_modules', 'dist', '.cache']);
const CODE = /\.(cpp|h|c|mjs|ts|tsx|lua|sql|sh|css)$/;

// Words of unfinished work, tests that do not run, and tests that run alone.
const FORBIDDEN = [
  [/\b(TODO|FIXME|XXX|HACK)\b/, 'unfinished work'],
  [/\b(GTEST_SKIP|DISABLED_\w+)\b/, 'a test that does not run'],
  [/\b(test|it|describe)\.(only|skip|todo)\b/, 'a test that does not run, or keeps others from running'],
];

// Arrows point one way: ngx_lumen_module → lumen_core ← admind.
const ARROWS = [
  ['lumen_core/', /#include *[<"](ngx_|nginx|hiredis|Poco|pqxx|prometheus|yaml-cpp|CLI|curl|ngx_lumen_module\/|admind\/)/],
  ['ngx_lumen_module/', /#include *[<"](Poco|pqxx|admind\/)/],
  ['admind/', /#include *[<"](ngx_|ngx_lumen_module\/)/],
];

export async function lint() {
  const files = listFiles(checkout);
  return [
    clangFormat(files),
    { name: 'arrows', problems: arrows(files) },
    { name: 'shellcheck', problems: shellcheck(files) },
    { name: 'file size', problems: fileSizes(files) },
    { name: 'forbidden words', problems: forbiddenWords(files) },
    { name: 'lockfiles', problems: lockfiles(files) },
    { name: 'JavaScript', problems: javascript(files) },
  ];
}

/// What is under version control or would be; everything, where git is not there to tell.
function listFiles(root) {
  const git = spawnSync('git', ['-c', `safe.directory=${root}`, '-C', root, 'ls-files', '-z'], { encoding: 'utf8', maxBuffer: 64 << 20 });
  const files = git.status === 0 ? git.stdout.split('\0').filter(Boolean) : walk(root, '');
  return files.filter((file) => existsSync(path.join(root, file)));
}

function walk(root, below) {
  return readdirSync(path.join(root, below), { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(below, entry.name);
    if (entry.isDirectory()) return SKIPPED_DIRS.has(entry.name) ? [] : walk(root, name);
    return [name];
  });
}

const read = (file) => readFileSync(path.join(checkout, file), 'utf8');

/// Runs a checker over files; its complaints as lines.
function complaints(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: checkout, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (error) return [`error: ${program}: ${error.message}`];
  return status === 0 ? [] : `${stdout}${stderr}`.trimEnd().split('\n');
}

/// Versions disagree about details, so one of them decides: Debian 12's.
function clangFormat(files) {
  const version = /version (\d+)/.exec(spawnSync('clang-format', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1];
  if (version !== undefined && version !== CLANG_FORMAT) return { name: `clang-format ${CLANG_FORMAT} (not checked: here is ${version})`, problems: [] };
  const sources = files.filter((file) => /\.(cpp|h)$/.test(file));
  const problems = complaints('clang-format', ['--dry-run', '--Werror', ...sources]).filter((line) => /error: /.test(line));
  return { name: 'clang-format', problems };
}

function arrows(files) {
  const problems = [];
  for (const [folder, forbidden] of ARROWS)
    for (const file of files.filter((name) => name.startsWith(folder) && /\.(cpp|h)$/.test(name)))
      for (const line of read(file).split('\n')) if (forbidden.test(line)) problems.push(`${file}: ${line.trim()}`);
  return problems;
}

function shellcheck(files) {
  const scripts = files.filter((file) => file.endsWith('.sh') || /^#!.*\b(ba)?sh\b/.test(read(file).slice(0, 40)));
  return scripts.length === 0 ? ['no scripts found'] : complaints('shellcheck', scripts);
}

function fileSizes(files) {
  return files.filter((file) => CODE.test(file))
    .map((file) => [file, read(file).split('\n').length - 1])
    .filter(([, lines]) => lines > MAX_LINES)
    .map(([file, lines]) => `${file}: ${lines} lines; is it still one room?`);
}

function forbiddenWords(files) {
  const problems = [];
  for (const file of files.filter((name) => CODE.test(name) && name !== 'tests/harness/lint.mjs')) {
    read(file).split('\n').forEach((line, index) => {
      for (const [word, why] of FORBIDDEN)
        if (word.test(line)) problems.push(`${file}:${index + 1}: ${why}: ${line.trim()}`);
    });
  }
  return problems;
}

/// No lockfile names the registry it was made with.
function lockfiles(files) {
  return files.filter((file) => file.endsWith('package-lock.json') && /"resolved": "http/.test(read(file)))
    .map((file) => `${file}: names a registry`);
}

function javascript(files) {
  return files.filter((file) => file.endsWith('.mjs')).flatMap((file) => complaints(process.execPath, ['--check', file]));
}
