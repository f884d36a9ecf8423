// L20: probes do not flood the servers, and never ask for a generation; what they find is what the gate knows.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { startModelServer } from './model_servers.mjs';

let stack;
let probed;
let silent;
before(async () => {
  [probed, silent] = await Promise.all([startModelServer(), startModelServer()]);
  silent.probeStatus = (url) => (url === '/health' ? 404 : 200);
  stack = await startStack({
    name: 'probes',
    settings: { health: { interval: 1, timeout: 1 } },
    models: [
      { name: 'probed', access: 'allowed', endpoints: [{ id: 'probed-1', url: probed.url }] },
      { name: 'silent', access: 'allowed', endpoints: [{ id: 'silent-1', url: silent.url }] },
    ],
  });
});
after(async () => {
  for (const server of [probed, silent]) server?.close();
  await stack?.stop();
});

const probedEndpoint = async () => {
  const { endpoints } = await (await fetch(`${stack.url}/lumen/status`, { headers: { accept: 'application/json' } })).json();
  return endpoints.find(({ name }) => name === 'probed-1');
};

test('probes ask /health, or the list of models where there is none; jittered, by one prober of two, never for a generation', async () => {
  await stack.addAdmind();
  const from = Date.now();
  for (const server of [probed, silent]) server.probes.length = 0;
  await waitFor('some probes', () => probed.probes.length >= 6 && silent.probes.length >= 8);
  const seconds = (Date.now() - from) / 1000;
  assert.ok(probed.probes.length <= seconds / 0.9 + 2, `${probed.probes.length} probes in ${seconds} s: more than one prober`);
  assert.deepEqual([...new Set(probed.probes.map((probe) => probe.path))], ['/health']);
  assert.deepEqual([...new Set(silent.probes.map((probe) => probe.path))].sort(), ['/health', '/v1/models']);
  assert.deepEqual([probed.asked.length, silent.asked.length], [0, 0]);
  const pauses = probed.probes.slice(1).map(({ at }, i) => at - probed.probes[i].at);
  assert.ok(Math.max(...pauses) - Math.min(...pauses) > 5, `${pauses}`);
});

test('an endpoint that nobody uses is ejected by its probes, says so, and comes back by them', async () => {
  probed.probeStatus = () => 503;
  await waitFor('the ejection', async () => (await probedEndpoint()).reason === 'probe failed');
  probed.probeStatus = () => 200;
  await waitFor('its return', async () => (await probedEndpoint()).state === 'ready');
  assert.equal(probed.asked.length, 0);
});
