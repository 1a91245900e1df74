import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GridMember, MeshGrid } from './support/mesh-grid.ts';
import { eventually, Pings, pause } from './support/survival.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

/** Gets a JSON line with the outage. */
const FILE = process.env.TOWPATH_SURVIVE_FILE;

describe.skipIf(!wireGuardAvailable())('two members behind hard NATs with two relays', () => {
  let grid: MeshGrid;
  let a: GridMember;
  let b: GridMember;
  let pings: Pings | undefined;

  beforeAll(async () => {
    grid = await MeshGrid.open({ builtin: false });
    [a, b] = await Promise.all([grid.member('a', 'symmetric, random'), grid.member('b', 'symmetric, random')]);
    const order = { id: 1, until: 'echo' as const, forMs: 60_000 };
    const [first, second] = [a.obey({ ...order, peer: 'b' }), b.obey({ ...order, peer: 'a' })];
    await Promise.all([first.result, second.result]);
  });
  afterAll(async () => {
    await pings?.close();
    await grid?.close();
  });

  const addressOf = (relay = '') => /\d+\.\d+\.\d+\.\d+/.exec(relay)?.[0];
  const relayOf = (member: GridMember) => addressOf(member.events.findLast(({ what }) => what === 'path')?.relay);

  /** Waits until both ends are on one relay that `accept` takes. */
  async function together(accept: (relay: string) => boolean): Promise<string> {
    for (let turn = 0; turn < 300; turn++) {
      const [ofA, ofB] = [relayOf(a), relayOf(b)];
      if (ofA !== undefined && ofA === ofB && accept(ofA)) return ofA;
      await pause(100);
    }
    throw new Error(`${relayOf(a)} ${relayOf(b)} ${JSON.stringify([a.events, b.events])}`);
  }

  it('both use the same one, and both go to the other one when it is killed (C8, C9)', async () => {
    // The pair comes to rest: relays are measured, both ends agree on two, and the kernel carries the path.
    await pause(12_000);
    const used = await together(() => true);
    pings = new Pings(a.host, b.address);
    await pause(2_000);
    const killedAtMs = Date.now();
    grid.relays.get(used)!.kill('SIGKILL');
    const other = await together((relay) => relay !== used);
    expect([...grid.relays.keys()]).toContain(other);
    await eventually(a, ({ status }) => status === 'connected', 30_000);
    for (let turn = 0; turn < 200 && !pings.flowing; turn++) await pause(50);
    expect(pings.flowing).toBe(true);
    const outageMs = Math.round(pings.outageSince(killedAtMs));
    const since = (member: GridMember) =>
      member.events.flatMap(({ atMs, ...event }) =>
        atMs > killedAtMs ? [{ ...event, afterMs: atMs - killedAtMs }] : [],
      );
    const events = [a, b].map(since);
    if (FILE) appendFileSync(FILE, `${JSON.stringify({ name: 'relay of hard NATs killed', outageMs, events })}\n`);
    // A second with a warm standby; three times that on a machine under load.
    expect(outageMs).toBeLessThan(3_000);
    await pause(3_000);
    expect([relayOf(a), relayOf(b)]).toEqual([other, other]);
  });
});
