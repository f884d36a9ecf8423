// What `./lumen test` shows of a node:test file: its failures in full, then one line of JSON with the counts.
export const COUNTS = 'lumen-test-counts ';

function explain(error) {
  const cause = error?.cause ?? error;
  return String(cause?.stack ?? cause).split('\n').map((line) => `      ${line}`).join('\n');
}

export default async function* report(events) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
    // A suite or a file passes or fails with its tests; only a hook that failed makes it fail by itself.
    const group = data?.details?.type === 'suite';
    const own = data?.details?.error?.failureType !== 'subtestsFailed';
    if (type === 'test:pass' && !group) {
      if (data.skip !== undefined || data.todo !== undefined) counts.skipped++;
      else counts.passed++;
    }
    if (type === 'test:fail' && own) {
      counts.failed++;
      yield `    FAILED ${data.name}\n${explain(data.details.error)}\n`;
    }
  }
  yield `${COUNTS}${JSON.stringify(counts)}\n`;
}
