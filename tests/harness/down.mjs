// ./lumen down [--purge]
import { privateInstance } from './private_instance.mjs';
import { existingState, purgeState } from './state_dir.mjs';

const unknown = process.argv.slice(2).filter((argument) => argument !== '--purge');
if (unknown.length > 0) {
  console.error(`lumen down: unknown argument ${unknown[0]}`);
  process.exit(64);
}
const purge = process.argv.includes('--purge');
const stateDir = existingState();
if (stateDir === null) {
  console.log('Nothing to stop: there is no instance here.');
} else {
  const instance = await privateInstance(stateDir);
  const running = instance.servers.filter((server) => server.pid !== null);
  await instance.stop();
  console.log(running.length > 0 ? 'Stopped.' : 'It was not running.');
  if (purge) {
    purgeState(stateDir);
    console.log('Its data is gone.');
  } else {
    console.log(`Its data is in ${stateDir}; ./lumen up goes on with it.`);
  }
}
