// The alert rules and the dashboard of packaging/: promtool takes them, and every metric and label value they name is one
// that a running Lumen really has.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';

const TOKEN = 'a token for the scraper';
const rulesFile = path.join(checkout, 'packaging/prometheus/lumen.rules.yml');
const rules = readFileSync(rulesFile, 'utf8');
const dashboard = JSON.parse(readFileSync(path.join(checkout, 'packaging/grafana/lumen.json'), 'utf8'));

let stack;
let families;
before(async () => {
  stack = await startStack({ name: 'watching', settings: { api: { prometheus: { enabled: true, token: TOKEN } } } });
  await stack.post('/v1/chat/completions', { model: 'demo', messages: [{ role: 'user', content: 'hello' }] }, { key: stack.key });
  // Some are there only once there is something to tell; the tests say which never came.
  const named = [...alerts.map(({ expression }) => expression), ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))];
  await waitFor('every metric', async () => {
    const gate = await (await fetch(`${stack.url}/lumen/metrics`)).text();
    const admind = await (await fetch(`${stack.server('admind').url}/metrics`, { headers: { Authorization: `Bearer ${TOKEN}` } })).text();
    families = new Map([...`${gate}\n${admind}`.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
    return named.flatMap(namedFamilies).every((name) => families.has(name));
  }).catch(() => {});
});
after(() => stack?.stop());

/// The metrics that an expression names, as families: without the suffixes of a histogram's series.
function namedFamilies(expression) {
  return [...expression.matchAll(/\b(?:lumen|gen_ai)_[a-z_]+/g)].map(([name]) => name)
    .filter((name) => !/^gen_ai_(token_type|request_model|operation_name)$/.test(name))
    .map((name) => (families.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')));
}

const alerts = [...rules.matchAll(/- alert: (\S+)\n\s+expr: (.+)\n/g)].map(([, name, expression]) => ({ name, expression }));

test('a running Lumen has metrics of both kinds', () => {
  assert.ok(families.has('lumen_redis_up') && families.has('lumen_ledger_lag_seconds'), [...families.keys()].join(' '));
});

for (const { name, expression } of alerts) {
  test(`alert ${name} asks for metrics that exist`, () => {
    const named = namedFamilies(expression);
    assert.ok(named.length > 0, expression);
    for (const family of named) assert.ok(families.has(family), `${family} is not a metric of Lumen`);
  });
}

for (const panel of dashboard.panels) {
  test(`panel "${panel.title}" asks for metrics that exist`, () => {
    assert.ok(panel.targets.length > 0);
    for (const { expr } of panel.targets) {
      const named = namedFamilies(expr);
      assert.ok(named.length > 0, expr);
      for (const family of named) assert.ok(families.has(family), `${family} is not a metric of Lumen`);
    }
  });
}

test('promtool takes the rules, and they fire when they should and only then', () => {
  execFileSync('promtool', ['check', 'rules', rulesFile], { encoding: 'utf8' });
  execFileSync('promtool', ['test', 'rules', path.join(checkout, 'tests/data/alerts.test.yml')], { encoding: 'utf8' });
});
