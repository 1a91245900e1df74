import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAT_KINDS } from './support/lab.ts';
import { type GridMember, MeshGrid } from './support/mesh-grid.ts';
import { Disturbances, eventually, Pings, pause, Transfer } from './support/survival.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

describe.skipIf(!wireGuardAvailable())('a member with two uplinks, each with a routing rule for its address', () => {
  let grid: MeshGrid;
  let a: GridMember;
  let b: GridMember;
  let pings: Pings;
  let transfer: Transfer;
  let disturb: Disturbances;
  /** Its address on the second uplink. */
  let second: string;

  beforeAll(async () => {
    grid = await MeshGrid.open({ builtin: false });
    [a, b] = await Promise.all([grid.member('a', 'port-restricted'), grid.member('b', 'port-restricted')]);
    const nat = grid.lab.nat('nsecond', '203.0.113.77', NAT_KINDS['port-restricted']);
    const gateway = grid.lab.plug(a.host, nat, 'eth1');
    second = gateway.replace(/\d+$/, '2');
    const ip = async (...args: string[]) => expect((await a.host.run('ip', args)).stderr).toBe('');
    await ip('route', 'add', 'default', 'via', gateway, 'dev', 'eth1', 'table', '101');
    await ip('rule', 'add', 'from', second, 'lookup', '101');
    disturb = new Disturbances(grid, a, b);
    const order = { id: 1, until: 'splice' as const, forMs: 60_000 };
    await Promise.all([a.obey({ ...order, peer: 'b' }).result, b.obey({ ...order, peer: 'a' }).result]);
    pings = new Pings(a.host, b.address);
    transfer = await Transfer.start(a, b);
    await pause(1_000);
  });
  afterAll(async () => {
    await pings?.close();
    await grid?.close();
  });

  /** Makes a disturbance and waits until data flows again. @returns the longest time without a reply, ms */
  async function outageOf(lose: () => unknown, watchMs: number): Promise<number> {
    const fromMs = Date.now();
    await lose();
    for (let turn = 0; turn < 400 && !(Date.now() - fromMs > watchMs && pings.flowing); turn++) await pause(50);
    return Math.round(pings.outageSince(fromMs));
  }

  const isOver = (address: string) => (last: { path: string | undefined }) => last.path?.includes(address) ?? false;

  it('goes on over the second when the first carries nothing any more (C3, C11)', async () => {
    expect(a.events.at(-1)?.path).not.toContain(second);
    const outageMs = await outageOf(() => disturb.cut(), 3_000);
    expect(outageMs).toBeLessThan(3_000);
    await eventually(a, isOver(second), 5_000);
    // WireGuard's own packets would leave over the default route.
    await eventually(a, ({ dataPlane, reason }) => dataPlane === 'hop' && reason === 'route-differs', 10_000);
    expect(transfer.running).toBe(true);
  });

  it('goes on over the first when that works again and the second is unplugged', async () => {
    disturb.clear();
    const outageMs = await outageOf(() => a.host.run('ip', ['link', 'set', 'eth1', 'down']), 6_000);
    expect(outageMs).toBeLessThan(10_000);
    await eventually(a, (last) => last.path !== undefined && !isOver(second)(last), 5_000);
    await eventually(a, ({ dataPlane, kind }) => dataPlane === 'splice' && kind === 'p2p', 60_000);
  });

  it('loses no block of the transfer', async () => {
    const { blocks, errors } = await transfer.end();
    expect(errors).toBe('');
    expect(blocks).toBeGreaterThan(100);
  });
});
