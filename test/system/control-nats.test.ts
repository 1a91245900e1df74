import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NatsStore } from '../../packages/control/src/store/nats-store.ts';
import { storeSuite, wallClock } from '../../packages/control/test/store-suite.ts';

const clock = new SystemClock();

/** A NATS server with JetStream on loopback, in a temporary folder. */
export class NatsServer {
  readonly port: number;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#args = args;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.#process = spawn('nats-server', ['-js', '-a', '127.0.0.1', '-p', `${this.port}`, ...this.#args], {
      stdio: 'ignore',
    });
    for (let tries = 0; !(await answers(this.port)); tries++) {
      if (tries > 100) throw new Error(`nats-server does not listen on ${this.address}`);
      await clock.sleep(50);
    }
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await gone;
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

let folder: string;
let single: NatsServer;

beforeAll(async () => {
  execFileSync('nats-server', ['--version']);
  folder = await mkdtemp(join(tmpdir(), 'towpath-nats-'));
  single = new NatsServer(await freePort(), ['-sd', join(folder, 'single')]);
  await single.start();
});

afterAll(async () => {
  await single.kill();
  await rm(folder, { recursive: true, force: true });
});

let prefixes = 0;
let prefix = '';
storeSuite('NATS', {
  open: (time) => {
    prefix = `suite-${++prefixes}`;
    return NatsStore.connect({ clock: wallClock(time) }, { servers: [single.address], prefix });
  },
  openSecond: (_, time) => NatsStore.connect({ clock: wallClock(time) }, { servers: [single.address], prefix }),
});

describe('NATS store', () => {
  test('says what to look at when no server answers', async () => {
    const port = await freePort();
    await expect(
      NatsStore.connect({ clock }, { servers: [`127.0.0.1:${port}`], timeoutMs: 500 }),
    ).rejects.toMatchObject({ code: 'store-failed', message: expect.stringContaining('is JetStream on') });
  });
});
