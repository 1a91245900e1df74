import { SeededRandom } from '@towpath/core';
import { toHex, virtualAddressFor } from '@towpath/membership';
import { describe, expect, it } from 'vitest';

/** What a member computes from the log, one entry at a time. */
class Replica {
  readonly members = new Map<string, string>();
  readonly #everUsed = new Set<string>();
  at = 0;

  apply(entry: Entry): void {
    this.at++;
    if (entry.type === 'leave') {
      this.members.delete(entry.peer);
      return;
    }
    const inUse = new Set(this.members.values());
    const address = virtualAddressFor(entry.peer, {
      inUse: (each) => inUse.has(each),
      everUsed: (each) => this.#everUsed.has(each),
    })!;
    this.members.set(entry.peer, address);
    this.#everUsed.add(address);
  }

  get assigned(): number {
    return this.#everUsed.size;
  }
}

type Entry = { readonly type: 'join' | 'leave'; readonly peer: string };

describe('addresses of 1,000 members (C5)', () => {
  it('are never shared, and are the same on every member, through joins, departures and partitions', () => {
    const random = new SeededRandom(20_261_126);
    const log: Entry[] = [];
    const present: string[] = [];
    const replicas = Array.from({ length: 8 }, () => new Replica());
    const history: string[] = [];
    const judge = new Replica();
    let joins = 0;
    // Replicas on the other side of a partition fall behind and catch up later, at different moments.
    for (let step = 0; step < 6_000; step++) {
      const leave = present.length >= 1_000 || (present.length > 100 && random.next() < 0.35);
      const entry: Entry = leave
        ? { type: 'leave', peer: present.splice(random.integer(0, present.length - 1), 1)[0]! }
        : { type: 'join', peer: toHex(random.bytes(16)) };
      if (entry.type === 'join') {
        present.push(entry.peer);
        joins++;
      }
      log.push(entry);
      judge.apply(entry);
      const addresses = [...judge.members.values()];
      expect(new Set(addresses).size).toBe(addresses.length);
      if (entry.type === 'join') history.push(`${entry.peer} ${judge.members.get(entry.peer)}`);
      for (const replica of replicas) {
        if (random.next() < 0.1) while (replica.at < log.length) replica.apply(log[replica.at]!);
      }
    }
    for (const replica of replicas) {
      while (replica.at < log.length) replica.apply(log[replica.at]!);
      expect([...replica.members]).toEqual([...judge.members]);
    }
    for (const line of history) expect(line).toMatch(/ 10\.66\.\d+\.(?:[2-9]|\d\d|1\d\d|2[0-4]\d|25[0-4])$/);
    // Enough joins that draws have collided: each got a fresh address all the same.
    expect(joins).toBeGreaterThan(2_500);
    expect(judge.assigned).toBe(joins);
  });
});
