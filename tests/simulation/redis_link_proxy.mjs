// The way from the gates to Redis, as a thing that can break: a unix socket that leads to another one, cut or slow on
// demand. What has been sent before a cut may or may not have arrived, as on a real wire.
import { chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';

export class RedisLinkProxy {
  #server;
  #open = new Set();
  #cut = false;
  #delayMs = 0;

  constructor(socket, target) {
    Object.assign(this, { socket, target });
  }

  async start() {
    rmSync(this.socket, { force: true });
    this.#server = createServer((client) => this.#join(client));
    await new Promise((resolve) => this.#server.listen(this.socket, resolve));
    chmodSync(this.socket, 0o777);  // it lies in the servers' own 0700 directory
  }

  #join(client) {
    if (this.#cut) {
      client.destroy();
      return;
    }
    const server = createConnection(this.target);
    for (const [from, to] of [[client, server], [server, client]]) {
      this.#open.add(from);
      from.on('data', (bytes) => {
        if (this.#cut) return;
        if (this.#delayMs === 0) to.write(bytes);
        else setTimeout(() => to.writable && to.write(bytes), this.#delayMs);
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.#open.delete(from);
        to.destroy();
      });
    }
  }

  /// Nothing passes, in either direction; connections stay open and silent, as when a cable is pulled.
  cut() { this.#cut = true; }
  /// Passes again; what was silent is closed.
  mend() {
    this.#cut = false;
    this.#delayMs = 0;
    for (const socket of this.#open) socket.destroy();
  }
  /// Every message takes this much longer. Order is kept: timers of one length fire in order.
  slow(ms) { this.#delayMs = ms; }

  async stop() {
    this.mend();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
