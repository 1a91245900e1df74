import { createLog } from '@towpath/core';
import { natKinds } from '@towpath/net/simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCandidateSignal } from '../../src/paths/candidate-signal.ts';
import { encodePunchSignal } from '../../src/paths/punch-signal.ts';
import { foreignSignal } from '../../src/paths/signal-version.ts';
import { encodeRelaySignal } from '../../src/relays/relay-signal.ts';
import { SimulatedParty } from './party.ts';

const candidates = encodeCandidateSignal({ session: 7, wantsAnswer: true, candidates: [] });
const SIGNALS: readonly (readonly [string, Uint8Array])[] = [
  ['candidates', candidates],
  ['a punching signal', encodePunchSignal({ type: 'search', endpoint: { address: '192.0.2.1', port: 9 }, step: 0 })],
  [
    'figures of relays',
    encodeRelaySignal({
      type: 'figures',
      session: 1,
      sequence: 1,
      wantsAnswer: false,
      isUnsettled: false,
      figures: [],
    }),
  ],
];

function inVersion(signal: Uint8Array, version: number): Uint8Array {
  const altered = new Uint8Array(signal);
  altered[1] = version;
  return altered;
}

describe('a member of another version (C3)', () => {
  let party: SimulatedParty | undefined;
  afterEach(() => party?.close());

  it.each(SIGNALS)('is known by %s in every version but the own one', (_what, signal) => {
    const own = signal[1]!;
    const foreign = Array.from({ length: 256 }, (_, version) => foreignSignal(inVersion(signal, version)));
    expect(foreign.map((form, version) => form?.version === version && form.known === own)).toEqual(
      foreign.map((_, version) => version !== own),
    );
    expect(foreignSignal(inVersion(signal, own))).toBeUndefined();
  });

  it.each([
    ['of an unknown kind', Uint8Array.of(200, 1, 1)],
    ['without a version', Uint8Array.of(1)],
    ['without anything', new Uint8Array(0)],
  ])('is not known by a signal %s', (_what, signal) => {
    expect(foreignSignal(signal)).toBeUndefined();
  });

  it('is told of once for each version, is reached through a relay, and others are reached as ever', async () => {
    const said: string[] = [];
    party = new SimulatedParty(12);
    party.log = createLog(({ level, message }) => void said.push(`${level} ${message}`));
    await party.startRelay();
    const [a, b, c] = [
      await party.member('a', natKinds.portRestricted),
      await party.member('b', natKinds.portRestricted),
      await party.member('c', natKinds.portRestricted),
    ];
    // What b and a tell each other arrives in another version each time.
    let version = 0;
    party.alter = (data, { from, to }) => {
      const ends = [from, to];
      if (!ends.includes(a.peer.id) || !ends.includes(b.peer.id)) return data;
      version = (version + 1) % 3;
      return inVersion(data, 40 + version);
    };
    const [toB, toA] = [a.connect(b), b.connect(a)];
    const [toC] = [a.connect(c), c.connect(a)];
    await party.clock.advance(60_000);
    expect(toC.current?.kind).toBe('p2p');
    expect(toB.relayReason).toBe('other-version');
    const warnings = said.filter((line) => line.startsWith('warn'));
    const text = (name: string) =>
      `warn A signal of ${name} is ignored: it comes from another version of Towpath. Next: use the same version on both.`;
    expect(new Set(warnings)).toEqual(new Set([text('a'), text('b')]));
    // Three versions of at most four kinds at each end, however many signals came.
    expect(warnings.length).toBeLessThanOrEqual(24);
    // The same version again: they connect directly.
    party.alter = (data) => data;
    await party.clock.advance(120_000);
    expect([toB.current?.kind, toA.current?.kind]).toEqual(['p2p', 'p2p']);
    expect(toB.relayReason).toBeUndefined();
  });
});
