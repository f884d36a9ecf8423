// ./lumen chaos [--cluster] [MINUTES]: load while everything is killed, frozen and restarted at random points; then the books.
//   --cluster      on a Redis Cluster of three masters with a replica each: nodes die, are promoted, slots move
//   LUMEN_SEED=n   repeats the order of the blows and the pauses between them (not the machine's own timing)
import { runChaos } from './chaos_run.mjs';

const words = process.argv.slice(2);
const cluster = words.includes('--cluster');
const [minutes = 10] = words.filter((word) => word !== '--cluster').map(Number);
if (!(minutes > 0 && minutes <= 600)) {
  console.error('usage: ./lumen chaos [--cluster] [MINUTES]   0 < MINUTES ≤ 600');
  process.exit(64);
}
const seed = Number(process.env.LUMEN_SEED ?? Date.now() % 2 ** 32);
console.log(`seed ${seed}`);
const counts = await runChaos({ seed, seconds: minutes * 60, cluster, onBlow: (name) => console.log(`  ${name}`) });
console.log(JSON.stringify(counts, null, 2));
console.log('The books balance: I1 to I5, I7, I9, I13 and I16 of the ledger hold, and each price told is booked once.');
