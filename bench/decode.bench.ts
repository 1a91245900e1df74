import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConversationDecoder } from '@towpath/camera/decode';
import { type CapturedPacket, readCapture } from '@towpath/net/capture';
import { encodeMessage } from '@towpath/pppp/codec';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';

const CAPTURES = join(import.meta.dirname, '..', '..', 'shared', 'captures');
const GOAL = 300_000;
/** In shorter recordings the set-up of the decoder dominates. */
const MIN_PACKETS = 50;
/** Decoding and reading alternate in short intervals, so that other load affects both equally. */
const STRETCHES = 7;

/** Packets per second through the decoder, over the recordings beside the repository, or over a generated one. */
export const bench: Bench = {
  about: 'decoding recorded traffic, packets per second, beside reading the same recordings from their text',
  async run({ quick, print }) {
    const stretchMs = quick ? 60 : 400;
    const all = recordings();
    const rows: BenchRow[] = [];
    for (const recording of all) {
      if (recording.packets.length < MIN_PACKETS) continue;
      const { value, baseline } = measure([recording], stretchMs);
      print(`  ${recording.name}: ${Math.round(value)} packets/s`);
      rows.push(row({ case: recording.name, metric: 'decoded', value, unit: 'packets/s', baseline }));
    }
    const { value, baseline } = measure(all, 2 * stretchMs);
    const goal = `≥ ${GOAL}`;
    rows.push(
      row({ case: 'all captures', metric: 'decoded', value, unit: 'packets/s', baseline, goal, met: value >= GOAL }),
    );
    return rows;
  },
};

interface Recording {
  name: string;
  text: Uint8Array;
  packets: CapturedPacket[];
}

/** Packets per second of decoding and of reading: medians over the intervals; the first is a warm-up. */
function measure(all: readonly Recording[], stretchMs: number): { value: number; baseline: number } {
  const decoded: number[] = [];
  const reading: number[] = [];
  for (let stretch = 0; stretch <= STRETCHES; stretch++) {
    decoded.push(rate(stretchMs, () => sum(all, decode)));
    reading.push(rate(stretchMs, () => sum(all, read)));
  }
  return { value: percentile(decoded.slice(1), 0.5), baseline: percentile(reading.slice(1), 0.5) };
}

/** One decoder per recording, as in use. Returns its count of packets. */
function decode({ packets }: Recording): number {
  const decoder = new ConversationDecoder({ onMessage: () => {} });
  for (const packet of packets) decoder.push(packet);
  return decoder.finish().records;
}

function read({ text }: Recording): number {
  let packets = 0;
  readCapture(text, { onPacket: () => packets++ });
  return packets;
}

function sum(all: readonly Recording[], work: (recording: Recording) => number): number {
  let packets = 0;
  for (const recording of all) packets += work(recording);
  return packets;
}

/** Repeats `work` for about `forMs`; returns its count per second. */
function rate(forMs: number, work: () => number): number {
  const startedAt = performance.now();
  let packets = 0;
  let elapsedMs = 0;
  while (elapsedMs < forMs) {
    packets += work();
    elapsedMs = performance.now() - startedAt;
  }
  return (packets * 1_000) / elapsedMs;
}

function recordings(): Recording[] {
  if (!existsSync(CAPTURES)) return [recording('made-up download', madeUp())];
  return readdirSync(CAPTURES)
    .filter((file) => file.endsWith('.jsonl') && !file.includes('.messages.') && !file.includes('.index.'))
    .map((file) => recording(file.replace('.jsonl', ''), readFileSync(join(CAPTURES, file))));
}

function recording(name: string, text: Uint8Array): Recording {
  const packets: CapturedPacket[] = [];
  readCapture(text, { onPacket: (packet) => packets.push({ ...packet }) });
  return { name, text, packets };
}

/** Full data packets of a download and their acknowledgements, as JSON lines. */
function madeUp(): Uint8Array {
  const lines: string[] = [];
  const add = (dir: 'rx' | 'tx', datagram: Uint8Array) => {
    const hex = Buffer.from(datagram).toString('hex');
    lines.push(`${JSON.stringify({ t: lines.length / 1_000, dir, proto: 'udp', hex })}\n`);
  };
  for (let index = 0; index < 2_000; index++) {
    add('rx', encodeMessage({ type: 'DRW', channel: 3, index, data: new Uint8Array(1_024) }));
    if (index % 17 !== 16) continue;
    const indices = Array.from({ length: 17 }, (_, n) => index - 16 + n);
    add('tx', encodeMessage({ type: 'DRW_ACK', channel: 3, indices }));
  }
  return Buffer.from(lines.join(''));
}
