// ./lumen chaos [MINUTES]: load while everything is killed, frozen and restarted at random points; then the books.
//   LUMEN_SEED=n   repeats the order of the blows and the pauses between them (not the machine's own timing)
import { runChaos } from './chaos_run.mjs';

const minutes = Number(process.argv[2] ?? 10);
if (!(minutes > 0 && minutes <= 600)) {
  console.error('usage: ./lumen chaos [MINUTES]   0 < MINUTES ≤ 600');
  process.exit(64);
}
const seed = Number(process.env.LUMEN_SEED ?? Date.now() % 2 ** 32);
console.log(`seed ${seed}`);
const counts = await runChaos({ seed, seconds: minutes * 60, onBlow: (name) => console.log(`  ${name}`) });
console.log(JSON.stringify(counts, null, 2));
console.log('The books balance: I1 to I5, I7, I9, I13 and I16 of the ledger hold, and each price told is booked once.');
