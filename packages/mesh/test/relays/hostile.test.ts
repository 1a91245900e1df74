import { SeededRandom } from '@towpath/core';
import type { Network } from '@towpath/net';
import { natKinds } from '@towpath/net/simulated';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { MeshRelay } from '../../src/index.ts';
import { decodeAnnouncement, encodeAnnouncement } from '../../src/relays/relay-announcement.ts';
import { type RelayKey, relayKey } from '../../src/relays/relay-key.ts';
import {
  decodeRelaySignal,
  encodeRelaySignal,
  MAX_FIGURES,
  type RelayFigure,
  type RelaySignal,
} from '../../src/relays/relay-signal.ts';
import { resolveRelay } from '../../src/paths/relay-session.ts';
import { encodeCandidateSignal } from '../../src/paths/candidate-signal.ts';
import { datagramOf, SimulatedParty } from '../paths/party.ts';

const key = fc.nat({ max: 500 }).map((at) => relayKey(`r${at}`));
const number = fc.integer({ min: 0, max: 0xffff_ffff });
const relayed = fc.option(
  fc.record({ address: fc.constantFrom('192.0.2.1', '2001:db8::1'), port: fc.integer({ min: 1, max: 65_535 }) }),
  { nil: undefined },
);
const figure: fc.Arbitrary<RelayFigure> = fc.record({
  key,
  rttMs: fc.integer({ min: 1, max: 50_000 }).map((tenths) => tenths / 10),
  relayed,
});
const signal: fc.Arbitrary<RelaySignal> = fc.oneof(
  fc.record({
    type: fc.constant('figures' as const),
    session: number,
    sequence: number,
    wantsAnswer: fc.boolean(),
    isUnsettled: fc.boolean(),
    figures: fc.uniqueArray(figure, { maxLength: MAX_FIGURES, selector: (each) => each.key }),
  }),
  fc
    .record({
      type: fc.constantFrom('offer' as const, 'confirm' as const, 'use' as const),
      session: number,
      number,
      first: key,
      second: fc.option(key, { nil: undefined }),
    })
    .filter(({ first, second }) => first !== second),
);

describe('the name of a relay', () => {
  it.each(['127.0.0.1', '127.0.1.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'])(
    'that leads to %s is refused: that is no other host (C1)',
    async (address) => {
      const network = { resolve: async () => [address] } as unknown as Network;
      const { signal } = new AbortController();
      await expect(resolveRelay(network, 'relay.example', signal)).rejects.toMatchObject({ code: 'no-answer' });
    },
  );

  it('that leads to another host is used, and so is an address', async () => {
    const network = { resolve: async (name: string) => [name === 'relay.example' ? '192.0.2.7' : name] };
    const { signal } = new AbortController();
    for (const [host, address] of [
      ['relay.example', '192.0.2.7'],
      ['127.0.0.1', '127.0.0.1'],
    ] as const) {
      expect(await resolveRelay(network as unknown as Network, host, signal)).toBe(address);
    }
  });
});

describe('signals about relays', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(signal, (each) => {
        expect(decodeRelaySignal(encodeRelaySignal(each))).toEqual(each);
      }),
    );
  });

  it('are read from any bytes without throwing, and hold no absurd value', () => {
    const near = fc
      .tuple(signal, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }), fc.nat())
      .map(([each, changes, cut]) => {
        const bytes = encodeRelaySignal(each);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes.subarray(0, bytes.length - (cut % 3));
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), near), (bytes) => {
        const read = decodeRelaySignal(bytes);
        if (read?.type !== 'figures') return;
        expect(read.figures.length).toBeLessThanOrEqual(MAX_FIGURES);
        for (const { rttMs } of read.figures) expect(rttMs > 0 && rttMs <= 5_000).toBe(true);
        expect(new Set(read.figures.map((each) => each.key)).size).toBe(read.figures.length);
      }),
    );
  });

  it('are refused as a whole with a round trip of zero, of more than 5 s, or with one relay twice', () => {
    const figures = (all: readonly RelayFigure[]) =>
      encodeRelaySignal({
        type: 'figures',
        session: 1,
        sequence: 1,
        wantsAnswer: false,
        isUnsettled: false,
        figures: all,
      });
    const one = figures([{ key: relayKey('a'), rttMs: 10, relayed: undefined }]);
    const at = one.length - 3;
    for (const tenths of [0, 50_001, 0xffff]) {
      const bytes = Uint8Array.from(one);
      bytes.set([tenths >>> 8, tenths & 0xff], at);
      expect(decodeRelaySignal(bytes)).toBeUndefined();
    }
    const twice = { key: relayKey('a'), rttMs: 10, relayed: undefined };
    expect(decodeRelaySignal(figures([twice, twice]))).toBeUndefined();
    expect(decodeRelaySignal(one)).toBeDefined();
  });
});

describe('announcements of relays', () => {
  it('come back as they were, and are read from any bytes without throwing', () => {
    const relay = fc.record({
      port: fc.integer({ min: 1, max: 65_535 }),
      addresses: fc.array(fc.constantFrom('11.0.0.1', '8.8.8.8', '203.0.113.9'), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(relay, (each) => {
        expect(decodeAnnouncement(encodeAnnouncement({ relay: each })).relay).toEqual(each);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(decodeAnnouncement(bytes).relay?.addresses.length ?? 1).toBeLessThanOrEqual(4);
      }),
    );
    expect(decodeAnnouncement(encodeAnnouncement({})).relay).toBeUndefined();
  });

  it.each(['10.0.0.1', '192.168.1.1', '127.0.0.1', '169.254.1.1', '0.0.0.0', '224.0.0.1', '100.64.0.1'])(
    'do not direct members to %s',
    (address) => {
      expect(decodeAnnouncement(encodeAnnouncement({ relay: { port: 3_478, addresses: [address] } })).relay).toBe(
        undefined,
      );
    },
  );
});

describe('a hostile member', () => {
  let party: SimulatedParty;
  afterEach(async () => {
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });

  /** Three members behind hard NATs, of which the third sends what it likes. */
  async function three(seed: number) {
    party = new SimulatedParty(seed);
    for (let count = 0; count < 4; count++) await party.startRelay();
    const kind = natKinds.symmetricRandom;
    const [a, b, evil] = [
      await party.member('a', kind),
      await party.member('b', kind),
      await party.member('evil', kind),
    ];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    const [toEvil] = [a.connect(evil), evil.connect(a)];
    await party.clock.advance(20_000);
    return { a, b, evil, toB, toA, toEvil };
  }

  it('that forges, replays and mutates figures and choices changes nothing for others (C8)', async () => {
    const { a, evil, toB, toA } = await three(21);
    const before = [toB.current?.id, toA.current?.id];
    const moves: string[] = [];
    for (const end of [toB, toA]) end.events.on('selected', ({ reason }) => moves.push(reason));
    const recorded: Uint8Array[] = [];
    party.passes = (data) => {
      if (data[0] === 3 || data[0] === 4) recorded.push(data);
      return true;
    };
    const random = new SeededRandom(21);
    const keys: RelayKey[] = [...party.relays().map(({ id }) => relayKey(id)), relayKey('unknown')];
    const sent = party.signals;
    const pick = () => keys[random.integer(0, keys.length - 1)]!;
    for (let turn = 0; turn < 1_000; turn++) {
      const [first, second] = [pick(), pick()];
      const figures = keys.map((each) => ({ key: each, rttMs: random.integer(1, 50_000) / 10, relayed: undefined }));
      const made: RelaySignal =
        turn % 2 === 0
          ? {
              type: 'figures',
              session: random.integer(1, 3),
              sequence: turn,
              wantsAnswer: true,
              isUnsettled: true,
              figures,
            }
          : {
              type: (['offer', 'confirm', 'use'] as const)[random.integer(0, 2)]!,
              session: random.integer(1, 3),
              number: random.integer(0, 0xffff_ffff),
              first,
              second: first === second ? undefined : second,
            };
      const bytes = turn % 5 === 0 && recorded.length > 0 ? recorded[turn % recorded.length]! : encodeRelaySignal(made);
      const changed = Uint8Array.from(bytes);
      if (turn % 3 === 0) changed[random.integer(0, changed.length - 1)] = random.integer(0, 255);
      party.deliver(evil.peer, a.peer.id, changed);
      await party.clock.advance(20);
    }
    expect([toB.current?.id, toA.current?.id]).toEqual(before);
    expect(moves.filter((reason) => reason === 'agreed')).toEqual([]);
    // One signal in return for one at most, and far fewer: figures and offers go out once a second.
    expect(party.signals - sent - 1_000).toBeLessThan(200);
  });

  it('cannot make a member hold more than eight relayed addresses, nor take away those of another pair (C9)', async () => {
    const { a, evil, toB } = await three(22);
    for (let count = 0; count < 12; count++) await party.startRelay();
    await party.clock.advance(20_000);
    const current = toB.current?.id;
    const keys = party.relays().map(({ id }) => relayKey(id));
    const most: number[] = [];
    for (let turn = 0; turn < 60; turn++) {
      const figures = keys.map((each, at) => ({ key: each, rttMs: at === turn % 16 ? 0.1 : 900, relayed: undefined }));
      const [first, second] = [keys[turn % 16]!, keys[(turn + 5) % 16]!];
      const figuresSignal = {
        type: 'figures' as const,
        session: 9,
        sequence: turn,
        wantsAnswer: false,
        isUnsettled: false,
        figures,
      };
      const offer = { type: 'offer' as const, session: 9, number: turn + 1, first, second };
      party.deliver(evil.peer, a.peer.id, encodeRelaySignal(figuresSignal));
      party.deliver(evil.peer, a.peer.id, encodeRelaySignal(offer));
      await party.clock.advance(2_000);
      most.push(party.allocationsOf(a));
    }
    expect(Math.max(...most)).toBeLessThanOrEqual(8);
    expect(toB.current?.id).toBe(current);
  });

  it('that sends candidates all the time is answered rarely, and relays are not asked for as many permissions', async () => {
    const { a, b, evil, toB } = await three(24);
    await party.clock.advance(60_000);
    const current = toB.current?.id;
    const addresses = new Set(party.relays().flatMap(({ urls }) => urls.map((url) => url.split(':')[1])));
    let toRelays = 0;
    party.internet.intercept(({ destination }, next) => {
      if (addresses.has(destination)) toRelays++;
      next();
    });
    let at = 0;
    const sentBefore = party.signals;
    for (let turn = 0; turn < 2_000; turn++) {
      const candidates = Array.from({ length: 32 }, () => ({
        type: 'host' as const,
        endpoint: { address: `12.${turn >>> 8}.${turn & 255}.${at++ & 255}`, port: 1_024 + (at % 60_000) },
      }));
      const sent = encodeCandidateSignal({ session: turn + 1, wantsAnswer: true, candidates });
      party.deliver(evil.peer, a.peer.id, sent);
      await party.clock.advance(5);
    }
    // 10 s: the burst, ten a second, and what members say on their own.
    expect(party.signals - sentBefore - 2_000).toBeLessThan(500);
    expect(toRelays).toBeLessThan(2_000);
    expect(toB.current?.id).toBe(current);
    toB.current!.send(datagramOf('still there'));
    await party.clock.advance(500);
    expect(b.received.at(-1)).toBe('still there');
  });

  it('with ten thousand relays on the list makes a member measure 16 of them, and nobody is flooded (C9)', async () => {
    const { a, toB } = await three(23);
    const counts = new Map<string, number>();
    party.internet.intercept(({ destination }, next) => {
      if (destination.startsWith('12.')) counts.set(destination, (counts.get(destination) ?? 0) + 1);
      next();
    });
    const many = Array.from({ length: 10_000 }, (_, at): MeshRelay => {
      const url = `turn:12.0.${at >>> 8}.${at & 255}:3478?transport=udp`;
      return { id: `many${at}`, urls: [url], region: '', load: 0, healthy: true };
    });
    party.listRelays([...party.relays(), ...many]);
    await party.clock.advance(60_000);
    expect(counts.size).toBeLessThanOrEqual(16 * party.members.length);
    expect(Math.max(...counts.values())).toBeLessThan(40);
    expect(toB.current?.kind).toBe('relay');
    // A list that changes all the time does not make the member measure all the time.
    counts.clear();
    for (let turn = 0; turn < 50; turn++) {
      party.listRelays([...party.relays().slice(0, 4), ...many.slice(turn * 16, turn * 16 + 16)]);
      await party.clock.advance(20);
    }
    const sent = [...counts.values()].reduce((sum, count) => sum + count, 0);
    expect(sent).toBeLessThan(30 * party.members.length);
    expect(party.allocationsOf(a)).toBeLessThanOrEqual(8);
  });
});
