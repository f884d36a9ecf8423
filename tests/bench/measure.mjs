// Readings: CPU and memory of a process as the kernel accounts them, and load by wrk.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildDir } from '../harness/machine.mjs';

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
/// 2xx, and any broken connection, fails the run: a refusal is cheap and would flatter.
export async function wrk({ url, key, connections, seconds }) {
  const dir = mkdtempSync(path.join(tmpdir(), 'lumen-wrk-'));
  const script = path.join(dir, 'post.lua');
  writeFileSync(script, `
wrk.method = "POST"
wrk.body = [==[${chatBody}]==]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer ${key}"
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

/// Runs before everything that has no real-time priority: on a shared machine what is measured is else how long others keep
/// the processor. False: this user may not do that.
export function runBeforeOthers(pids) {
  const tried = pids.map((pid) => spawnSync('chrt', ['--fifo', '--all-tasks', '--pid', '10', String(pid)]).status);
  return tried.every((status) => status === 0);
}

/// Requests at a constant rate, each counted from the moment it was due (open_loop.cpp): {requests, latency_us,
/// own_lateness_us}, both {p50, p90, p99, max}.
export async function openLoop({ url, key, connections, seconds, rate, beforeOthers }) {
  const command = [...(beforeOthers ? ['chrt', '--fifo', '10'] : []), path.join(buildDir, 'tests/bench/open_loop'),
    ...[new URL(url).port, key, rate, seconds, connections].map(String)];
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`open_loop: exit ${code}`))));
    child.stdin.end(chatBody);
  });
}
