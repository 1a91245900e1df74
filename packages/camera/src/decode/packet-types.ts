import type { CaptureDirection } from '@towpath/net/capture';
import type { ConversationSummary } from './decoded-message.ts';

const BLE = 256;
const FOREIGN = 257;

/** Counts packets by direction and message type. */
export class PacketTypes {
  readonly #counts = { tx: new Float64Array(258), rx: new Float64Array(258) };
  #records = 0;
  #truncated = 0;

  /** @param type of the PPPP header, −1 for a packet that has none */
  count(direction: CaptureDirection, type: number, truncated: boolean): void {
    this.#records++;
    this.#counts[direction][type < 0 ? FOREIGN : type]!++;
    if (truncated) this.#truncated++;
  }

  countBle(direction: CaptureDirection, truncated: boolean): void {
    this.count(direction, BLE, truncated);
  }

  summary(): Pick<ConversationSummary, 'records' | 'packet_types' | 'truncated_records'> {
    return {
      records: this.#records,
      packet_types: { tx: named(this.#counts.tx), rx: named(this.#counts.rx) },
      ...(this.#truncated === 0 ? {} : { truncated_records: this.#truncated }),
    };
  }
}

function named(counts: Float64Array): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [type, count] of counts.entries()) {
    if (count === 0) continue;
    if (type === BLE) out.ble = count;
    else if (type === FOREIGN) out.other = count;
    else out[`0x${type.toString(16).padStart(2, '0')}`] = count;
  }
  return out;
}
