// What can befall a running Lumen; each ends with the server running again.
import { waitFor } from '../harness/machine.mjs';

async function killAndStart(stack, name) {
  await stack.kill(name);
  await stack.start(name);
}

async function freeze(stack, name, ms) {
  const { pid } = stack.server(name);
  process.kill(pid, 'SIGSTOP');
  try {
    await new Promise((resolve) => setTimeout(resolve, ms));
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

const pick = (list, random) => list[Math.floor(random() * list.length)];

export const blows = {
  'admind killed': (stack) => killAndStart(stack, 'admind'),
  'Redis killed': (stack) => killAndStart(stack, 'redis'),
  'Postgres killed': (stack) => killAndStart(stack, 'postgres'),
  'model server killed': (stack) => killAndStart(stack, 'model0'),
  'worker killed': async (stack, random) => {
    const victim = pick(stack.workers(), random);
    process.kill(victim, 'SIGKILL');
    await waitFor('a new worker', () => {
      const now = stack.workers();
      return !now.includes(victim) && now.length >= stack.instance.workers;
    });
  },
  'nginx reloaded': (stack) => stack.reload(),
  'Redis frozen': (stack, random) => freeze(stack, 'redis', 200 + random() * 2500),
  'admind frozen': (stack, random) => freeze(stack, 'admind', 200 + random() * 2500),
  'model server frozen': (stack, random) => freeze(stack, 'model0', 200 + random() * 1000),
};
