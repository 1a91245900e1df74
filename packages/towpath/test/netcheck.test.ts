import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StunServer } from '@towpath/stun';
import type { NetcheckReport } from '@towpath/netcheck';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lookUp } from '../src/commands/netcheck/look-up.ts';
import { components, Desk } from './command-line.ts';

const HERE = '127.0.0.1';

describe('netcheck', { timeout: 15_000 }, () => {
  let desk: Desk;
  beforeEach(() => {
    desk = new Desk();
  });
  afterEach(() => desk[Symbol.dispose]());

  test('reports as JSON and in words what servers on this machine say (C3)', async () => {
    const place = { address: HERE, port: 0, alternate: { address: '127.0.0.2', port: 0 } };
    await using server = await StunServer.listen(components, place);
    const portal = createServer((_request, response) => response.writeHead(204).end());
    await new Promise<void>((resolve) => portal.listen(0, HERE, resolve));
    const url = `http://${HERE}:${(portal.address() as AddressInfo).port}/generate_204`;
    const args = ['netcheck', '--server', `localhost:${server.local.port}`, '--gateway', HERE, '--portal', url];
    const [json, words] = await Promise.all([desk.run([...args, '--json']), desk.run(args)]);
    portal.close();
    expect([json.code, words.code, json.err]).toEqual([0, 0, '']);
    const report: NetcheckReport = JSON.parse(json.out[0]!);
    expect(report).toMatchObject({
      transport: 'udp',
      kind: 'no NAT',
      gateway: HERE,
      portal: { state: 'open' },
      servers: [{ host: 'localhost', role: 'stun', best: { transport: 'udp', mapped: { address: HERE } } }],
    });
    expect(report.elapsedMs).toBeLessThan(3_000);
    expect(words.out).toContain('Connecting');
    expect(words.out.join('\n')).toMatch(/kind +no NAT/);
  });

  test.each([
    [['--server', 'http://x'], 'HOST:PORT'],
    [['--server', '1.2.3.4:70000'], 'HOST:PORT'],
    [['--gateway', 'router'], 'no IPv4 address'],
    [['--portal', 'https://example.org/'], 'plain HTTP'],
    [['--tls-port', '0'], 'whole number'],
  ])('says what is wrong with %j', async (args, text) => {
    const { code, err } = await desk.run(['netcheck', ...args]);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
  });

  test('a file of authorities that is not there is named', async () => {
    const { code, err } = await desk.run(['netcheck', '--ca', '/does/not/exist']);
    expect([code, err]).toEqual([5, expect.stringContaining('/does/not/exist')]);
  });

  test('local names are looked up without name servers', async () => {
    expect(await lookUp('localhost', new AbortController().signal)).toContain(HERE);
  });
});
