import type { Random } from '@towpath/core';
import { type LogHead, type Member, type PartyId, type PeerId, SignalChannel, toBase64 } from '@towpath/membership';
import type { NodeIdentity } from '../identity/node-identity.ts';

/** The sealed channels between this node and the other members of a party. */
export class SignalChannels {
  readonly #party: PartyId;
  readonly #identity: () => NodeIdentity;
  readonly #random: Random;
  readonly #known = new Map<PeerId, { theirs: string; channel: SignalChannel | undefined }>();

  constructor(components: { identity: () => NodeIdentity; random: Random }, { party }: { party: PartyId }) {
    this.#party = party;
    this.#identity = components.identity;
    this.#random = components.random;
  }

  /** Returns a sealed signal; undefined when the member's key cannot be used. */
  seal(self: Member, to: Member, signal: { timeMs: number; head: LogHead; data: Uint8Array }): Uint8Array | undefined {
    return this.#between(self, to)?.seal(signal, this.#random);
  }

  /** Opens a signal; undefined when it is not sealed by this member, was seen before, or is too old. */
  open(
    self: Member,
    from: Member,
    bytes: Uint8Array,
    times: { nowMs: number; notBeforeMs: number },
  ): ReturnType<SignalChannel['open']> {
    return this.#between(self, from)?.open(bytes, times.nowMs, times.notBeforeMs);
  }

  /** Forgets the channels of nodes that are no longer members. */
  keepOnly(members: ReadonlyMap<PeerId, Member>): void {
    for (const peer of [...this.#known.keys()]) if (!members.has(peer)) this.#known.delete(peer);
  }

  #between(self: Member, peer: Member): SignalChannel | undefined {
    const { wireGuard } = this.#identity();
    const theirs = toBase64(peer.wireGuardKey) + toBase64(wireGuard.publicKey);
    const known = this.#known.get(peer.id);
    if (known?.theirs === theirs) return known.channel;
    const ends = { party: this.#party, self: self.id, peer: peer.id };
    const channel = SignalChannel.between({ ...ends, own: wireGuard, theirs: peer.wireGuardKey });
    this.#known.set(peer.id, { theirs, channel });
    return channel;
  }
}
