// A Dockerfile's last stage made by hand, instruction by instruction, in a directory: what an engine would have as the
// image's file system, and the image's settings.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/// [{from, steps: [{word, text}]}], continuation lines joined, comments gone.
export function stagesOf(dockerfile) {
  const lines = readFileSync(dockerfile, 'utf8').split('\n').filter((line) => !line.startsWith('#')).join('\n').replaceAll(/\\\n\s*/g, '');
  const stages = [];
  for (const line of lines.split('\n').filter((text) => text.trim() !== '')) {
    const [, word, text] = /^([A-Z]+) (.*)$/.exec(line) ?? assert.fail(`${dockerfile}: ${line}`);
    if (word === 'FROM') stages.push({ from: text, steps: [] });
    else if (stages.length > 0) stages.at(-1).steps.push({ word, text });
  }
  return stages;
}

/// {env, user, entrypoint, cmd, volumes, ports, health, stopSignal} of the last stage.
export function settingsOf(dockerfile) {
  const settings = { env: {}, cmd: [], volumes: [], ports: [], user: '0:0', stopSignal: 'SIGTERM' };
  for (const { word, text } of stagesOf(dockerfile).at(-1).steps) {
    if (word === 'ENV') Object.assign(settings.env, Object.fromEntries(text.split(' ').map((pair) => pair.split('='))));
    if (word === 'USER') settings.user = text;
    if (word === 'ENTRYPOINT') settings.entrypoint = JSON.parse(text);
    if (word === 'CMD') settings.cmd = JSON.parse(text);
    if (word === 'VOLUME') settings.volumes.push(text);
    if (word === 'EXPOSE') settings.ports.push(...text.split(' ').map(Number));
    if (word === 'STOPSIGNAL') settings.stopSignal = text;
    if (word === 'HEALTHCHECK') settings.health = JSON.parse(/CMD (\[.*\])$/.exec(text)[1]);
  }
  return settings;
}

/// Carries COPY and RUN out in `root`, which holds the base. `stage(path)`: where a path of the first stage is here.
export function fill(root, dockerfile, checkout, stage) {
  for (const { word, text } of stagesOf(dockerfile).at(-1).steps) {
    if (word === 'COPY') copy(root, text, checkout, stage);
    if (word === 'RUN') inside(root, ['/bin/sh', '-c', text]);
  }
}

function copy(root, text, checkout, stage) {
  const words = text.split(' ');
  const fromStage = words[0].startsWith('--from=');
  if (fromStage) words.shift();
  const to = words.pop();
  for (const word of words) {
    const pattern = fromStage ? stage(word) : path.join(checkout, word);
    const found = readdirSync(path.dirname(pattern)).filter((name) => matches(name, path.basename(pattern)));
    assert.equal(found.length, 1, `COPY ${word}: ${found}`);
    const target = path.join(root, to.endsWith('/') ? path.join(to, found[0]) : to);
    mkdirSync(path.dirname(target), { recursive: true });
    cpSync(path.join(path.dirname(pattern), found[0]), target);
  }
}

const matches = (name, pattern) => new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`).test(name);

/// Runs to its end in that root.
export function inside(root, command, options = {}) {
  const { status, stdout, stderr, error } = spawnSync('chroot', [root, ...command], {
    encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }, ...options,
  });
  assert.equal(status, 0, `${command.join(' ')}\n${error ?? ''}${stdout}${stderr}`);
  return stdout;
}
