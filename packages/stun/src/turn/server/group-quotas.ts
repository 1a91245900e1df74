import { type Clock, RateLimit } from '@towpath/core';

/** Limits that several users share, such as the members of one party. */
export interface TurnGroupLimits {
  /** What the groups are, for metrics: `party`. */
  readonly name: string;
  /** The group of a user; undefined when it belongs to none. */
  groupOf(user: string): string | undefined;
  /** Allocations of one group at a time, reserved ports included. */
  readonly allocations: number;
  /** Ports for plain relaying of one group at a time. @default allocations */
  readonly plainPorts?: number;
  /** Relayed bytes of one group per second, both directions together; Infinity is no limit. */
  readonly bytesPerSecond: number;
  /**
   * It is a part of another group. The kernel, which knows one account for each session, then keeps to the other group's rate.
   * @default false
   */
  readonly isPart?: boolean;
}

/** Counts allocations, plain ports and bytes of groups of users. */
export class GroupQuotas {
  readonly #kinds: readonly Kind[];

  constructor(components: { clock: Clock }, groups: readonly TurnGroupLimits[]) {
    this.#kinds = groups.map((limits) => new Kind(components, limits));
  }

  /** Returns the name of the kind of group that has no place for one more of this user; undefined when there is. */
  full(user: string, counted: number): string | undefined {
    return this.#kinds.find((kind) => !kind.hasRoom(user, counted))?.limits.name;
  }

  /** Counts a plain port of a user; false when a group has no place for it. */
  takePlainPort(user: string): boolean {
    if (!this.#kinds.every((kind) => kind.hasPlainRoom(user))) return false;
    for (const kind of this.#kinds) kind.addPlain(user, 1);
    return true;
  }

  giveBackPlainPort(user: string): void {
    for (const kind of this.#kinds) kind.addPlain(user, -1);
  }

  take(user: string): void {
    for (const kind of this.#kinds) kind.add(user, 1);
  }

  giveBack(user: string): void {
    for (const kind of this.#kinds) kind.add(user, -1);
  }

  /** The rates of the groups that a user belongs to. */
  ratesOf(user: string): GroupRates {
    return new GroupRates(this.#kinds.flatMap((kind) => kind.rateOf(user) ?? []));
  }
}

interface SharedRate {
  readonly kind: string;
  readonly group: string;
  readonly limit: RateLimit;
  /** A datagram larger than a second's rate takes all of it. */
  readonly mostBytes: number;
  readonly isPart: boolean;
}

/** What one user's groups may relay; asked for every packet. */
export class GroupRates {
  readonly #rates: readonly SharedRate[];

  constructor(rates: readonly SharedRate[]) {
    this.#rates = rates;
  }

  /** Takes bytes off the rate of every group; takes nothing and returns false when one of them is used up. */
  charge(bytes: number): boolean {
    if (this.waitMs(bytes) > 0) return false;
    for (const { limit, group, mostBytes } of this.#rates) limit.take(group, Math.min(bytes, mostBytes));
    return true;
  }

  /** Takes bytes that were relayed already, in the kernel. */
  spend(bytes: number): void {
    for (const { limit, group } of this.#rates) limit.spend(group, bytes);
  }

  /** The smallest of the rates of whole groups, with a name of its own. */
  get tightest(): { readonly id: string; readonly bytesPerSecond: number } | undefined {
    const [first] = this.#rates.filter(({ isPart }) => !isPart).toSorted((a, b) => a.mostBytes - b.mostBytes);
    return first && { id: `${first.kind}:${first.group}`, bytesPerSecond: first.mostBytes };
  }

  /** How long to wait before `bytes` can be taken, ms. */
  waitMs(bytes: number): number {
    let longest = 0;
    for (const { limit, group, mostBytes } of this.#rates) {
      longest = Math.max(longest, limit.waitMs(group, Math.min(bytes, mostBytes)));
    }
    return longest;
  }
}

class Kind {
  readonly limits: TurnGroupLimits;
  readonly #used = new Map<string, number>();
  readonly #plain = new Map<string, number>();
  readonly #rate: RateLimit | undefined;

  constructor(components: { clock: Clock }, limits: TurnGroupLimits) {
    this.limits = limits;
    const { bytesPerSecond } = limits;
    this.#rate = Number.isFinite(bytesPerSecond) ? new RateLimit(components, { perSecond: bytesPerSecond }) : undefined;
  }

  hasRoom(user: string, counted: number): boolean {
    const group = this.limits.groupOf(user);
    return group === undefined || (this.#used.get(group) ?? 0) - counted < this.limits.allocations;
  }

  hasPlainRoom(user: string): boolean {
    const { allocations, plainPorts = allocations } = this.limits;
    const group = this.limits.groupOf(user);
    return group === undefined || (this.#plain.get(group) ?? 0) < plainPorts;
  }

  add(user: string, change: 1 | -1): void {
    this.#change(this.#used, user, change);
  }

  addPlain(user: string, change: 1 | -1): void {
    this.#change(this.#plain, user, change);
  }

  #change(counts: Map<string, number>, user: string, change: 1 | -1): void {
    const group = this.limits.groupOf(user);
    if (group === undefined) return;
    const used = (counts.get(group) ?? 0) + change;
    if (used > 0) counts.set(group, used);
    else counts.delete(group);
  }

  rateOf(user: string): SharedRate | undefined {
    const group = this.limits.groupOf(user);
    if (group === undefined || this.#rate === undefined) return undefined;
    const { name: kind, bytesPerSecond: mostBytes, isPart = false } = this.limits;
    return { kind, group, limit: this.#rate, mostBytes, isPart };
  }
}
