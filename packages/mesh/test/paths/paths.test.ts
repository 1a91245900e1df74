import { inSubnet, isPrivateAddress, parseSubnet } from '@towpath/net';
import { natKinds } from '@towpath/net/simulated';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { generateWireGuardKey } from '@towpath/membership';
import { type PathPolicy, SeededRandom } from '@towpath/core';
import {
  decodeCandidateSignal,
  encodeCandidateSignal,
  type MeshCandidateType,
} from '../../src/paths/candidate-signal.ts';
import { localNetworks } from '../../src/paths/local-candidates.ts';
import { MeshPathFinder } from '../../src/paths/path-finder.ts';
import { pairSecrets } from '../../src/paths/pair-secrets.ts';
import { parseRelayUrl } from '../../src/paths/relay-session.ts';
import { datagramOf, PARTY, SimulatedParty } from './party.ts';

describe('MeshPathFinder', () => {
  let party: SimulatedParty;
  afterEach(async () => {
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });

  it.each([
    ['two public hosts', undefined, undefined, 'p2p'],
    ['a public host and a symmetric NAT', undefined, natKinds.symmetricRandom, 'p2p'],
    ['two port-restricted NATs', natKinds.portRestricted, natKinds.portRestricted, 'p2p'],
    ['a full cone and a symmetric NAT', natKinds.fullCone, natKinds.symmetricRandom, 'p2p'],
    ['two symmetric NATs', natKinds.symmetricRandom, natKinds.symmetricRandom, 'relay'],
    ['a public host and a network that only TCP leaves', undefined, natKinds.udpBlocked, 'relay'],
    ['two networks that only TCP leaves', natKinds.udpBlocked, natKinds.udpBlocked, 'relay'],
  ] as const)('connects %s (C3)', async (_, natA, natB, kind) => {
    party = new SimulatedParty(1);
    await party.startRelay();
    const [a, b] = [await party.member('a', natA), await party.member('b', natB)];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(5_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual([kind, kind]);
    toB.current!.send(datagramOf('to b'));
    toA.current!.send(datagramOf('to a'));
    await party.clock.advance(500);
    expect([b.received, a.received]).toEqual([['to b'], ['to a']]);
  });

  it('has the path at once and on the same ports when the process of a member is replaced, behind a NAT that had to be searched', async () => {
    party = new SimulatedParty(11);
    await party.startRelay();
    const [a, b] = [
      await party.member('a', natKinds.portRestricted),
      await party.member('b', natKinds.symmetricRandom),
    ];
    const toA = b.connect(a);
    a.connect(b);
    await party.clock.advance(10_000);
    const { id, kind } = toA.current!;
    expect(kind).toBe('p2p');
    const { network, control, key, peer } = a;
    const preferredPort = a.finder.port;
    await party.clock.runUntil(a.finder.close());
    const options = { party: PARTY, self: peer.id, wireGuardKey: key, preferredPort };
    const open = () => MeshPathFinder.open({ network, control, clock: party.clock, random: party.random }, options);
    const [again, third] = [await open(), await open()];
    expect(again.port).toBe(preferredPort);
    // A port that is taken is no obstacle.
    expect(third.port).not.toBe(preferredPort);
    await party.clock.runUntil(third.close());
    const toB = again.open({ party: PARTY, peer: b.peer, onDatagram: (datagram) => a.received.push(String(datagram)) });
    // The other member sends, as a transfer does, and so asks on the path whether it is heard.
    for (let turn = 0; turn < 10; turn++) {
      toA.current?.send(datagramOf('data'));
      await party.clock.advance(100);
    }
    const found = [toB.current?.kind, toA.current?.id];
    await party.clock.runUntil(again.close());
    expect(found).toEqual(['p2p', id]);
  });

  it.each([
    ['a port-restricted NAT and one that counts', natKinds.portRestricted, natKinds.symmetricSequential],
    ['one that counts and a port-restricted NAT', natKinds.symmetricSequential, natKinds.portRestricted],
    ['two NATs that count', natKinds.symmetricSequential, natKinds.symmetricSequential],
    ['a port-restricted NAT and a random one', natKinds.portRestricted, natKinds.symmetricRandom],
    ['a random one and a NAT with other ports', natKinds.symmetricRandom, natKinds.portRestrictedRandom],
  ] as const)('connects %s directly within ten seconds (C3)', async (_, natA, natB) => {
    party = new SimulatedParty(11);
    await party.startRelay();
    await party.startRelay();
    const [a, b] = [await party.member('a', natA), await party.member('b', natB)];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(10_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
    toB.current!.send(datagramOf('to b'));
    toA.current!.send(datagramOf('to a'));
    await party.clock.advance(500);
    expect([b.received, a.received]).toEqual([['to b'], ['to a']]);
  });

  it('counts as LAN what is in a private network of an interface, but for loopback and interfaces of Towpath (C13)', () => {
    party = new SimulatedParty(1);
    const at = (name: string, address: string, prefixLength: number, internal = false) => ({
      ...{ name, address, prefixLength, internal },
      family: address.includes(':') ? (6 as const) : (4 as const),
    });
    const interfaces = () => [
      at('lo', '127.0.0.1', 8, true),
      at('eth0', '192.168.1.5', 24),
      at('vpn0', '100.64.0.9', 10),
      at('eth0', 'fd00::5', 64),
      at('eth0', 'fe80::5', 64),
      at('eth0', '2001:db8::5', 64),
      at('eth1', '203.0.113.5', 24),
      at('towpath0', '10.66.0.2', 16),
    ];
    const found = localNetworks({ ...party.internet.host().network, interfaces }, (name) => name === 'towpath0');
    const isLan = (address: string) => found.some((subnet) => inSubnet(address, subnet));
    expect(['192.168.1.77', '100.64.3.3', 'fd00::77'].map(isLan)).toEqual([true, true, true]);
    const others = ['127.0.0.1', '192.168.2.77', 'fe80::77', '2001:db8::77', '203.0.113.77', '10.66.0.3'];
    expect(others.filter(isLan)).toEqual([]);
  });

  it('connects two members of one LAN over the LAN', async () => {
    party = new SimulatedParty(2);
    await party.startRelay();
    const nat = party.internet.nat(natKinds.portRestricted);
    const a = await party.memberOn('a', nat.host({ name: 'a' }).network);
    const b = await party.memberOn('b', nat.host({ name: 'b' }).network);
    const paths = a.connect(b);
    b.connect(a);
    await party.clock.advance(3_000);
    expect(paths.current?.kind).toBe('lan');
  });

  it('has no path through what WireGuard carries itself, whoever offers it', async () => {
    // The LAN of this test stands for a network that is routed into the tunnel.
    party = new SimulatedParty(2, { isRoutedIntoTunnel: (address) => isPrivateAddress(address) });
    await party.startRelay();
    const nat = party.internet.nat(natKinds.portRestricted);
    const a = await party.memberOn('a', nat.host({ name: 'a' }).network);
    const b = await party.memberOn('b', nat.host({ name: 'b' }).network);
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(10_000);
    for (const { current, status } of [toB, toA].map((paths) => ({ current: paths.current, status: paths.status() }))) {
      expect(current).toBeDefined();
      expect(status.filter(({ path }) => isPrivateAddress(path.remote.address))).toEqual([]);
    }
  });

  it('has a path when one side begins much later than the other', async () => {
    party = new SimulatedParty(3);
    await party.startRelay();
    const [a, b] = [await party.member('a', natKinds.portRestricted), await party.member('b', natKinds.portRestricted)];
    const early = a.connect(b);
    await party.clock.advance(120_000);
    expect(early.current).toBeUndefined();
    const late = b.connect(a);
    await party.clock.advance(2_000);
    expect([early.current?.kind, late.current?.kind]).toEqual(['p2p', 'p2p']);
  });

  it('uses only relays where the policy says so, and tells so in its time line (C13)', async () => {
    party = new SimulatedParty(4);
    await party.startRelay();
    const [a, b] = [await party.member('a'), await party.member('b')];
    const paths = a.connect(b, { policy: 'relay-only' });
    b.connect(a);
    await party.clock.advance(5_000);
    expect(paths.current?.kind).toBe('relay');
    expect(new Set(paths.log().map(({ what }) => what))).toContain('switch');
  });

  it.each(['lan-only', 'relay-only'] as const)(
    'says that the policy %s does not allow what was found (C13)',
    async (policy) => {
      party = new SimulatedParty(4);
      const [a, b] = [await party.member('a'), await party.member('b')];
      const paths = a.connect(b, { policy });
      const before = paths.refusedBy;
      b.connect(a);
      await party.clock.advance(5_000);
      expect([before, paths.current, paths.refusedBy]).toEqual([undefined, undefined, policy]);
      paths.configure({ policy: 'auto' });
      await party.clock.advance(5_000);
      expect([paths.current?.kind, paths.refusedBy]).toEqual(['p2p', undefined]);
    },
  );

  it('knows the policy of the peer, also a later one (C13)', async () => {
    party = new SimulatedParty(4);
    const [a, b] = [await party.member('a'), await party.member('b')];
    const [toB, toA] = [a.connect(b), b.connect(a, { policy: 'lan-only' })];
    const before = toB.peerPolicy;
    await party.clock.advance(5_000);
    expect([before, toB.peerPolicy, toA.peerPolicy]).toEqual([undefined, 'lan-only', 'auto']);
    toA.configure({ policy: 'direct-only' });
    await party.clock.advance(1_000);
    expect([toB.peerPolicy, toB.policy, toA.policy]).toEqual(['direct-only', 'auto', 'direct-only']);
  });

  it('do not use at either end what one of them does not permit, once both have told, and tell whose policy it is (C13)', async () => {
    party = new SimulatedParty(4, { birthday: false, portMapping: false });
    await party.startRelay();
    const hard = natKinds.symmetricRandom;
    const [a, b] = [await party.member('a', hard), await party.member('b', hard)];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(10_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['relay', 'relay']);
    for (const policy of ['direct-only', 'lan-only'] as const) {
      toA.configure({ policy });
      await party.clock.advance(1_000);
      expect([toB.current, toA.current]).toEqual([undefined, undefined]);
      await party.clock.advance(60_000);
      expect([toB.current, toB.refusedBy, toB.isRefusedByPeer]).toEqual([undefined, undefined, true]);
      expect([toA.current, toA.refusedBy, toA.isRefusedByPeer]).toEqual([undefined, policy, false]);
    }
    toA.configure({ policy: 'auto' });
    await party.clock.advance(10_000);
    for (const paths of [toB, toA]) {
      expect([paths.current?.kind, paths.refusedBy, paths.isRefusedByPeer]).toEqual(['relay', undefined, false]);
    }
  });

  it('leave a direct path for a relay at both ends when one of them permits relays only (C13)', async () => {
    party = new SimulatedParty(4);
    await party.startRelay();
    const [a, b] = [await party.member('a'), await party.member('b')];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(10_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
    toA.configure({ policy: 'relay-only' });
    await party.clock.advance(3_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['relay', 'relay']);
    expect(toB.relayReason).toBe('policy');
    toB.configure({ policy: 'direct-only' });
    await party.clock.advance(60_000);
    expect([toB.current, toA.current]).toEqual([undefined, undefined]);
    expect([toB.refusedBy, toA.refusedBy]).toEqual(['direct-only', 'relay-only']);
  });

  it('no longer says that the policy does not allow a path when that path is dead (C13)', async () => {
    party = new SimulatedParty(4);
    const [a, b] = [await party.member('a'), await party.member('b')];
    const paths = a.connect(b, { policy: 'relay-only' });
    b.connect(a);
    await party.clock.advance(5_000);
    expect(paths.refusedBy).toBe('relay-only');
    party.internet.intercept(() => {});
    await party.clock.advance(120_000);
    expect(paths.refusedBy).toBeUndefined();
  });

  it('says in the time line that a relay does not forward to the address of a member (D4)', async () => {
    party = new SimulatedParty(4, { birthday: false, portMapping: false });
    await party.startRelay({ deny: [parseSubnet('0.0.0.0/0')!] });
    const { symmetricRandom } = natKinds;
    const [a, b] = [await party.member('a', symmetricRandom), await party.member('b', symmetricRandom)];
    const paths = a.connect(b);
    b.connect(a);
    await party.clock.advance(10_000);
    const failures = paths.log().filter(({ what, label }) => what === 'failure' && label.includes(' from turn:'));
    expect([paths.current, ...new Set(failures.map(({ reason }) => reason))]).toEqual([undefined, 'relay-forbids']);
  });

  it('goes to the relay when the direct path dies, within two seconds, and back', async () => {
    party = new SimulatedParty(5);
    await party.startRelay();
    const hostA = party.internet.host({ name: 'a' });
    const hostB = party.internet.host({ name: 'b' });
    const a = await party.memberOn('a', hostA.network);
    const b = await party.memberOn('b', hostB.network);
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(20_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
    const blocked = { from: hostA.address, to: hostB.address };
    const stop = party.internet.intercept(({ source, destination }, next) => {
      const ends = [source, destination];
      if (!ends.includes(blocked.from) || !ends.includes(blocked.to)) next();
    });
    for (let turn = 0; turn < 40; turn++) {
      toB.current?.send(datagramOf(`x${turn}`));
      toB.also?.send(datagramOf(`x${turn}`));
      await party.clock.advance(50);
    }
    expect(toB.current?.kind).toBe('relay');
    expect(b.received).toContain('x39');
    stop();
    await party.clock.advance(70_000);
    expect(toB.current?.kind).toBe('p2p');
  });

  it('gives a hostile member no more than a few small probes at a third party', async () => {
    party = new SimulatedParty(6);
    const a = await party.member('a');
    const b = await party.member('b');
    const victim = party.internet.host({ name: 'victim' });
    const seen: number[] = [];
    await victim.network.bindUdp({ port: 53, onMessage: (data) => seen.push(data.length) });
    a.connect(b);
    await party.clock.advance(100);
    for (let turn = 0; turn < 200; turn++) {
      const candidates = Array.from({ length: 32 }, () => ({
        type: 'host' as MeshCandidateType,
        endpoint: { address: victim.address, port: 53 },
      }));
      party.deliver(b.peer, a.peer.id, encodeCandidateSignal({ session: turn, wantsAnswer: true, candidates }));
      await party.clock.advance(50);
    }
    expect(seen.length).toBeLessThanOrEqual(10);
    expect(Math.max(...seen)).toBeLessThan(200);
  });
});

describe('candidate signal', () => {
  const candidate = fc.record({
    type: fc.constantFrom<MeshCandidateType>('host', 'server-reflexive', 'mapped', 'relayed'),
    endpoint: fc.record({
      address: fc.constantFrom('192.0.2.1', '10.0.0.7', '2001:db8::1'),
      port: fc.integer({ min: 1, max: 65_535 }),
    }),
  });

  it('comes back as it was', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.boolean(),
        fc.array(candidate, { maxLength: 32 }),
        fc.constantFrom(undefined, 'auto', 'direct-only', 'relay-only', 'lan-only'),
        (session, wantsAnswer, candidates, policy) => {
          const signal = { session, wantsAnswer, candidates, policy };
          expect(decodeCandidateSignal(encodeCandidateSignal(signal))).toEqual(signal);
        },
      ),
    );
  });

  it('tells the policy in bits that earlier versions ignore, and is not read with an unknown one', () => {
    const flags = (policy: PathPolicy | undefined) =>
      encodeCandidateSignal({ session: 1, wantsAnswer: true, candidates: [], policy })[6];
    const policies = [undefined, 'auto', 'direct-only', 'relay-only', 'lan-only'] as const;
    expect(policies.map(flags)).toEqual([1, 3, 5, 7, 9]);
    const bytes = encodeCandidateSignal({ session: 1, wantsAnswer: true, candidates: [] });
    const read = Array.from({ length: 256 }, (_, value) => decodeCandidateSignal(bytes.with(6, value)));
    expect(read.map((signal) => signal !== undefined)).toEqual(read.map((_, value) => ((value >> 1) & 7) <= 4));
  });

  it('leaves out addresses that nobody can be reached at', () => {
    const addresses = ['127.0.0.1', '::1', '224.0.0.1', '0.0.0.0', '255.255.255.255', '192.0.2.1'];
    const candidates = addresses.map((address) => ({ type: 'host' as const, endpoint: { address, port: 1 } }));
    const read = decodeCandidateSignal(encodeCandidateSignal({ session: 1, wantsAnswer: false, candidates }));
    expect(read?.candidates.map(({ endpoint }) => endpoint.address)).toEqual(['192.0.2.1']);
  });

  it('reads any bytes without throwing', () => {
    const near = fc.uint8Array({ maxLength: 80 }).map((tail) => Uint8Array.of(1, 1, ...tail));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), near), (bytes) => {
        const signal = decodeCandidateSignal(bytes);
        if (signal) expect(signal.candidates.length).toBeLessThanOrEqual(32);
      }),
    );
  });
});

describe('pairSecrets', () => {
  it('are the same on both ends, mirrored, and others for another pair', () => {
    const random = new SeededRandom(1);
    const [a, b, c] = [generateWireGuardKey(random), generateWireGuardKey(random), generateWireGuardKey(random)];
    const ofA = pairSecrets({ party: PARTY, self: 'a', peer: 'b', own: a, theirs: b.publicKey })!;
    const ofB = pairSecrets({ party: PARTY, self: 'b', peer: 'a', own: b, theirs: a.publicKey })!;
    const ofC = pairSecrets({ party: PARTY, self: 'c', peer: 'b', own: c, theirs: b.publicKey })!;
    expect(ofA).toEqual({
      localUfrag: ofB.remoteUfrag,
      remoteUfrag: ofB.localUfrag,
      localPassword: ofB.remotePassword,
      remotePassword: ofB.localPassword,
    });
    expect(new Set([...Object.values(ofA), ...Object.values(ofC)]).size).toBe(8);
    expect(pairSecrets({ party: PARTY, self: 'a', peer: 'b', own: a, theirs: new Uint8Array(32) })).toBeUndefined();
  });
});

describe('parseRelayUrl', () => {
  it.each([
    ['turn:192.0.2.1:3478?transport=udp', { host: '192.0.2.1', port: 3478, transport: 'udp' }],
    ['turn:relay.example', { host: 'relay.example', port: 3478, transport: 'udp' }],
    ['turn:[2001:db8::1]:9?transport=tcp', { host: '2001:db8::1', port: 9, transport: 'tcp' }],
    ['turns:relay.example', { host: 'relay.example', port: 5349, transport: 'tls' }],
    ['turns:relay.example?transport=udp', undefined],
    ['stun:relay.example', undefined],
    ['turn:', undefined],
  ])('reads %s', (text, expected) => {
    expect(parseRelayUrl(text)).toEqual(expected);
  });
});
