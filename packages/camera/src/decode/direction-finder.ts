import type { CapturedEndpoint, CapturedPacket, CaptureDirection } from '@towpath/net/capture';
import { MessageType } from '@towpath/pppp/codec';
import { MessageType as FrameType } from '../artemis/frame.ts';

/** Ports on which cameras and their servers listen; clients use random ones. docs/protocol/pppp.md, "Ports". */
const LISTEN_PORTS = new Set([32108, 32100, 40611]);

/** Most endpoints that are distinguished; a recording has two that matter. */
const MAX_ENDPOINTS = 65_536;

/**
 * Weight of a packet as evidence of its sender: a frame shows its sender's role, a port or a handshake only suggests
 * it.
 */
const Weight = { certain: 64, likely: 8, hint: 1 } as const;

const FROM_CLIENT = new Set<number>([
  MessageType.LAN_SEARCH,
  MessageType.P2P_REQ,
  MessageType.P2P_REQ_DSK,
  MessageType.LIST_REQ,
  MessageType.LIST_REQ1,
  MessageType.LIST_REQ_DSK,
  MessageType.RLY_REQ,
  MessageType.REPORT_SESSION_READY,
]);
const FROM_CAMERA = new Set<number>([
  MessageType.P2P_RDY,
  MessageType.P2P_RDY_ACK,
  MessageType.DEV_LGN,
  MessageType.DEV_LGN_CRC,
  MessageType.DEV_LGN_DSK,
]);

/**
 * Finds the camera in a recording that contains addresses only. Every packet adds evidence to both of its endpoints;
 * the one with more evidence is the camera.
 */
export class DirectionFinder {
  readonly #evidence = new Map<string, number>();
  readonly #keys = new Map<CapturedEndpoint, string>();

  /** Takes the evidence of a packet. @param clear its bytes, deciphered */
  observe(packet: CapturedPacket, clear: Uint8Array): void {
    const weight = cameraSent(packet, clear);
    if (weight === 0) return;
    this.#add(packet.source, weight);
    this.#add(packet.destination, -weight);
  }

  /** Returns `tx` for client to camera. The packet's own ports decide when the evidence does not. */
  direction(packet: CapturedPacket): CaptureDirection {
    const source = this.#evidence.get(this.#key(packet.source)) ?? 0;
    const destination = this.#evidence.get(this.#key(packet.destination)) ?? 0;
    if (source !== destination) return source > destination ? 'rx' : 'tx';
    return isListenPort(packet.source) && !isListenPort(packet.destination) ? 'rx' : 'tx';
  }

  #add(endpoint: CapturedEndpoint, weight: number): void {
    const key = this.#key(endpoint);
    const known = this.#evidence.get(key);
    if (known === undefined && this.#evidence.size >= MAX_ENDPOINTS) return;
    this.#evidence.set(key, (known ?? 0) + weight);
  }

  #key(endpoint: CapturedEndpoint): string {
    let key = this.#keys.get(endpoint);
    if (key === undefined) {
      if (this.#keys.size >= MAX_ENDPOINTS) this.#keys.clear();
      key = `${endpoint.address ?? ''} ${endpoint.port ?? ''}`;
      this.#keys.set(endpoint, key);
    }
    return key;
  }
}

/** Returns a positive number for a packet that a camera seems to have sent, a negative one for a client. */
function cameraSent(packet: CapturedPacket, clear: Uint8Array): number {
  const type = clear[1] ?? -1;
  if (FROM_CLIENT.has(type)) return -Weight.likely;
  if (FROM_CAMERA.has(type)) return Weight.likely;
  if (type === MessageType.DRW) {
    const role = frameSender(clear);
    if (role !== 0) return role * Weight.certain;
  }
  const fromListener = Number(isListenPort(packet.source)) - Number(isListenPort(packet.destination));
  return fromListener * Weight.hint;
}

/** Returns 1 when a DRW contains what only a camera sends, −1 for a client, 0 when unknown. */
function frameSender(clear: Uint8Array): number {
  const data = clear.subarray(8);
  if (data.length === 3 && data[0] === 0x41 && data[1] === 0x43 && data[2] === 0x4b) return 1;
  if (data.length < 12 || data[0] !== 0x41 || data[1] !== 0x52 || data[6] !== 0x53) return 0;
  const type = data[8];
  return type === FrameType.request || type === FrameType.talk ? -1 : 1;
}

function isListenPort(endpoint: CapturedEndpoint): boolean {
  return endpoint.port !== undefined && LISTEN_PORTS.has(endpoint.port);
}
