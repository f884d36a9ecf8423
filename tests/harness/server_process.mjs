// One server as a process: started with its log and pid file, awaited until it is ready, stopped without ever hitting
// a process that merely got its number.
import { spawn } from 'node:child_process';
import { chownSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { asServerUser, serverEnvironment, serverUser, tail, waitFor } from './machine.mjs';

const READY_SECONDS = 60;
const STOP_SECONDS = 15;

/// When a process began, in clock ticks since boot; null if there is none (a zombie is none).
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : fields[19];
  } catch {
    return null;
  }
}

const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/// Pid of the process that wrote itself down there, or null. A file that outlived its process (or a reboot) names nobody.
export function runningPid(pidFile) {
  if (!existsSync(pidFile)) return null;
  const [pid, began, boot] = readFileSync(pidFile, 'utf8').trim().split(' ');
  return boot === bootId && began !== undefined && startTime(pid) === began ? Number(pid) : null;
}

export class ServerProcess {
  /// `command`: argument list, or a function that returns one, asked at each start.
  /// `ready`: async, true once the server does its work.
  /// `lifetime`: 'ours' = ends when this process does; 'own' = outlives it and its terminal.
  constructor({ name, stateDir, command, env = {}, ready, lifetime, stopSignal = 'SIGTERM', deathSignal = 'TERM' }) {
    Object.assign(this, { name, command, env, ready, lifetime, stopSignal, deathSignal });
    this.pidFile = path.join(stateDir, 'run', `${name}.pid`);
    this.logFile = path.join(stateDir, 'log', `${name}.log`);
    mkdirSync(path.dirname(this.pidFile), { recursive: true });
    mkdirSync(path.dirname(this.logFile), { recursive: true });
  }

  get pid() { return runningPid(this.pidFile); }

  /// Starts it unless it runs, and waits until it is ready.
  async start() {
    if (this.pid === null) this.#spawn();
    await this.waitUntilReady();
  }

  #spawn() {
    const log = openSync(this.logFile, 'a');
    if (process.getuid() === 0) chownSync(this.logFile, serverUser.uid, serverUser.gid);
    const command = typeof this.command === 'function' ? this.command() : this.command;
    const outlives = this.lifetime === 'own';
    const [program, ...args] = asServerUser(command, outlives ? undefined : this.deathSignal);
    const child = spawn(program, args, {
      cwd: '/',
      detached: outlives,
      env: { ...serverEnvironment, ...this.env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    child.on('error', (error) => {
      this.spawnError = error;
    });
    if (child.pid !== undefined) writeFileSync(this.pidFile, `${child.pid} ${startTime(child.pid)} ${bootId}\n`);
    child.unref();
    this.child = child;
  }

  async waitUntilReady() {
    try {
      await waitFor(`${this.name} to be ready`, async () => {
        if (this.spawnError) throw this.spawnError;
        if (this.pid === null) throw new Error(`${this.name} ended while it was starting`);
        return this.ready();
      }, READY_SECONDS);
    } catch (error) {
      throw new Error(`${error.message}\nThe end of ${this.logFile}:\n${tail(this.logFile)}`);
    }
  }

  /// Sends a signal; false if it does not run.
  kill(signal = 'SIGKILL') {
    const { pid } = this;
    if (pid === null) return false;
    process.kill(pid, signal);
    return true;
  }

  /// Waits until it is gone.
  async waitUntilGone(seconds = STOP_SECONDS) {
    // Also until it is no zombie any more: its lock files still name a process then.
    const reaped = () => !this.child || this.child.exitCode !== null || this.child.signalCode !== null;
    await waitFor(`${this.name} to end`, () => this.pid === null && reaped(), seconds);
    rmSync(this.pidFile, { force: true });
  }

  /// Stops it in good order; after a while, by force.
  async stop() {
    if (!this.kill(this.stopSignal)) return;
    try {
      await this.waitUntilGone();
    } catch {
      this.kill('SIGKILL');
      await this.waitUntilGone();
    }
  }
}
