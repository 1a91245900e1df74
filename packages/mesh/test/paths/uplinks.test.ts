import { natKinds, type SimulatedHost, type SimulatedNat } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPaths } from '../../src/index.ts';
import { otherUplinks } from '../../src/paths/uplinks.ts';
import { datagramOf, type PartyMember, SimulatedParty } from './party.ts';

/** A member with two uplinks, each behind a NAT of its own, and one with a public address. */
class TwoUplinks {
  readonly party: SimulatedParty;
  readonly first: SimulatedNat;
  readonly second: SimulatedNat;
  readonly host: SimulatedHost;
  a!: PartyMember;
  b!: PartyMember;
  toB!: PeerPaths;
  toA!: PeerPaths;

  constructor(seed: number) {
    this.party = new SimulatedParty(seed);
    const { internet } = this.party;
    // Round trips to public hosts: 40 ms over the first, 100 ms over the second.
    this.first = internet.nat({ ...natKinds.portRestricted, subnet: '192.168.1.0/24' });
    this.second = internet.nat({ ...natKinds.portRestricted, subnet: '192.168.2.0/24', link: { delayMs: 40 } });
    this.host = this.first.host({ name: 'a' });
    this.host.join(this.second.lan);
  }

  async connect(options: { redundancy?: 1 | 2 } = {}): Promise<void> {
    const { party } = this;
    await party.startRelay();
    this.a = await party.memberOn('a', this.host.network);
    this.b = await party.member('b');
    this.toB = this.a.connect(this.b, options);
    this.toA = this.b.connect(this.a, options);
    await party.clock.advance(10_000);
  }

  /** Sends 50 datagrams a second in both directions as the hop does. @returns how many of each were sent */
  async talk(forMs: number, label: string): Promise<number> {
    const count = forMs / 20;
    for (let turn = 0; turn < count; turn++) {
      for (const paths of [this.toB, this.toA]) {
        paths.current?.send(datagramOf(`${label}${turn}`));
        paths.also?.send(datagramOf(`${label}${turn}`));
      }
      await this.party.clock.advance(20);
    }
    await this.party.clock.advance(500);
    return count;
  }

  /** How many different datagrams with this label have arrived at each end. */
  arrived(label: string): [atA: number, atB: number] {
    const count = ({ received }: PartyMember) => new Set(received.filter((text) => text.startsWith(label))).size;
    return [count(this.a), count(this.b)];
  }
}

describe('a member with two uplinks (C3, C11)', () => {
  let net: TwoUplinks;
  afterEach(async () => {
    await net.party.close();
    await net.party.clock.advance(60_000);
    expect(net.party.clock.pendingTimers).toBe(0);
    expect(net.party.internet.openSockets).toBe(0);
  });

  const addressOver = (uplink: 0 | 1) => net.host.interfaces[uplink]!.addresses[0]!;
  const usesSecond = () => net.toB.current?.local.address === addressOver(1);

  it('has a path over each, uses the one with the shorter round trip, and keeps the other as standby', async () => {
    net = new TwoUplinks(1);
    const uplinks = await otherUplinks(net.host.network);
    expect(uplinks).toEqual([{ name: 'eth1', family: 4, address: addressOver(1) }]);
    await net.connect();
    await net.party.clock.advance(60_000);
    const seen = net.toB.status().map(({ path, role, rttMs }) => [path.local.address, role, rttMs]);
    expect(seen).toContainEqual(['0.0.0.0', 'current', expect.closeTo(40, -1)]);
    expect(seen).toContainEqual([addressOver(1), 'standby', expect.closeTo(100, -2)]);
  });

  it('moves to the other when that becomes faster, and loses nothing', async () => {
    net = new TwoUplinks(2);
    await net.connect();
    await net.talk(5_000, 'before');
    net.first.link.change({ delayMs: 150 });
    const sent = await net.talk(60_000, 'slow');
    expect(usesSecond()).toBe(true);
    expect(net.arrived('slow')).toEqual([sent, sent]);
  });

  it.each([
    ['is unplugged', () => net.host.interfaces[0]!.link.unplug()],
    ['carries nothing any more', () => net.first.link.unplug()],
  ])('goes on over the other within two seconds when the first %s, and both ends agree', async (_, lose) => {
    net = new TwoUplinks(3);
    await net.connect();
    await net.talk(5_000, 'before');
    lose();
    await net.talk(2_000, 'lost');
    const sent = await net.talk(10_000, 'after');
    expect(net.toA.current?.remote.address).toBe(net.second.externalAddress);
    expect(net.arrived('after')).toEqual([sent, sent]);
  });

  it('loses nothing with every datagram on two paths when the first is lost', async () => {
    net = new TwoUplinks(4);
    await net.connect({ redundancy: 2 });
    await net.talk(5_000, 'before');
    net.first.link.unplug();
    const sent = await net.talk(10_000, 'lost');
    expect(net.arrived('lost')).toEqual([sent, sent]);
  });

  it('stays where it is when the uplink that it does not use is lost, and looks for it when it is back', async () => {
    net = new TwoUplinks(5);
    await net.connect();
    const before = net.toB.current?.id;
    const lost = net.host.interfaces[1]!;
    net.host.leave(lost);
    const sent = await net.talk(10_000, 'lost');
    expect(net.toB.current?.id).toBe(before);
    expect(net.arrived('lost')).toEqual([sent, sent]);
    expect(net.toB.status().map(({ path }) => path.local.address)).not.toContain(lost.addresses[0]);
    net.host.join(net.second.lan);
    await net.talk(20_000, 'back');
    expect(net.toB.status().map(({ path }) => path.local.address)).toContain(addressOver(1));
  });
});
