// Readings: CPU and memory of a process as the kernel accounts them, and load by wrk.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Worker {
  constructor(pid) { this.pid = pid; }

  /// Time on a CPU, user and kernel, in nanoseconds (proc(5), schedstat).
  cpuNs() { return Number(readFileSync(`/proc/${this.pid}/schedstat`, 'utf8').split(' ')[0]); }

  /// Memory, shared pages divided by their users.
  pssKb() { return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8'))[1]); }
}

/// A chat body of about 1 KB.
export const chatBody = JSON.stringify({
  model: 'demo',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'The quick brown fox jumps over the lazy dog. '.repeat(20) }],
});

/// Keep-alive POSTs for some seconds from one thread: {requests, seconds, latencyUs: {p50, p99}}. Any answer that is not
/// 2xx, and any broken connection, fails the run: a refusal is cheap and would flatter. With `pauseMs` each connection rests
/// for that long between two requests, on average.
export async function wrk({ url, key, connections, seconds, pauseMs = 0 }) {
  const dir = mkdtempSync(path.join(tmpdir(), 'lumen-wrk-'));
  const script = path.join(dir, 'post.lua');
  writeFileSync(script, `
wrk.method = "POST"
wrk.body = [==[${chatBody}]==]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer ${key}"
${pauseMs > 0 ? `delay = function() return math.random(0, ${Math.round(2 * pauseMs)}) end` : ''}
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"seconds":%f,"errors":%d,"p50":%d,"p99":%d}\\n', summary.requests,
    summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
`);
  try {
    const output = await new Promise((resolve, reject) => {
      const child = spawn('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url], { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
      child.on('error', reject);
      child.on('close', (code) => (code === 0 ? resolve(text) : reject(new Error(`wrk: exit ${code}\n${text}`))));
    });
    const { p50, p99, ...load } = JSON.parse(output.trim().split('\n').at(-1));
    if (load.errors > 0) throw new Error(`wrk: ${load.errors} of ${load.requests} requests failed at ${url}`);
    return { ...load, latencyUs: { p50, p99 } };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
