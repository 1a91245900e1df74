import { hkdfSync } from 'node:crypto';
import { agree, type PartyId, type PeerId, type WireGuardKey } from '@towpath/membership';

/**
 * Derives the password of one member at another member's relay from both WireGuard keys (X25519, HKDF-SHA-256). Nobody sends
 * it, no server knows it, and who is no member has none.
 * @param options.relay the member that relays
 * @param options.user the member that is relayed for
 * @returns undefined when the other key is no usable key.
 */
export function partyRelayPassword(options: {
  party: PartyId;
  relay: PeerId;
  user: PeerId;
  own: WireGuardKey;
  theirs: Uint8Array;
}): string | undefined {
  const shared = agree(options.own, options.theirs);
  if (shared === undefined) return undefined;
  const info = `towpath relay v1 ${options.party} ${options.relay} ${options.user}`;
  return Buffer.from(hkdfSync('sha256', shared, new Uint8Array(0), info, 24)).toString('hex');
}
