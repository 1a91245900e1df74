import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UapiControl } from '../../src/wireguard/uapi-control.ts';

const GET = 'get=1\n\n';

/** A UAPI socket that answers as it is told. */
class FakeUapi {
  readonly path: string;
  readonly requests: string[] = [];
  readonly connections: Socket[] = [];
  answer: (request: string, connection: Socket) => void = (_request, connection) => {
    connection.write(`listen_port=${51_820 + this.requests.length}\nerrno=0\n\n`);
  };
  readonly #server: Server;
  readonly #folder = mkdtempSync(join(tmpdir(), 'towpath-uapi-'));

  constructor() {
    this.path = join(this.#folder, 'wg.sock');
    this.#server = createServer((connection) => {
      this.connections.push(connection);
      connection.on('error', () => {});
      connection.on('data', (data) => {
        this.requests.push(String(data));
        this.answer(String(data), connection);
      });
    });
  }

  async open(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
    rmSync(this.#folder, { recursive: true });
  }
}

let uapi: FakeUapi;
let control: UapiControl;

beforeEach(() => {
  uapi = new FakeUapi();
  control = new UapiControl(uapi.path);
});

afterEach(() => uapi.close());

describe('UapiControl', () => {
  it('asks one thing after the other on one connection, and gives each its own answer', async () => {
    await uapi.open();
    const ports = await Promise.all([control.read(), control.read(), control.read()]);
    expect(ports.map(({ listenPort }) => listenPort)).toEqual([51_821, 51_822, 51_823]);
    await control.configure({ listenPort: 7 });
    expect(uapi.requests).toEqual([GET, GET, GET, 'set=1\nlisten_port=7\n\n']);
    expect(uapi.connections).toHaveLength(1);
  });

  it('reads an answer whose empty line comes later', async () => {
    await uapi.open();
    uapi.answer = (_request, connection) => {
      connection.write('listen_port=9\nerrno=0\n');
      setImmediate(() => connection.write('\n'));
    };
    expect((await control.read()).listenPort).toBe(9);
    expect((await control.read()).listenPort).toBe(9);
  });

  it('connects again when the connection has ended, or ends instead of an answer', async () => {
    await uapi.open();
    await control.read();
    const [first] = uapi.connections;
    first!.destroy();
    await once(first!, 'close');
    expect((await control.read()).listenPort).toBe(51_822);
    const { answer } = uapi;
    uapi.answer = (request, connection) => {
      if (connection === uapi.connections[1]) connection.destroy();
      else answer(request, connection);
    };
    expect((await control.read()).listenPort).toBe(51_824);
    expect(uapi.connections).toHaveLength(3);
  });

  it('says why a change was refused, and uses another connection for the next', async () => {
    await uapi.open();
    const { answer } = uapi;
    uapi.answer = (_request, connection) => connection.write('errno=-22\n\n');
    await expect(control.configure({ listenPort: 7 })).rejects.toMatchObject({
      code: 'wireguard-failed',
      message: expect.stringContaining('errno 22'),
    });
    uapi.answer = answer;
    expect((await control.read()).listenPort).toBe(51_822);
    expect(uapi.connections).toHaveLength(2);
  });

  it('ends what is asked when the signal aborts, and what waits behind it goes on', async () => {
    await uapi.open();
    const { answer } = uapi;
    const abort = new AbortController();
    const reason = new Error('enough');
    uapi.answer = () => abort.abort(reason);
    const [first, second] = [control.read(abort.signal), control.read()];
    await expect(first).rejects.toBe(reason);
    uapi.answer = answer;
    expect((await second).listenPort).toBe(51_822);
  });

  it('says that nobody answers', async () => {
    await expect(control.read()).rejects.toMatchObject({ code: 'wireguard-failed' });
    await expect(control.read()).rejects.toThrow(/does not answer on .*ENOENT/);
  });
});
