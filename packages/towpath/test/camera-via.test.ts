import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { emulatedCamera } from './daemon-rig.ts';

/** A daemon that knows one member, `pi`, and routes 127.0.0.1 through it. */
async function daemonWith(
  commandLine: CommandLine,
  status: string,
  network = '127.0.0.1/32',
): Promise<AsyncDisposable> {
  const folder = commandLine.file('config');
  mkdirSync(folder, { recursive: true });
  const peer = { id: 'a'.repeat(32), name: 'pi', status, reason: { code: 'echo-lost', text: 'echoes are lost' } };
  const answer = { parties: [{ peers: [peer], accepts: [{ peer: 'pi', network }] }], cameras: [] };
  const server = createServer((_request, response) => response.end(JSON.stringify(answer)));
  await new Promise<void>((resolve) => {
    server.listen(join(folder, 'towpath.sock'), resolve);
  });
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe('a camera through a member (C14)', () => {
  test('is reached by its address alone when the member is', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await daemonWith(commandLine, 'connected');
    const { camera, flags } = await emulatedCamera();
    const info = await commandLine.run(['camera', 'info', '127.0.0.1', '--via', 'pi', '--json', ...flags]);
    expect([info.code, info.err]).toEqual([0, '']);
    await camera.close();
  });

  test.each([
    ['a member that is not reached', 'failed', '127.0.0.1', '127.0.0.1/32', 3, 'towpath why pi'],
    [
      'an address that is not routed there',
      'connected',
      '192.0.2.1',
      '127.0.0.1/32',
      2,
      'towpath camera add NAME 192.0.2.1 --via pi',
    ],
    ['a UID', 'connected', 'LBCS-000000-CCCJJ', '127.0.0.1/32', 2, 'IP address'],
  ])('%s is said at once, with what to do', async (_what, status, host, network, code, next) => {
    using commandLine = new CommandLine();
    await using _daemon = await daemonWith(commandLine, status, network);
    const info = await commandLine.run(['camera', 'info', host, '--via', 'pi']);
    expect([info.code, info.err]).toEqual([code, expect.stringContaining(next)]);
  });

  test('needs a daemon, and a member that exists', async () => {
    using commandLine = new CommandLine();
    const without = await commandLine.run(['camera', 'media', '127.0.0.1', '--via', 'pi']);
    expect([without.code, without.err]).toEqual([5, expect.stringContaining('towpath up is not running')]);
    await using _daemon = await daemonWith(commandLine, 'connected');
    const unknown = await commandLine.run(['camera', 'media', '127.0.0.1', '--via', 'nobody']);
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('Members: pi')]);
  });
});
