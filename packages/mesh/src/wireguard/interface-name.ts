import type { Random } from '@towpath/core';
import { type PartyId, type PeerId, sha256, toHex } from '@towpath/membership';

const DIGITS = 10;
const PARTY_INTERFACE = /^tp-[0-9a-f]{10}$/;
const DOMAIN = new TextEncoder().encode('towpath interface v1\n');

/**
 * Returns the name of the interface of one member of one party: `tp-` and ten hex digits, always the same, so that it
 * is found again after a crash. The member's id is part of it because two members may share a machine.
 */
export function interfaceNameFor(party: PartyId, self: PeerId): string {
  const digest = sha256(DOMAIN, new TextEncoder().encode(`${party}\n${self}\n`));
  return `tp-${toHex(digest).slice(0, DIGITS)}`;
}

/** Returns the name of an interface that is made to see whether one can be, and removed at once. */
export function trialInterfaceName(random: Random): string {
  return `tp-${toHex(random.bytes(DIGITS / 2))}`;
}

/** True for the names of {@link interfaceNameFor} and {@link trialInterfaceName}: interfaces of this machine's parties. */
export function isPartyInterface(name: string): boolean {
  return PARTY_INTERFACE.test(name);
}
