// A short run of chaos (./lumen chaos is the long one): every blow that there is, once or twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEAST_TOLD, runChaos } from './chaos_run.mjs';

const SECONDS = 30;

test('everything dies at random points, and the books balance', async (t) => {
  const seed = Number(process.env.LUMEN_SEED ?? Date.now() % 2 ** 32);
  const counts = await runChaos({ seed, seconds: SECONDS });
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.told > LEAST_TOLD, 'the load was a load');
  assert.ok(counts.booked >= counts.told);
  assert.ok(counts.revocations > 0, 'keys were revoked meanwhile');
});
