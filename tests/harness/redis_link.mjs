// A small Redis client over a unix socket: commands in order, replies as strings, numbers (BigInt beyond 2^53), lists
// or null; `…Buffer` replies are not decoded.
import { createConnection } from 'node:net';

const CRLF = Buffer.from('\r\n');

export class RedisError extends Error {}

/// One reply at `at`, or null if its end has not come yet. [value, next position]
function parseReply(bytes, at) {
  const end = bytes.indexOf(CRLF, at);
  if (end < 0) return null;
  const line = bytes.toString('latin1', at + 1, end);
  const next = end + 2;
  switch (String.fromCharCode(bytes[at])) {
    case '+': return [line, next];
    case '-': return [new RedisError(line), next];
    case ':': return [Number.isSafeInteger(Number(line)) ? Number(line) : BigInt(line), next];
    case '$': {
      const length = Number(line);
      if (length < 0) return [null, next];
      if (bytes.length < next + length + 2) return null;
      return [bytes.subarray(next, next + length), next + length + 2];
    }
    case '*': {
      const list = Number(line) < 0 ? null : [];
      let position = next;
      for (let i = 0; i < Number(line); i++) {
        const element = parseReply(bytes, position);
        if (element === null) return null;
        list.push(element[0]);
        position = element[1];
      }
      return [list, position];
    }
    default: throw new RedisError(`not RESP: ${bytes.toString('latin1', at, at + 40)}`);
  }
}

function decode(value) {
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return Array.isArray(value) ? value.map(decode) : value;
}

export class RedisLink {
  #socket;
  #waiting = [];
  #bytes = Buffer.alloc(0);

  constructor(socketPath) {
    this.#socket = createConnection(socketPath);
    this.#socket.on('data', (chunk) => this.#onData(chunk));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new RedisError('connection to Redis closed')));
    this.#socket.unref();
  }

  #onData(chunk) {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let at = 0;
    while (at < this.#bytes.length) {
      const reply = parseReply(this.#bytes, at);
      if (reply === null) break;
      const [value, next] = reply;
      at = next;
      const { resolve, reject, raw } = this.#waiting.shift();
      if (value instanceof RedisError) reject(value);
      else resolve(raw ? value : decode(value));
    }
    this.#bytes = this.#bytes.subarray(at);
    // A link that waits for nothing does not keep the process alive.
    if (this.#waiting.length === 0) this.#socket.unref();
  }

  #fail(error) {
    this.closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #send(args, raw) {
    if (this.closed) return Promise.reject(new RedisError('connection to Redis closed'));
    const parts = [Buffer.from(`*${args.length}\r\n`)];
    for (const arg of args) {
      const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
      parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, CRLF);
    }
    this.#socket.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, raw });
      this.#socket.write(Buffer.concat(parts));
    });
  }

  command(...args) { return this.#send(args, false); }
  commandBuffer(...args) { return this.#send(args, true); }

  close() { this.#socket.destroy(); }
}
