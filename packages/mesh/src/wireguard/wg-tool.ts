import { parseEndpoint, parseSubnet } from '@towpath/net';
import { MeshError } from '../mesh-error.ts';
import { type Commands, runChecked } from './command.ts';
import type { DeviceChange, DeviceControl, PeerChange, WireGuardDevice, WireGuardPeer } from './device.ts';
import { endpointText, MAX_PEERS, networkText } from './uapi.ts';

/** Configures a WireGuard interface of the kernel with `wg`. Secrets go through standard input. */
export class WgToolControl implements DeviceControl {
  readonly #commands: Commands;
  readonly #name: string;

  /** @param interfaceName one of ours; see {@link interfaceNameFor}. */
  constructor(components: { commands: Commands }, interfaceName: string) {
    this.#commands = components.commands;
    this.#name = interfaceName;
  }

  async configure(change: DeviceChange, signal?: AbortSignal): Promise<void> {
    const head = ['set', this.#name];
    if (change.listenPort !== undefined) head.push('listen-port', String(change.listenPort));
    if (change.privateKey) await this.#wg([...head, 'private-key', '/dev/stdin'], change.privateKey, signal);
    else if (head.length > 2) await this.#wg(head, undefined, signal);
    const peers = [...(change.peers ?? [])];
    if (change.replacePeers) peers.unshift(...(await this.#strangers(peers, signal)));
    for (const peer of peers) await this.#configurePeer(peer, signal);
  }

  async read(signal?: AbortSignal): Promise<WireGuardDevice> {
    const device = decodeWgDump(await runChecked(this.#commands, 'wg', ['show', this.#name, 'dump'], { signal }));
    if (device !== undefined) return device;
    throw new MeshError('wireguard-failed', `"wg show ${this.#name} dump" gave an unreadable answer.`, {
      target: this.#name,
    });
  }

  async #configurePeer(peer: PeerChange, signal: AbortSignal | undefined): Promise<void> {
    const args = ['set', this.#name, 'peer', keyBase64(peer.publicKey)];
    if (peer.remove) {
      await this.#wg([...args, 'remove'], undefined, signal);
      return;
    }
    // `wg` creates a peer that it does not know; with updateOnly a late change must not.
    if (peer.updateOnly && !(await this.#has(peer.publicKey, signal))) return;
    if (peer.endpoint) args.push('endpoint', endpointText(peer.endpoint));
    if (peer.persistentKeepaliveSeconds !== undefined) {
      args.push('persistent-keepalive', String(peer.persistentKeepaliveSeconds));
    }
    if (peer.allowedIps) args.push('allowed-ips', peer.allowedIps.map(networkText).join(','));
    if (peer.presharedKey) await this.#wg([...args, 'preshared-key', '/dev/stdin'], peer.presharedKey, signal);
    else await this.#wg(args, undefined, signal);
  }

  /** Removals of all peers that `kept` does not name. */
  async #strangers(kept: readonly PeerChange[], signal: AbortSignal | undefined): Promise<PeerChange[]> {
    const names = new Set(kept.map((peer) => keyBase64(peer.publicKey)));
    const { peers } = await this.read(signal);
    return peers
      .filter(({ publicKey }) => !names.has(keyBase64(publicKey)))
      .map(({ publicKey }) => ({ publicKey, remove: true }));
  }

  async #has(publicKey: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
    const { peers } = await this.read(signal);
    return peers.some((peer) => Buffer.from(peer.publicKey).equals(publicKey));
  }

  async #wg(args: readonly string[], secret: Uint8Array | undefined, signal: AbortSignal | undefined): Promise<void> {
    const input = secret && `${keyBase64(secret)}\n`;
    await runChecked(this.#commands, 'wg', args, { input, signal });
  }
}

/** A key in the form that `wg` takes: base64 with padding. */
function keyBase64(key: Uint8Array): string {
  return Buffer.from(key).toString('base64');
}

/** Reads what `wg show IF dump` prints; undefined when it is not of that form. Secrets are not kept. */
export function decodeWgDump(text: string): WireGuardDevice | undefined {
  const [first = '', ...rest] = text.split('\n').filter((line) => line !== '');
  const head = first.split('\t');
  const listenPort = Number(head[2]);
  if (head.length !== 4 || !Number.isInteger(listenPort) || rest.length > MAX_PEERS) return undefined;
  const peers: WireGuardPeer[] = [];
  for (const line of rest) {
    const peer = decodePeerLine(line.split('\t'));
    if (peer === undefined) return undefined;
    peers.push(peer);
  }
  return { listenPort, peers };
}

function decodePeerLine(fields: readonly string[]): WireGuardPeer | undefined {
  const [key = '', , endpoint = '', networks = '', handshake, received, sent, keepalive] = fields;
  const publicKey = new Uint8Array(Buffer.from(key, 'base64'));
  const [handshakeSeconds, receivedBytes, sentBytes] = [handshake, received, sent].map(Number);
  if (fields.length !== 8 || publicKey.length !== 32) return undefined;
  if (![handshakeSeconds, receivedBytes, sentBytes].every((value) => Number.isSafeInteger(value))) return undefined;
  const at = parseEndpoint(endpoint);
  const allowedIps = networks === '(none)' ? [] : networks.split(',');
  if (!allowedIps.every((network) => parseSubnet(network))) return undefined;
  return {
    publicKey,
    endpoint: at.ok ? at.endpoint : undefined,
    allowedIps,
    lastHandshakeMs: handshakeSeconds ? handshakeSeconds * 1000 : undefined,
    receivedBytes: receivedBytes!,
    sentBytes: sentBytes!,
    persistentKeepaliveSeconds: keepalive === 'off' ? 0 : Number(keepalive) || 0,
  };
}
