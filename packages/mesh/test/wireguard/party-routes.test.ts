import { describe, expect, it } from 'vitest';
import type { Commands } from '../../src/wireguard/command.ts';
import { PartyRoutes } from '../../src/wireguard/party-routes.ts';

/** The routing table of a machine. */
class Table implements Commands {
  readonly routes = new Map<string, string>([
    ['default', 'eth0'],
    ['192.168.43.0/24', 'eth0'],
  ]);

  async run(_program: string, args: readonly string[]): ReturnType<Commands['run']> {
    const [operation = '', network = '', , device = '', , mtu] = args.slice(args.indexOf('route') + 1);
    if (operation === 'replace') this.routes.set(network, mtu === undefined ? device : `${device} ${mtu}`);
    const found = this.routes.get(network)?.split(' ')[0] === device;
    if (operation === 'delete' && !(found && this.routes.delete(network))) {
      return { code: 2, stdout: '', stderr: 'RTNETLINK answers: No such process' };
    }
    const listed = [...this.routes].map(([dst, text]) => ({ dst, dev: text.split(' ')[0] }));
    return { code: 0, stdout: JSON.stringify(listed), stderr: '' };
  }

  /** Routes go with their interface. */
  lose(device: string): void {
    for (const [network, text] of this.routes) if (text.startsWith(device)) this.routes.delete(network);
  }
}

const OWN = 'tp-0123456789';

function rig() {
  const table = new Table();
  const before = [...table.routes];
  return { table, before, routes: new PartyRoutes({ commands: table }, { interfaceName: OWN }) };
}

describe('routes of a party', () => {
  it('lead to accepted networks and end with them; other routes stay as they are (C14)', async () => {
    const { table, before, routes } = rig();
    expect(await routes.add('192.168.44.0/24')).toBeUndefined();
    expect(await routes.add('192.168.44.0/24')).toBeUndefined();
    // A part of a network of the machine is a longer prefix.
    expect(await routes.add('192.168.43.9/32')).toBeUndefined();
    expect(await routes.add('192.168.43.0/24')).toContain('through eth0, and that route stays');
    expect([routes.includes('192.168.44.7'), routes.includes('192.168.43.9'), routes.includes('192.168.43.7')]).toEqual(
      [true, true, false],
    );
    expect([...table.routes]).toEqual([...before, ['192.168.44.0/24', OWN], ['192.168.43.9/32', OWN]]);
    for (const network of ['192.168.44.0/24', '192.168.43.9/32', '192.168.43.0/24', 'never.made']) {
      await routes.remove(network);
    }
    expect([...table.routes]).toEqual(before);
  });

  it.each(['0.0.0.0/0', '127.0.0.0/8', 'fd00::/64', 'x'])('are not made to %s (C14)', async (network) => {
    const { table, before, routes } = rig();
    // The peer is reached all the same: a camera may be configured with such an address.
    expect(await routes.add(network)).toContain(`"${network}" is no network that can be offered or accepted`);
    await routes.remove(network);
    expect([...table.routes]).toEqual(before);
  });

  it('are made again with an interface that was made again, the largest packets too (C4, C14)', async () => {
    const { table, before, routes } = rig();
    await routes.add('192.168.44.0/24');
    await routes.setMtu('10.66.0.7', 1_280);
    await routes.setMtu('10.66.0.8', 1_280);
    await routes.setMtu('10.66.0.8', undefined);
    const made = [...table.routes];
    expect(made).toEqual([...before, ['192.168.44.0/24', OWN], ['10.66.0.7/32', `${OWN} 1280`]]);
    table.lose(OWN);
    await routes.restore();
    expect([...table.routes]).toEqual(made);
    table.lose(OWN);
    await routes.remove('192.168.44.0/24');
    await routes.setMtu('10.66.0.7', undefined);
    expect([...table.routes]).toEqual(before);
  });
});
