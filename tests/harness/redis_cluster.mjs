// A Redis Cluster for tests: real redis-server nodes on free ports, and what an operator does with them: move a slot as
// `redis-cli --cluster reshard` does, add a replica, lose a node. To an Instance it is its `redis`.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { checkout, freePort, makeServerDir, waitFor, writeServerFile } from './machine.mjs';
import { RedisLink } from './redis_link.mjs';
import { ServerProcess } from './server_process.mjs';

const SLOTS = 16384;
const MOST_REDIRECTIONS = 10;
const KEYLESS = new Set(['INFO', 'PING', 'TIME', 'CONFIG', 'DBSIZE', 'SCAN', 'CLUSTER', 'WAIT', 'FLUSHALL']);

/// CRC16 (XMODEM) of the hash tag, or of the whole key.
export function slotOf(key) {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key;
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % SLOTS;
}

/// A node that is frozen does not answer; the others are asked.
const withinASecond = (answer) => Promise.race([answer, new Promise((_, reject) => setTimeout(reject, 1000, new Error('no answer')))]);

export const slotOfBucket = (bucket) => slotOf(`{b${String(bucket).padStart(3, '0')}}`);

class Node extends ServerProcess {
  constructor(instance, name, port, busPort) {
    const dataDir = path.join(instance.stateDir, name);
    super({
      ...instance.processOptions(name),
      command: ['redis-server', path.join(instance.stateDir, 'redis.conf'), '--port', String(port), '--bind', '127.0.0.1',
        '--dir', dataDir, '--daemonize', 'no', '--cluster-enabled', 'yes', '--cluster-port', String(busPort),
        '--cluster-node-timeout', '2000', '--cluster-require-full-coverage', 'no', '--repl-diskless-sync-delay', '0',
        ...instance.redisOptions],
      ready: async () => {
        try {
          return (await this.ask('PING')) === 'PONG';
        } catch {
          return false;
        }
      },
    });
    Object.assign(this, { dataDir, port, busPort });
  }

  prepare() { makeServerDir(this.dataDir, 0o700); }

  ask(...words) {
    if (this.link === undefined || this.link.closed) this.link = new RedisLink({ host: '127.0.0.1', port: this.port });
    return this.link.command(...words);
  }

  async id() { return (this.nodeId ??= await this.ask('CLUSTER', 'MYID')); }
}

export class RedisCluster {
  name = 'redis';
  nodes = [];
  login = '';
  #instance;
  #owner = new Map();  ///< slot → port, as redirections said

  constructor(instance, masters) {
    this.#instance = instance;
    this.masters = masters;
  }

  /// `login`: `user:password@` of admind.
  get url() { return `redis+cluster://${this.login}${this.addresses.join(',')}`; }
  get addresses() { return this.nodes.map((node) => `127.0.0.1:${node.port}`); }

  async choosePorts() {
    for (let i = 0; i < this.masters; i++) await this.#newNode();
  }

  async #newNode() {
    const node = new Node(this.#instance, `redis${this.nodes.length}`, await freePort(), await freePort());
    this.nodes.push(node);
    return node;
  }

  prepare() {
    writeServerFile(path.join(this.#instance.stateDir, 'redis.conf'), readFileSync(path.join(checkout, 'packaging/redis.conf')));
    for (const node of this.nodes) node.prepare();
  }

  async start() {
    await Promise.all(this.nodes.map((node) => node.start()));
    const share = Math.ceil(SLOTS / this.masters);
    for (const [i, node] of this.nodes.entries())
      await node.ask('CLUSTER', 'ADDSLOTSRANGE', i * share, Math.min(SLOTS, (i + 1) * share) - 1);
    for (const node of this.nodes.slice(1)) await this.#introduce(node);
    await this.#agreed();
  }

  #introduce(node) { return node.ask('CLUSTER', 'MEET', '127.0.0.1', this.nodes[0].port, this.nodes[0].busPort); }

  #agreed() {
    return waitFor('the nodes of the cluster to know each other', async () => {
      const infos = await Promise.all(this.nodes.map((node) => node.ask('CLUSTER', 'INFO')));
      return infos.every((info) => info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${this.nodes.length}`));
    });
  }

  async stop() { await Promise.all(this.nodes.map((node) => node.stop())); }
  kill(signal) { for (const node of this.nodes) node.kill(signal); }
  close() { for (const node of this.nodes) node.link?.close(); }

  #nodeAt(port) { return this.nodes.find((node) => node.port === Number(port)); }

  /// As a client of a Cluster sends it; a node that is away is asked for no longer than the caller waits.
  async command(...words) {
    const key = KEYLESS.has(words[0]) ? undefined : String(words[/^EVAL/.test(words[0]) ? 3 : 1]);
    const slot = key === undefined ? undefined : slotOf(key);
    let node = this.#nodeAt(this.#owner.get(slot)) ?? this.nodes.find((candidate) => candidate.pid !== null);
    for (let i = 0; i < MOST_REDIRECTIONS; i++) {
      try {
        return await node.ask(...words);
      } catch (error) {
        const [kind, , address] = error.message.split(' ');
        if (/closed|ECONN/.test(error.message)) {
          this.#owner.delete(slot);
          node = this.nodes.find((candidate) => candidate.pid !== null && candidate !== node);
          continue;
        }
        if (kind !== 'MOVED' && kind !== 'ASK') throw error;
        node = this.#nodeAt(address.split(':').at(-1));
        if (kind === 'MOVED') this.#owner.set(slot, node.port);
        else await node.ask('ASKING');
      }
    }
    throw new Error(`${words[0]} ${key}: redirected too often`);
  }

  async ownerOf(slot) {
    for (const [first, last, [, port]] of await this.nodes.find((node) => node.pid !== null).ask('CLUSTER', 'SLOTS'))
      if (first <= slot && slot <= last) return this.#nodeAt(port);
    throw new Error(`nobody serves slot ${slot}`);
  }

  /// The masters that have slots, as the others see them.
  async withSlots() {
    const slots = await Promise.any(this.nodes.map((node) => withinASecond(node.ask('CLUSTER', 'SLOTS'))));
    return [...new Set(slots.map(([, , [, port]]) => this.#nodeAt(port)))];
  }

  /// Every master with slots has a replica that has all of it, and no node misses another one.
  inStep() {
    return waitFor('each master to have a replica in step', () => this.#isInStep().catch(() => false), 60, 100);
  }

  async #isInStep() {
    const masters = await this.withSlots();
    const ask = (...words) => Promise.all(this.nodes.map((node) => withinASecond(node.ask(...words))));
    const infos = await ask('INFO', 'replication');
    const inStep = infos.filter((info) => /role:slave/.test(info) && /master_link_status:up/.test(info));
    return masters.every((master) => /connected_slaves:[1-9]/.test(infos[this.nodes.indexOf(master)]))
      && masters.length + inStep.length === this.nodes.length
      && (await ask('CLUSTER', 'INFO')).every((state) => state.includes('cluster_state:ok'));
  }

  /// Ends moves of slots that broke off, as an operator does.
  async fix() {
    const [{ port }] = await this.withSlots();
    await promisify(execFile)('redis-cli', ['--cluster', 'fix', `127.0.0.1:${port}`, '--cluster-yes']).catch((error) => {
      throw new Error(`redis-cli --cluster fix: ${error.stdout}${error.stderr}`);
    });
  }

  /// `between`: awaited after each few keys, so that the slot is seen in every state between here and there. `first`:
  /// keys that go before all others, together.
  async moveSlot(slot, target, { between = () => {}, keysAtOnce = 2, first = [] } = {}) {
    const source = await this.ownerOf(slot);
    if (source === target) return;
    await target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await source.id());
    await source.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await target.id());
    const migrate = (keys) => source.ask('MIGRATE', '127.0.0.1', target.port, '', 0, 10000, 'KEYS', ...keys);
    if (first.length > 0) {
      await migrate(first);
      await between();
    }
    for (;;) {
      const keys = await source.link.commandBuffer('CLUSTER', 'GETKEYSINSLOT', slot, keysAtOnce);
      if (keys.length === 0) break;
      await migrate(keys);
      await between();
    }
    // The new owner first: so no moment has none.
    await target.ask('CLUSTER', 'SETSLOT', slot, 'NODE', await target.id());
    await source.ask('CLUSTER', 'SETSLOT', slot, 'NODE', await target.id());
    for (const node of this.nodes.filter((other) => other !== source && other !== target && other.pid !== null))
      if (/role:master/.test(await node.ask('INFO', 'replication'))) await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', await target.id());
  }

  /// A replica of `master`, in step with it.
  async addReplica(master) {
    const node = await this.#newNode();
    node.prepare();
    await node.start();
    await this.#introduce(node);
    await this.#agreed();
    await waitFor('the new node to know its master', async () => {
      try {
        await node.ask('CLUSTER', 'REPLICATE', await master.id());
        return true;
      } catch {
        return false;
      }
    });
    node.replicates = master;
    await waitFor('the replica to be in step', async () => /master_link_status:up/.test(await node.ask('INFO', 'replication')));
    return node;
  }
}
