// Requests as the suites of this folder make them: many at once, on connections they can tell apart, counted.
import http from 'node:http';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { waitFor } from '../harness/machine.mjs';

export const chatBody = (over = {}) => ({ model: 'demo', messages: [{ role: 'user', content: 'Say something short.' }], ...over });

/// A pool of keep-alive connections to the gate, one agent each, so that a caller decides which one is used.
export class Connections {
  constructor(url, count) {
    this.url = new URL(url);
    this.agents = Array.from({ length: count }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  }

  /// POSTs JSON on connection `i`: {status, headers, body, complete}. `complete` is false if the answer was cut.
  post(i, target, key, body) {
    const text = JSON.stringify(body);
    return this.#send(i, { method: 'POST', path: target, headers: {
      authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text),
    } }, text);
  }

  get(i, target, key) {
    return this.#send(i, { method: 'GET', path: target, headers: { authorization: `Bearer ${key}` } });
  }

  #send(i, options, text) {
    return new Promise((resolve, reject) => {
      const request = http.request({ host: this.url.hostname, port: this.url.port, agent: this.agents[i], timeout: 60_000, ...options });
      request.on('error', reject);
      request.on('timeout', () => request.destroy(new Error('no answer within 60 s')));
      request.on('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', () => {});  // a cut answer: `complete` tells
        response.on('close', () => resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(chunks).toString('utf8'),
          complete: response.complete,
        }));
      });
      request.end(text);
    });
  }

  /// Local port of each open connection.
  ports() {
    return this.agents.flatMap((agent) => Object.values(agent.freeSockets).flat().map((socket) => socket.localPort));
  }

  /// How many of them have bytes that the gate has not read.
  unread() {
    const hex = (port) => Number(port).toString(16).toUpperCase().padStart(4, '0');
    return readFileSync('/proc/net/tcp', 'utf8').split('\n').filter((row) => {
      const [, local, , state, queues] = row.trim().split(/\s+/);
      return state === '01' && local?.endsWith(`:${hex(this.url.port)}`) && !queues.endsWith(':00000000');
    }).length;
  }

  close() {
    for (const agent of this.agents) agent.destroy();
  }
}

/// Which worker serves the connection that comes from `clientPort`: pid, or undefined.
export function workerOf(clientPort, gatePort, workers) {
  const hex = (port) => Number(port).toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'utf8').split('\n')
    .find((row) => row.includes(`:${hex(gatePort)} `) && row.includes(`:${hex(clientPort)} `) && row.trim().split(/\s+/)[1].endsWith(`:${hex(gatePort)}`));
  if (!line) return undefined;
  const inode = line.trim().split(/\s+/)[9];
  return workers.find((pid) => readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
    } catch {
      return false;  // closed between the two looks
    }
  }));
}

/// `code` of an error answer in OpenAI's envelope.
export const codeOf = (answer) => JSON.parse(answer.body).error.code;

/// How many streams the gate has seen their clients leave.
export async function clientsGone(stack) {
  const page = await (await fetch(`${stack.url}/lumen/metrics`)).text();
  return Number(/^lumen_stream_interrupted_total\{side="client"\} (\d+)$/m.exec(page)?.[1] ?? 0);
}

/// Leaves a stream that its model server holds (held-N), and lets that go on once the gate knows.
export async function leave(stack, abort) {
  const before = await clientsGone(stack);
  abort.abort();
  await waitFor('the gate to see the client leave', async () => await clientsGone(stack) > before);
  await stack.modelServers[0].behave('');
}

const costComment = /^: lumen cost=(\S+) request=(\S+)$/m;

/// What a complete 200 says it cost: {request, cost}; null if it does not say.
export function toldCost({ headers, body }, stream) {
  if (!stream) return { request: headers['x-request-id'], cost: nano(headers['x-lumen-cost']) };
  const found = costComment.exec(body);
  return found && { request: found[2], cost: nano(found[1]) };
}

/// Coins as decimal text → nano-coins.
export function nano(text) {
  const [whole, decimals = ''] = text.replace('-', '').split('.');
  const value = BigInt(whole) * 1_000_000_000n + BigInt(decimals.padEnd(9, '0'));
  return text.startsWith('-') ? -value : value;
}

/// A generator of the same numbers for the same seed (mulberry32), 0 ≤ n < 1; a failing run prints its seed.
export function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
