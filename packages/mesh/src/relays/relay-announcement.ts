import { ByteReader, ByteWriter } from '@towpath/membership';
import { addressScope, addressToBytes, bytesToAddress, formatEndpoint, isPort } from '@towpath/net';
import type { MeshPeer, MeshRelay } from '../control-plane.ts';

/** Where a member relays for its party. */
export interface RelayAnnouncement {
  /** UDP and TCP. */
  readonly port: number;
  /** IPv4 addresses that the other members reach it at. */
  readonly addresses: readonly string[];
}

const RELAY_BLOCK = 1;
const VERSION = 1;
const MAX_ADDRESSES = 4;
/** Blocks of an announcement that are looked at; those of unknown kinds are skipped. */
const MAX_BLOCKS = 32;
const MEMBER_PREFIX = 'member:';

/** Encodes what a member announces: docs/protocol/mesh.md, "Announcement". Empty when it announces nothing. */
export function encodeAnnouncement({ relay }: { relay?: RelayAnnouncement | undefined }): Uint8Array {
  if (relay === undefined) return new Uint8Array(0);
  const block = new ByteWriter().u8(VERSION).u16(relay.port);
  const addresses = relay.addresses.slice(0, MAX_ADDRESSES).map((address) => addressToBytes(address)!);
  block.u8(addresses.length);
  for (const address of addresses) block.raw(address);
  const bytes = block.done();
  return new ByteWriter().u8(RELAY_BLOCK).u16(bytes.length).raw(bytes).done();
}

/** Returns the version of an announced relay that {@link decodeAnnouncement} does not read for its version; undefined otherwise. */
export function foreignAnnouncement(bytes: Uint8Array): number | undefined {
  const version = relayBlock(bytes)?.[0];
  return version === VERSION ? undefined : version;
}

/** Reads the relay of an announcement; undefined when there is none that can be used. Never throws. */
export function decodeAnnouncement(bytes: Uint8Array): { relay: RelayAnnouncement | undefined } {
  const block = relayBlock(bytes);
  return { relay: block && readRelay(new ByteReader(block)) };
}

function relayBlock(bytes: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(bytes);
  for (let count = 0; count < MAX_BLOCKS && reader.left > 0; count++) {
    const kind = reader.u8();
    const block = reader.raw(reader.u16());
    if (reader.failed) break;
    if (kind === RELAY_BLOCK) return block;
  }
  return undefined;
}

function readRelay(reader: ByteReader): RelayAnnouncement | undefined {
  if (reader.u8() !== VERSION) return undefined;
  const port = reader.u16();
  const count = reader.u8();
  if (count === 0 || count > MAX_ADDRESSES || !isPort(port)) return undefined;
  const addresses: string[] = [];
  for (let at = 0; at < count; at++) {
    const address = bytesToAddress(reader.raw(4));
    if (address !== undefined && isReachable(address)) addresses.push(address);
  }
  if (reader.failed || reader.left > 0 || addresses.length === 0) return undefined;
  return { port, addresses };
}

/** True for addresses that members elsewhere can reach: a relay at home or on this machine is none. */
export function isReachable(address: string): boolean {
  const scope = addressScope(address);
  return scope === 'global' || scope === 'documentation';
}

/** The relays that members offer to their party now. */
export function memberRelays(peers: readonly MeshPeer[]): MeshRelay[] {
  return peers.flatMap((peer) => (peer.online ? (memberRelay(peer) ?? []) : []));
}

function memberRelay({ id, announcement }: MeshPeer): MeshRelay | undefined {
  const { relay } = announcement === undefined ? { relay: undefined } : decodeAnnouncement(announcement);
  if (relay === undefined) return undefined;
  const urls = relay.addresses.flatMap((address) => {
    const at = formatEndpoint({ address, port: relay.port });
    return [`turn:${at}?transport=udp`, `turn:${at}?transport=tcp`];
  });
  return { id: `${MEMBER_PREFIX}${id}`, urls, region: '', load: 0, healthy: true };
}

/** The member whose relay it is; undefined for an operator's. */
export function ownerOf(relay: { readonly id: string }): string | undefined {
  return relay.id.startsWith(MEMBER_PREFIX) ? relay.id.slice(MEMBER_PREFIX.length) : undefined;
}
