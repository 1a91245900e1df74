import { natKinds } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerPath } from '../../src/peer-path.ts';
import { datagramOf, SimulatedParty } from './party.ts';

describe('a relayed path', () => {
  let party: SimulatedParty;
  afterEach(async () => {
    await party.close();
    await party.clock.advance(60_000);
    expect(party.clock.pendingTimers).toBe(0);
  });

  it('becomes plain on the side that has the allocation, and carries data as before (D2)', async () => {
    party = new SimulatedParty(1);
    const relay = await party.startRelay();
    const [a, b] = [
      await party.member('a', natKinds.symmetricRandom),
      await party.member('b', natKinds.symmetricRandom),
    ];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    const selected: (boolean | undefined)[] = [];
    toB.events.on('selected', ({ path }) => selected.push(path?.isPlain));
    await party.clock.advance(5_000);
    const paths: PeerPath[] = [toB.current!, toA.current!];
    expect(paths.map(({ kind, isPlain }) => [kind, isPlain])).toEqual([
      ['relay', true],
      ['relay', true],
    ]);
    const own = paths.filter(({ plain }) => plain !== undefined);
    expect(own.length).toBeGreaterThan(0);
    for (const { plain, local } of own) {
      expect(plain!.remote.address).toBe(relay.locals[0]!.address);
      expect(plain!.local.port).not.toBe(local.port);
    }
    expect(selected.at(-1)).toBe(true);
    for (let count = 0; count < 3; count++) {
      toB.current!.send(datagramOf('to b'));
      toA.current!.send(datagramOf('to a'));
      await party.clock.advance(500);
    }
    expect([b.received, a.received]).toEqual([
      ['to b', 'to b', 'to b'],
      ['to a', 'to a', 'to a'],
    ]);
  });

  it('hands nothing but messages of WireGuard to it, whatever comes over the relay (C4)', async () => {
    party = new SimulatedParty(1);
    await party.startRelay();
    const [a, b] = [
      await party.member('a', natKinds.symmetricRandom),
      await party.member('b', natKinds.symmetricRandom),
    ];
    const [toB, toA] = [a.connect(b), b.connect(a)];
    await party.clock.advance(5_000);
    for (const path of [toB.current!, toA.current!]) {
      expect(path.kind).toBe('relay');
      path.send(new Uint8Array(48).fill(0xff));
      path.send(new Uint8Array(48).fill(0x45));
      path.send(new Uint8Array([4, 0, 0, 0]));
      path.send(datagramOf('good'));
      await party.clock.advance(500);
    }
    expect([b.received, a.received]).toEqual([['good'], ['good']]);
  });
});
