import { type Endpoint, formatEndpoint, isIpAddress, parseEndpoint, parseSubnet } from '@towpath/net';
import type { DeviceChange, PeerChange, WireGuardDevice, WireGuardPeer } from './device.ts';

/** WireGuard's cross-platform userspace interface: text of `key=value` lines that an empty line ends. */

/** The longest answer that is read: 4,096 peers with many networks each. */
export const MAX_UAPI_BYTES: number = 4 * 1024 * 1024;
export const MAX_PEERS = 4_096;
const MAX_ALLOWED_IPS = 1_024;
const KEY_HEX = /^[0-9a-f]{64}$/;
const KEY_BYTES = 32;

/** Asks for the whole state of the interface. */
export const UAPI_GET = 'get=1\n\n';

/**
 * Encodes a change as one `set` operation.
 * @throws RangeError when a key is not 32 bytes, or a number is out of range: a mistake of the caller.
 */
export function encodeUapiSet(change: DeviceChange): string {
  const lines = ['set=1'];
  if (change.privateKey) lines.push(`private_key=${keyHex(change.privateKey)}`);
  if (change.listenPort !== undefined) lines.push(`listen_port=${integer(change.listenPort, 65_535)}`);
  if (change.replacePeers) lines.push('replace_peers=true');
  for (const peer of change.peers ?? []) lines.push(...peerLines(peer));
  return `${lines.join('\n')}\n\n`;
}

function peerLines(peer: PeerChange): string[] {
  const lines = [`public_key=${keyHex(peer.publicKey)}`];
  if (peer.remove) return [...lines, 'remove=true'];
  if (peer.updateOnly) lines.push('update_only=true');
  if (peer.presharedKey) lines.push(`preshared_key=${keyHex(peer.presharedKey)}`);
  if (peer.endpoint) lines.push(`endpoint=${endpointText(peer.endpoint)}`);
  if (peer.persistentKeepaliveSeconds !== undefined) {
    lines.push(`persistent_keepalive_interval=${integer(peer.persistentKeepaliveSeconds, 65_535)}`);
  }
  if (peer.allowedIps) {
    lines.push('replace_allowed_ips=true');
    for (const network of peer.allowedIps) lines.push(`allowed_ip=${networkText(network)}`);
  }
  return lines;
}

function keyHex(key: Uint8Array): string {
  if (key.length !== KEY_BYTES) throw new RangeError(`A WireGuard key has 32 bytes, not ${key.length}.`);
  return Buffer.from(key).toString('hex');
}

function integer(value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`${value} is not in 0…${max}.`);
  return value;
}

/** The text of an address and a port that are what they claim to be: nothing else may reach the line protocol. */
export function endpointText(endpoint: Endpoint): string {
  if (!isIpAddress(endpoint.address)) throw new RangeError('An endpoint needs an IP address.');
  integer(endpoint.port, 65_535);
  return formatEndpoint(endpoint);
}

/** The text of a network that is one. */
export function networkText(network: string): string {
  const subnet = parseSubnet(network);
  if (subnet === undefined) throw new RangeError('An allowed network needs the form 10.66.0.7/32.');
  return `${subnet.address}/${subnet.prefixLength}`;
}

export type UapiFailure = 'too-long' | 'malformed' | 'too-many-peers' | 'refused';

export type UapiAnswer =
  | { readonly ok: true; readonly device: WireGuardDevice }
  | {
      readonly ok: false;
      readonly reason: UapiFailure;
      /** The operation's `errno` when it was refused. */
      readonly errno?: number;
    };

interface OpenPeer {
  publicKey: Uint8Array;
  endpoint: Endpoint | undefined;
  allowedIps: string[];
  handshakeSeconds: number;
  handshakeNanoseconds: number;
  receivedBytes: number;
  sentBytes: number;
  persistentKeepaliveSeconds: number;
}

/**
 * Reads the answer of a `get` or `set` operation. Keys that this version does not know are skipped, as the
 * interface's description asks; secrets are not kept. Never throws.
 */
export function decodeUapiAnswer(text: string): UapiAnswer {
  if (text.length > MAX_UAPI_BYTES) return { ok: false, reason: 'too-long' };
  const peers: OpenPeer[] = [];
  let listenPort = 0;
  let errno: number | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const equals = line.indexOf('=');
    if (equals < 1) return { ok: false, reason: 'malformed' };
    const key = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (key === 'errno') {
      errno = count(value.replace(/^-/, ''));
      if (errno === undefined) return { ok: false, reason: 'malformed' };
    } else if (key === 'listen_port') {
      const port = count(value);
      if (port === undefined || port > 65_535) return { ok: false, reason: 'malformed' };
      listenPort = port;
    } else if (key === 'public_key') {
      if (!KEY_HEX.test(value)) return { ok: false, reason: 'malformed' };
      if (peers.length >= MAX_PEERS) return { ok: false, reason: 'too-many-peers' };
      peers.push(newPeer(new Uint8Array(Buffer.from(value, 'hex'))));
    } else {
      const peer = peers.at(-1);
      if (peer !== undefined && !readPeerField(peer, key, value)) return { ok: false, reason: 'malformed' };
    }
  }
  if (errno === undefined) return { ok: false, reason: 'malformed' };
  if (errno !== 0) return { ok: false, reason: 'refused', errno };
  return { ok: true, device: { listenPort, peers: peers.map(closePeer) } };
}

function newPeer(publicKey: Uint8Array): OpenPeer {
  return {
    publicKey,
    endpoint: undefined,
    allowedIps: [],
    handshakeSeconds: 0,
    handshakeNanoseconds: 0,
    receivedBytes: 0,
    sentBytes: 0,
    persistentKeepaliveSeconds: 0,
  };
}

/** False when the value is not of the key's form. */
function readPeerField(peer: OpenPeer, key: string, value: string): boolean {
  switch (key) {
    case 'endpoint': {
      const read = parseEndpoint(value);
      if (!read.ok) return false;
      peer.endpoint = read.endpoint;
      return true;
    }
    case 'allowed_ip': {
      const subnet = parseSubnet(value);
      if (subnet === undefined || peer.allowedIps.length >= MAX_ALLOWED_IPS) return false;
      peer.allowedIps.push(`${subnet.address}/${subnet.prefixLength}`);
      return true;
    }
    case 'last_handshake_time_sec':
      return store(value, (number) => {
        peer.handshakeSeconds = number;
      });
    case 'last_handshake_time_nsec':
      return store(value, (number) => {
        peer.handshakeNanoseconds = number;
      });
    case 'rx_bytes':
      return store(value, (number) => {
        peer.receivedBytes = number;
      });
    case 'tx_bytes':
      return store(value, (number) => {
        peer.sentBytes = number;
      });
    case 'persistent_keepalive_interval':
      return store(value, (number) => {
        peer.persistentKeepaliveSeconds = number;
      });
    default:
      return true;
  }
}

function store(value: string, put: (number: number) => void): boolean {
  const number = count(value);
  if (number !== undefined) put(number);
  return number !== undefined;
}

/** A non-negative integer that a double holds exactly. */
function count(value: string): number | undefined {
  if (!/^\d{1,16}$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

function closePeer(peer: OpenPeer): WireGuardPeer {
  const { handshakeSeconds, handshakeNanoseconds, ...rest } = peer;
  const handshakeMs = handshakeSeconds * 1000 + Math.floor(handshakeNanoseconds / 1_000_000);
  return { ...rest, lastHandshakeMs: handshakeMs === 0 ? undefined : handshakeMs };
}
