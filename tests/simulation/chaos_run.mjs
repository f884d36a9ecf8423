// One run of chaos on a stack of its own. Throws, with the logs, unless every price told was booked once and the
// invariants hold.
import { startStack } from '../harness/stack.mjs';
import { seededRandom } from '../module/traffic.mjs';
import { blows } from './blows.mjs';
import { bookedAsTold, servedAgain, under } from './load.mjs';

const LONGEST_PAUSE_MS = 400;

/// Counts of what happened: {seconds, blows: {name: n}, statuses, told, booked, cut, broken}.
export async function runChaos({ seed, seconds, onBlow = () => {} }) {
  const random = seededRandom(seed);
  const stack = await startStack({ name: 'chaos' });
  const dealt = {};
  let heard;
  let booked;
  try {
    await stack.modelServers[0].behave('slow-10');  // so that requests are with the model when a blow comes
    heard = await under(stack, async (served) => {
      const end = Date.now() + seconds * 1000;
      const names = Object.keys(blows);
      while (Date.now() < end) {
        const name = names[Math.floor(random() * names.length)];
        onBlow(name);
        await blows[name](stack, random);
        dealt[name] = (dealt[name] ?? 0) + 1;
        await servedAgain(served);
        await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_PAUSE_MS));
      }
    });
    booked = await bookedAsTold(stack, heard);
  } catch (error) {
    throw new Error(`seed ${seed}, after ${JSON.stringify(dealt)}: ${error.message}\n${stack.logTails()}`);
  } finally {
    await stack.stop();
  }
  const { told, statuses, cut, broken } = heard;
  return { seed, seconds, blows: dealt, statuses, told: told.size, booked, cut, broken };
}
