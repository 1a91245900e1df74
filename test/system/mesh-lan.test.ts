import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PYTHON } from './support/python.ts';
import { type LabHost, says } from './support/lab.ts';
import { WireGuardLab, wireGuardAvailable } from './support/wireguard-lab.ts';

/** Prints each datagram as `text from ADDRESS:PORT to ADDRESS`. Argument: port. */
const LISTEN = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 8, 1)
s.bind(('', int(sys.argv[1])))
print('listening', flush=True)
while True:
    data, info, _, source = s.recvmsg(2000, 256)
    print(data.decode(), 'from', '%s:%d' % source, 'to', socket.inet_ntoa(info[0][2][8:12]), flush=True)
`;

/** Arguments: destination, port, source port, text, how often. */
const SEND = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind(('', int(sys.argv[3])))
for n in range(int(sys.argv[5])):
    s.sendto((sys.argv[4] + str(n)).encode(), (sys.argv[1], int(sys.argv[2])))
    time.sleep(0.06 if int(sys.argv[5]) < 10 else 0)
`;

describe.skipIf(!wireGuardAvailable())('programs of a party', () => {
  let lab: WireGuardLab;
  beforeEach(() => {
    lab = new WireGuardLab();
  });
  afterEach(() => lab.close());

  async function up(): Promise<void> {
    await Promise.all(lab.nodes.map((node) => says(lab.start(node), 'up', 60_000)));
    const [a, b] = lab.nodes;
    expect((await a.host.run('ping', ['-c', '1', '-W', '5', b.options.address])).stdout).toContain('1 received');
  }

  async function listen(host: LabHost, port: number): Promise<{ lines(): string[] }> {
    const child = host.spawn(PYTHON, ['-c', LISTEN, String(port)]);
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
    });
    await says(child, 'listening');
    return { lines: () => text.split('\n').filter((line) => line.includes(' from ')) };
  }

  const send = (host: LabHost, to: string, port: number, text: string, times = 1) =>
    host.run(PYTHON, ['-c', SEND, to, String(port), '4444', text, String(times)]);

  it("hear each other's broadcasts, mDNS and SSDP with the right source, once", async () => {
    const [a, b] = lab.nodes;
    a.options.lan = b.options.lan = true;
    await up();
    // Without a route to anywhere, programs could not send broadcasts at all.
    await a.host.run('ip', ['route', 'add', 'default', 'dev', 'eth0']);
    const game = await listen(b.host, 27_015);
    const mdns = await listen(b.host, 5_353);
    const ssdp = await listen(b.host, 1_900);
    const own = await listen(a.host, 27_015);
    await send(a.host, '10.66.255.255', 27_015, 'game');
    await send(a.host, '255.255.255.255', 27_015, 'wide');
    await send(a.host, '224.0.0.251', 5_353, 'mdns');
    await send(a.host, '239.255.255.250', 1_900, 'ssdp');
    await send(b.host, '10.66.255.255', 27_015, 'back');
    await eventually(() => own.lines().includes('back0 from 10.66.0.3:4444 to 10.66.255.255'));
    const wide = game.lines().filter((line) => line.startsWith('wide') && line.includes('10.66.'));
    expect(game.lines()).toContain('game0 from 10.66.0.2:4444 to 10.66.255.255');
    expect(wide).toEqual(['wide0 from 10.66.0.2:4444 to 255.255.255.255']);
    expect(mdns.lines()).toContain('mdns0 from 10.66.0.2:4444 to 224.0.0.251');
    expect(ssdp.lines()).toContain('ssdp0 from 10.66.0.2:4444 to 239.255.255.250');
    expect(game.lines().filter((line) => line.startsWith('game'))).toHaveLength(1);
  });

  it('cannot flood the members with broadcasts', async () => {
    const [a, b] = lab.nodes;
    a.options.lan = b.options.lan = true;
    await up();
    const game = await listen(b.host, 27_015);
    // Different lengths, so that none is taken for a copy of the previous one.
    await send(a.host, '10.66.255.255', 27_015, 'x'.repeat(50), 3_000);
    await eventually(() => game.lines().length > 0);
    expect(game.lines().length).toBeLessThan(200);
  });

  it('hear no broadcasts when the party has them switched off', async () => {
    const [a, b] = lab.nodes;
    await up();
    const game = await listen(b.host, 27_015);
    await send(a.host, '10.66.255.255', 27_015, 'game');
    await send(a.host, b.options.address, 27_015, 'direct');
    await eventually(() => game.lines().length > 0);
    expect(game.lines()).toEqual(['direct0 from 10.66.0.2:4444 to 10.66.0.3']);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'reach a device beside a gateway, which cannot reach them, and nothing stays after %s (C14)',
    async (signal) => {
      const [a, b] = lab.nodes;
      b.options.offers = ['192.168.43.0/24'];
      b.options.noRoute = true;
      await b.host.run('ip', ['link', 'add', 'br0', 'type', 'bridge']);
      await b.host.run('ip', ['address', 'add', '192.168.43.1/24', 'dev', 'br0']);
      await b.host.run('ip', ['link', 'set', 'br0', 'up']);
      // The device has no route to anywhere.
      const device = lab.lab.attach('cam', b.host.namespace, '192.168.43.9', undefined);
      const forwarding = () => b.host.run('sysctl', ['-a', '--pattern', 'net.ipv4.conf.*.forwarding']);
      const before = await forwarding();
      const children = lab.nodes.map((node) => lab.start(node));
      await Promise.all(children.map((child) => says(child, 'up', 60_000)));
      const ping = await a.host.run('ping', ['-c', '2', '-i', '0.2', '-W', '5', '192.168.43.9']);
      expect(ping.stdout).toContain('2 packets transmitted, 2 received');
      await device.run('ip', ['route', 'add', '10.66.0.0/16', 'via', '192.168.43.1']);
      expect((await device.run('ping', ['-c', '1', '-W', '1', '10.66.0.2'])).code).not.toBe(0);
      const ended = children.map((child) => once(child, 'exit'));
      for (const child of children) child.kill(signal);
      await Promise.all(ended);
      // The kernel removes what nft owns when nft has ended, which is after the program.
      await expect.poll(async () => (await b.host.run('nft', ['list', 'tables'])).stdout).toBe('');
      const isTunnel = (line: string) => line.includes('.tp-');
      await expect
        .poll(async () => (await forwarding()).stdout.split('\n').filter((line) => !isTunnel(line)))
        .toEqual(before.stdout.split('\n'));
      expect((await forwarding()).stdout.split('\n').filter((line) => isTunnel(line) && line.endsWith('1'))).toEqual(
        [],
      );
    },
  );
});

/** Waits until `condition` holds; vitest's own limit ends the test. */
async function eventually(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 200 && !condition(); turn++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}
