import { hkdfSync } from 'node:crypto';
import { agree, type PartyId, type PeerId, type WireGuardKey } from '@towpath/membership';

/** What the checks between two members are named and signed with (RFC 8445 §5.3). */
export interface PairSecrets {
  readonly localUfrag: string;
  readonly remoteUfrag: string;
  readonly localPassword: string;
  readonly remotePassword: string;
}

/**
 * Derives the secrets of a pair from both WireGuard keys (X25519, HKDF-SHA-256): nobody else knows them, and checks can
 * begin without asking the other first.
 * @returns undefined when the peer's key is no usable key.
 */
export function pairSecrets(options: {
  party: PartyId;
  self: PeerId;
  peer: PeerId;
  own: WireGuardKey;
  theirs: Uint8Array;
}): PairSecrets | undefined {
  const { party, self, peer } = options;
  const shared = agree(options.own, options.theirs);
  if (shared === undefined) return undefined;
  const derive = (what: string, from: PeerId, to: PeerId, bytes: number) =>
    Buffer.from(
      hkdfSync('sha256', shared, new Uint8Array(0), `towpath check ${what} v1 ${party} ${from} ${to}`, bytes),
    ).toString('hex');
  return {
    localUfrag: derive('name', self, peer, 8),
    remoteUfrag: derive('name', peer, self, 8),
    localPassword: derive('password', self, peer, 24),
    remotePassword: derive('password', peer, self, 24),
  };
}
