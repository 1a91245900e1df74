import type { CapturedPacket, CaptureDirection } from '@towpath/net/capture';
import { BleReassembler } from '../artemis/ble-message.ts';
import { parseJsonObject } from '../artemis/json.ts';
import type { BleJson } from './decoded-message.ts';

/** Most writes that are printed; a camera is woken with one. */
const MAX_WRITES = 256;

/** Messages between a client and a camera over Bluetooth LE. */
export class BleConversation {
  readonly #answer = new BleReassembler();
  readonly #writes: string[] = [];
  #notifications = 0;
  #message: Pick<BleJson, 'cmd' | 'length' | 'json'> | undefined;

  push(packet: CapturedPacket, direction: CaptureDirection): void {
    if (direction === 'tx') {
      if (this.#writes.length < MAX_WRITES) this.#writes.push(Buffer.from(packet.data).toString('hex'));
      return;
    }
    this.#notifications++;
    if (packet.truncated !== undefined) return;
    const message = this.#answer.push(packet.data);
    if (message?.ok !== true || this.#message !== undefined) return;
    const { id, payload } = message.value;
    const json = parseJsonObject(Buffer.from(payload).toString('utf8').replace(/\0+$/, ''));
    this.#message = { cmd: id, length: payload.length, ...(json.ok ? { json: json.value } : {}) };
  }

  summary(): BleJson | undefined {
    if (this.#writes.length === 0 && this.#notifications === 0) return undefined;
    return { write: this.#writes, notifications: this.#notifications, ...this.#message };
  }
}
