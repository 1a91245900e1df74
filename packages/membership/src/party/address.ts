import { fromHex } from '../encoding/bytes.ts';
import { ID_BYTES, type PeerId, sha256 } from '../identity/keys.ts';

/** The network of virtual addresses (C5). */
export const VIRTUAL_NETWORK = '10.66.0.0/16';
/** Last octets 2…254: .0, .1 and .255 are not used. */
const HOSTS_PER_BLOCK = 253;
/** Most members of one party. */
export const MAX_ADDRESSES: number = 256 * HOSTS_PER_BLOCK;
/** With half of all addresses used, 32 draws fail once in 4 billion cases; then the search continues in order. */
const DRAWS = 32;
const DOMAIN = new TextEncoder().encode('towpath address v1\n');

/**
 * Returns the address of a peer that joins now: a draw from SHA-256 of its id, or the next draw when that one is
 * used. Every member computes the same, because `everUsed` and `inUse` follow from the ordered log. The address
 * of a former member is used again only when no draw gives a new one.
 *
 * @returns undefined when all addresses are in use.
 */
export function virtualAddressFor(
  peer: PeerId,
  taken: { inUse(address: string): boolean; everUsed(address: string): boolean },
): string | undefined {
  const id = fromHex(peer, ID_BYTES) ?? new Uint8Array(ID_BYTES);
  for (let draw = 0; draw < DRAWS; draw++) {
    const address = addressAt(drawIndex(id, draw));
    if (!taken.everUsed(address)) return address;
  }
  const start = drawIndex(id, 0);
  for (let step = 0; step < MAX_ADDRESSES; step++) {
    const address = addressAt((start + step) % MAX_ADDRESSES);
    if (!taken.inUse(address)) return address;
  }
  return undefined;
}

function drawIndex(id: Uint8Array, draw: number): number {
  const digest = sha256(DOMAIN, id, new Uint8Array([draw]));
  // Six bytes against 64,768 addresses: the bias of the remainder is below one in four billion.
  let value = 0;
  for (let at = 0; at < 6; at++) value = value * 256 + digest[at]!;
  return value % MAX_ADDRESSES;
}

function addressAt(index: number): string {
  return `10.66.${Math.floor(index / HOSTS_PER_BLOCK)}.${2 + (index % HOSTS_PER_BLOCK)}`;
}
