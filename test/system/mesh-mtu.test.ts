import { afterEach, describe, expect, it } from 'vitest';
import { type GridMember, MeshGrid } from './support/mesh-grid.ts';
import { eventually, Transfer } from './support/survival.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const BLOCKS = 200;

describe.skipIf(!wireGuardAvailable())('a TCP transfer over a path with a small MTU', () => {
  let grid: MeshGrid;
  let a: GridMember;
  let b: GridMember;
  afterEach(() => grid?.close());

  async function connect(narrow: (member: GridMember) => Promise<unknown>): Promise<void> {
    grid = await MeshGrid.open({ builtin: false });
    [a, b] = await Promise.all([grid.member('a', 'port-restricted'), grid.member('b', 'port-restricted')]);
    await narrow(a);
    const order = { id: 1, until: 'splice' as const, forMs: 60_000 };
    await Promise.all([a.obey({ ...order, peer: 'b' }).result, b.obey({ ...order, peer: 'a' }).result]);
  }

  /** Every block of a transfer in each direction arrives. */
  async function completes(): Promise<void> {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const transfer = await Transfer.start(from, to, BLOCKS);
      const { blocks, errors } = await transfer.whole();
      expect([blocks, errors]).toEqual([BLOCKS, '']);
    }
  }

  const mtuOf = async (member: GridMember, to: GridMember) =>
    Number(/mtu (\d+)/.exec((await member.host.run('ip', ['route', 'get', to.address])).stdout)?.[1] ?? 1_420);

  it('completes over a path with an MTU of 1,280 bytes, whose routers say so', async () => {
    await connect(async ({ host, nat }) => {
      // The link behind the NAT: the host does not know of it.
      await host.run('nsenter', [`--net=/run/netns/${nat!.namespace}`, 'ip', 'link', 'set', 'wan', 'mtu', '1280']);
    });
    await completes();
  });

  it.each([
    [1_400, 1_320],
    [1_280, 1_200],
  ])(
    'completes where packets over %i bytes vanish silently; the MTU of the peer becomes %i bytes',
    async (limit, mtu) => {
      await connect(async ({ nat }) => {
        grid.lab.nft(
          nat!.namespace,
          `table ip hole { chain forward { type filter hook forward priority -10; meta length > ${limit} drop; }; }`,
        );
      });
      await Promise.all([a, b].map((member) => eventually(member, ({ what }) => what === 'mtu', 60_000)));
      expect([await mtuOf(a, b), await mtuOf(b, a)]).toEqual([mtu, mtu]);
      await completes();
    },
  );

  it('that begins to lose packets over 1,400 bytes while data is carried: the MTU is 1,320 bytes within a minute', async () => {
    await connect(async () => {});
    expect([await mtuOf(a, b), await mtuOf(b, a)]).toEqual([1_420, 1_420]);
    // Small packets, of which none is lost.
    const traffic = a.host.spawn('ping', ['-q', '-i', '0.1', '-s', '600', b.address]);
    const lowered = Promise.all([a, b].map((member) => eventually(member, ({ what }) => what === 'mtu', 60_000)));
    grid.lab.nft(
      a.nat!.namespace,
      'table ip hole { chain forward { type filter hook forward priority -10; meta length > 1400 drop; }; }',
    );
    await lowered;
    expect([await mtuOf(a, b), await mtuOf(b, a)]).toEqual([1_320, 1_320]);
    traffic.kill();
    await completes();
  });
});
