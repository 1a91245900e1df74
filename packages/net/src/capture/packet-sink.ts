import {
  type CapturedEndpoint,
  type CapturedPacket,
  type CaptureDirection,
  type CaptureProblem,
  type CaptureProblemCode,
  MAX_PROBLEMS,
  NO_ENDPOINT,
} from './captured-packet.ts';

/** A packet before it has a number. */
export interface PacketFields {
  position: number;
  /** On the recorder's own clock; made relative to {@link PacketSink.startMs} here. */
  timeMs: number | undefined;
  direction?: CaptureDirection | undefined;
  source?: CapturedEndpoint;
  destination?: CapturedEndpoint;
  proto?: 'udp' | 'ble';
  data: Uint8Array;
  truncated?: number | undefined;
  characteristic?: string | undefined;
}

/** Numbers packets, filters them, collects problems: the end that all readers write to. */
export class PacketSink {
  readonly problems: CaptureProblem[] = [];
  problemCount = 0;
  packets = 0;
  foreign = 0;
  /** What counts as time 0: the first packet of the file, of whatever kind. */
  startMs: number | undefined;
  readonly #onPacket: (packet: CapturedPacket) => void;
  readonly #accept: ((packet: CapturedPacket) => boolean) | undefined;

  constructor(onPacket: (packet: CapturedPacket) => void, accept: ((packet: CapturedPacket) => boolean) | undefined) {
    this.#onPacket = onPacket;
    this.#accept = accept;
  }

  /** Sets time 0 when it is not set yet. */
  startAt(timeMs: number | undefined): void {
    this.startMs ??= timeMs;
  }

  /** @param record the number to use instead of the next one, for formats that number their packets themselves */
  emit(fields: PacketFields, record?: number): void {
    const { timeMs } = fields;
    this.startAt(timeMs);
    const packet: CapturedPacket = {
      record: record ?? this.packets + 1,
      position: fields.position,
      timeMs: timeMs === undefined ? undefined : timeMs - (this.startMs ?? 0),
      direction: fields.direction,
      source: fields.source ?? NO_ENDPOINT,
      destination: fields.destination ?? NO_ENDPOINT,
      proto: fields.proto ?? 'udp',
      data: fields.data,
      truncated: fields.truncated,
      characteristic: fields.characteristic,
    };
    if (record === undefined && this.#accept !== undefined && !this.#accept(packet)) {
      this.foreign++;
      return;
    }
    this.packets++;
    this.#onPacket(packet);
  }

  problem(code: CaptureProblemCode, position: number, message: string): void {
    this.problemCount++;
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ code, position, message });
  }
}
