import { SeededRandom } from '@towpath/core';
import { describe, expect, it } from 'vitest';
import { PartyState, replayLog, virtualAddressFor } from '../src/index.ts';
import { TestParty, testNode } from './party-fixture.ts';

const NODES = 1_000;
const REPLICAS = 6;

/** What one node knows: a part of the log, which it verifies itself. */
class Replica {
  state: PartyState;
  readonly #party: TestParty;
  isApart = false;

  constructor(party: TestParty) {
    this.#party = party;
    this.state = new PartyState(party.key.publicKey);
  }

  follow(): void {
    const verdict = replayLog(this.state, this.#party.statements.slice(this.state.length));
    if (!verdict.ok) throw new Error(verdict.failure.message);
    this.state = verdict.state;
  }
}

function addresses(state: PartyState): string[] {
  return [...state.members.values()].map(({ id, virtualAddress }) => `${id} ${virtualAddress}`);
}

describe(`${NODES} members that join and leave while parts of the party are apart (C5)`, () => {
  it.each([1, 2, 3])('never share an address, and agree on all of them: seed %i', { timeout: 120_000 }, (seed) => {
    const random = new SeededRandom(seed);
    const party = new TestParty();
    const replicas = Array.from({ length: REPLICAS }, () => new Replica(party));
    const everyone = new Replica(party);
    let invite = party.invite(10_000);
    let uses = 0;
    let collided = 0;
    let joined = 0;
    while (joined < NODES) {
      for (const replica of replicas) {
        if (random.next() < 0.02) replica.isApart = !replica.isApart;
        if (!replica.isApart && random.next() < 0.5) replica.follow();
      }
      if (party.state.members.size > 100 && random.next() < 0.4) {
        const others = [...party.state.members.keys()].filter((id) => id !== party.founder.id);
        party.append(party.founder, { type: 'remove', member: others[random.integer(0, others.length - 1)]! });
        continue;
      }
      // The removal of a member ends the invite that it came with.
      if (uses === 100 || party.state.invite(invite.publicKey) === undefined)
        [invite, uses] = [party.invite(10_001 + joined), 0];
      // Two join at once: both statements follow the same one, so only the first of them is the next.
      const nodes = [testNode(100_000 * seed + joined), testNode(100_000 * seed + joined + 50_000)];
      const [first, second] = nodes.map((node) => party.draftJoin(node, invite));
      party.add(first!);
      uses++;
      joined++;
      everyone.follow();
      const late = replayLog(everyone.state, [second!.bytes]);
      expect(late).toMatchObject({ ok: false, failure: { reason: 'wrong-sequence' } });
      const newest = everyone.state.members.get(nodes[0]!.id)!;
      const alone = virtualAddressFor(newest.id, { inUse: () => false, everUsed: () => false });
      if (newest.virtualAddress !== alone) collided++;
      const given = addresses(everyone.state).map((line) => line.split(' ')[1]);
      expect(new Set(given).size).toBe(given.length);
    }
    everyone.follow();
    for (const replica of replicas) {
      replica.follow();
      expect(addresses(replica.state)).toEqual(addresses(everyone.state));
    }
    // Of 1,000 draws among 64,768 addresses about eight meet one that was given before.
    expect(collided).toBeGreaterThan(0);
  });
});
