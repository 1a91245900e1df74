import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../packages/net/test/free-port.ts';
import { HERE } from './loopback.ts';
import { Program } from './program.ts';
import { sleep } from './relay-load.ts';

const LOOK_EVERY_MS = 50;

/** A NATS server with JetStream on loopback, its files in a temporary folder. */
export class NatsServer implements AsyncDisposable {
  readonly address: string;
  readonly #program: Program;
  readonly #folder: string;

  private constructor(address: string, program: Program, folder: string) {
    this.address = address;
    this.#program = program;
    this.#folder = folder;
  }

  static async start(): Promise<NatsServer> {
    const folder = await mkdtemp(join(tmpdir(), 'towpath-nats-bench-'));
    const port = await freePort();
    const program = await Program.start('nats-server', ['-js', '-a', HERE, '-p', String(port), '-sd', folder]);
    program.ignoreOutput();
    while (!(await answers(port))) {
      if (!program.running) throw await program.failure();
      await sleep(LOOK_EVERY_MS);
    }
    return new NatsServer(`${HERE}:${port}`, program, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HERE, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
