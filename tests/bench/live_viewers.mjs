// Pages that look at their wallets: ten thousand streams of /api/v1/me/events, each of an account of its own, as raw
// sockets, so that this side costs little.
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { chatBody, median } from './measure.mjs';

const FIRST_ACCOUNT = 1_000_000;  // far from those of the book
const AT_ONCE = 200;

const accountKey = (account) => `{b${String(account % 256).padStart(3, '0')}}:a:${account}`;
const sessionKey = (cookie) => `lumen:session:${createHash('sha256').update(cookie).digest('hex')}`;

async function inBatches(items, act) {
  for (let i = 0; i < items.length; i += AT_ONCE) await Promise.all(items.slice(i, i + AT_ONCE).map(act));
}

async function session(stack, user, account) {
  const cookie = randomBytes(32).toString('hex');
  await stack.redis('HSET', sessionKey(cookie), 'user', String(user), 'account', String(account), 'created', String(Date.now()),
    'expires', String(Date.now() + 3_600_000));
  return cookie;
}

/// Wallets and sessions that only Redis knows; remove() takes the wallets away again.
export async function idleAccounts(stack, count) {
  const accounts = Array.from({ length: count }, (_, i) => FIRST_ACCOUNT + i);
  const cookies = [];
  await inBatches(accounts, async (account) => {
    await stack.redis('HSET', accountKey(account), 'bal', '5000000000', 'held', '0', 'lim', '5000000000', 'rate', '0', 'unl', '0', 'st', '1');
    cookies.push(await session(stack, account, account));
  });
  return { cookies, remove: () => inBatches(accounts, (account) => stack.redis('DEL', accountKey(account))) };
}

/// One stream, open once its first event is there: {socket, onText}.
function open(url, cookie) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname);
    const stream = { socket, onText: null };
    let head = '';
    socket.setEncoding('latin1').on('error', reject).on('close', () => reject(new Error(`a stream was closed: ${head.slice(0, 200)}`)));
    socket.on('data', (text) => {
      if (stream.onText) return stream.onText(text);
      head += text;
      if (!head.includes('event: balance')) return undefined;
      stream.onText = () => {};
      return resolve(stream);
    });
    socket.write(`GET /api/v1/me/events HTTP/1.1\r\nHost: lumen\r\nAccept: text/event-stream\r\nCookie: lumen_session=${cookie}\r\n\r\n`);
  });
}

export async function openViewers(url, cookies) {
  const streams = [];
  await inBatches(cookies, async (cookie) => { streams.push(await open(url, cookie)); });
  return { close: () => { for (const { socket } of streams) { socket.removeAllListeners(); socket.destroy(); } } };
}

/// From the end of an answer until the page knows what it cost: milliseconds, the median of `rounds`.
export async function timeToShow(stack, { user, account, key }, rounds) {
  const stream = await open(stack.url, await session(stack, user, account));
  let text = '';
  stream.onText = (part) => { text += part; };
  const taken = [];
  for (let i = 1; i <= rounds; i++) {
    await sleep(600);  // not within the four a second
    text = '';
    const response = await stack.fetch('/v1/chat/completions', { key, method: 'POST', body: chatBody, headers: { 'content-type': 'application/json' } });
    await response.text();
    const begin = performance.now();
    while (!text.includes(`"requests":${i},`)) {
      if (performance.now() - begin > 20_000) throw new Error('a settled request does not show');
      await sleep(1);
    }
    taken.push(performance.now() - begin);
  }
  stream.socket.removeAllListeners();
  stream.socket.destroy();
  return median(taken);
}
