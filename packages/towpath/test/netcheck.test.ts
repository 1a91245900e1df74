import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StunServer } from '@towpath/stun/server';
import type { NetcheckReport } from '@towpath/netcheck';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components, CommandLine } from './command-line.ts';

const HERE = '127.0.0.1';

describe('netcheck', () => {
  let commandLine: CommandLine;
  beforeEach(() => {
    commandLine = new CommandLine();
  });
  afterEach(() => commandLine[Symbol.dispose]());

  test('prints its report as JSON and as text, with servers on this machine (C3)', async () => {
    const place = { address: HERE, port: 0, alternate: { address: '127.0.0.2', port: 0 } };
    await using server = await StunServer.listen(components, place);
    const portal = createServer((_request, response) => response.writeHead(204).end());
    await new Promise<void>((resolve) => portal.listen(0, HERE, resolve));
    const url = `http://${HERE}:${(portal.address() as AddressInfo).port}/generate_204`;
    const args = ['netcheck', '--server', `localhost:${server.local.port}`, '--gateway', HERE, '--portal', url];
    const [json, words] = await Promise.all([commandLine.run([...args, '--json']), commandLine.run(args)]);
    portal.close();
    expect([json.code, words.code, json.err]).toEqual([0, 0, '']);
    const report: NetcheckReport = JSON.parse(json.out[0]!);
    expect(report).toMatchObject({
      transport: 'udp',
      kind: 'unknown',
      meaning: expect.stringContaining('The server is on this machine'),
      reachability: [],
      gateway: HERE,
      portal: { state: 'open' },
      servers: [{ host: 'localhost', role: 'stun', best: { transport: 'udp', mapped: { address: HERE } } }],
    });
    expect(words.out).toContain('Connecting');
    expect(words.out.join('\n')).toMatch(/NAT +unknown/);
  });

  test.each([
    [['--server', 'http://x'], 'HOST:PORT'],
    [['--server', '1.2.3.4:70000'], 'HOST:PORT'],
    [['--gateway', 'router'], 'not an IPv4 address'],
    [['--portal', 'https://example.org/'], 'plain HTTP'],
    [['--tls-port', '0'], 'whole number'],
  ])('reports the error of %j', async (args, text) => {
    const { code, err } = await commandLine.run(['netcheck', ...args]);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
  });

  test('a missing file of certificate authorities is named in the error', async () => {
    const { code, err } = await commandLine.run(['netcheck', '--ca', '/does/not/exist']);
    expect([code, err]).toEqual([5, expect.stringContaining('/does/not/exist')]);
  });
});
