// A page's live view as a browser would hold it: a session's cookie, an EventSource without its reconnecting.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { waitFor } from '../harness/machine.mjs';

export const sessionKey = (cookie) => `lumen:session:${createHash('sha256').update(cookie).digest('hex')}`;

/// A session as admind begins one; the cookie's value.
export async function signIn(stack, { user, account, lifeMs = 3_600_000 }) {
  const cookie = randomBytes(32).toString('hex');
  const now = Date.now();
  await stack.redis('HSET', sessionKey(cookie), 'user', String(user), 'account', String(account), 'created', String(now),
    'expires', String(now + lifeMs), 'used', String(now));
  return cookie;
}

/// One request to /api/v1/me/events: {status, headers, body} once its header is there; a stream goes on.
export class LivePage {
  events = [];     // {event, id, data, at} in order; data parsed
  comments = 0;
  ended = false;   // properly, by its last chunk
  broken = false;

  static async open(url, { cookie, headers = {}, method = 'GET' } = {}) {
    const page = new LivePage();
    await page.#begin(new URL('/api/v1/me/events', url), {
      method, agent: false, headers: { ...(cookie ? { cookie: `theme=dark; lumen_session=${cookie}` } : {}), ...headers },
    });
    return page;
  }

  #begin(target, options) {
    return new Promise((resolve, reject) => {
      this.request = http.request(target, options, (response) => {
        this.status = response.statusCode;
        this.headers = response.headers;
        response.setEncoding('utf8');
        let text = '';
        response.on('data', (part) => {
          text += part;
          if (this.status !== 200) return;
          const blocks = text.split('\n\n');
          text = blocks.pop();
          for (const block of blocks) this.#take(block);
        });
        response.on('error', () => { this.broken = true; });
        response.on('close', () => {
          this.ended = response.complete;
          this.body = text;
          if (this.status !== 200) resolve();
        });
        if (this.status === 200) resolve();
      });
      this.request.on('error', (error) => (this.status ? (this.broken = true) : reject(error)));
      this.request.end();
    });
  }

  #take(block) {
    const event = { event: 'message', at: Date.now() };
    for (const line of block.split('\n')) {
      if (line.startsWith(':')) this.comments += 1;
      const [, field, value] = /^(event|id|retry|data): (.*)$/.exec(line) ?? [];
      if (field) event[field] = value;
    }
    if (event.data === undefined) return;
    this.events.push({ ...event, data: JSON.parse(event.data) });
  }

  /// The first event from `from` on that `accepts` says is the one.
  async next(event, accepts = () => true, from = 0) {
    return waitFor(`a ${event} event; there were ${this.events.length}`,
      () => this.events.slice(from).find((e) => e.event === event && accepts(e.data)));
  }

  untilEnded() { return waitFor('the stream to end', () => this.ended || this.broken); }
  close() { this.request.destroy(); }
}
