import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConversationDecoder } from '@towpath/camera';
import { type CapturedPacket, readCapture } from '@towpath/net';
import { encodeMessage, peekType } from '@towpath/pppp';
import { type Bench, type BenchRow, row } from './support/bench.ts';

const CAPTURES = join(import.meta.dirname, '..', '..', 'shared', 'captures');
const GOAL = 300_000;

/** Packets per second through the decoder, over recordings where they lie beside the repository, else over made-up ones. */
export const bench: Bench = {
  about: 'decoding recorded traffic, packets per second, beside only looking at the type of each packet',
  async run({ quick, say }) {
    const rows: BenchRow[] = [];
    for (const { name, packets } of recordings()) {
      if (packets.length < 50) continue;
      const rounds = Math.ceil((quick ? 100_000 : 1_000_000) / packets.length);
      decodeRounds(packets, Math.ceil(rounds / 10));
      const value = rate(packets.length * rounds, () => decodeRounds(packets, rounds));
      const baseline = rate(packets.length * rounds, () => peekRounds(packets, rounds));
      say(`  ${name}: ${Math.round(value)} packets/s`);
      const met = value >= GOAL;
      rows.push(row({ case: name, metric: 'decoded', value, unit: 'packets/s', baseline, goal: `≥ ${GOAL}`, met }));
    }
    return rows;
  },
};

function decodeRounds(packets: readonly CapturedPacket[], rounds: number): number {
  let messages = 0;
  for (let n = 0; n < rounds; n++) {
    const decoder = new ConversationDecoder({ onMessage: () => messages++ });
    for (const packet of packets) decoder.push(packet);
    decoder.finish();
  }
  return messages;
}

function peekRounds(packets: readonly CapturedPacket[], rounds: number): number {
  let sum = 0;
  for (let n = 0; n < rounds; n++) for (const { data } of packets) sum += peekType(data) ?? 0;
  return sum;
}

function rate(packets: number, work: () => unknown): number {
  const startedAt = performance.now();
  work();
  return (packets * 1_000) / (performance.now() - startedAt);
}

function recordings(): { name: string; packets: CapturedPacket[] }[] {
  if (!existsSync(CAPTURES)) return [{ name: 'made-up download', packets: madeUp() }];
  return readdirSync(CAPTURES)
    .filter((file) => file.endsWith('.jsonl') && !file.includes('.messages.') && !file.includes('.index.'))
    .map((file) => {
      const packets: CapturedPacket[] = [];
      readCapture(readFileSync(join(CAPTURES, file)), { onPacket: (packet) => packets.push({ ...packet }) });
      return { name: file.replace('.jsonl', ''), packets };
    });
}

/** Full data packets of a download and their acknowledgements. */
function madeUp(): CapturedPacket[] {
  const packets: CapturedPacket[] = [];
  for (let index = 0; index < 2_000; index++) {
    const data = encodeMessage({ type: 'DRW', channel: 3, index, data: new Uint8Array(1_024) });
    packets.push(captured(packets.length + 1, 'rx', data));
    if (index % 17 !== 16) continue;
    const indices = Array.from({ length: 17 }, (_, n) => index - 16 + n);
    packets.push(captured(packets.length + 1, 'tx', encodeMessage({ type: 'DRW_ACK', channel: 3, indices })));
  }
  return packets;
}

function captured(record: number, direction: 'rx' | 'tx', data: Uint8Array): CapturedPacket {
  const none = { address: undefined, port: undefined };
  return {
    record,
    position: record,
    timeMs: record,
    direction,
    source: none,
    destination: none,
    proto: 'udp',
    data,
    truncated: undefined,
    characteristic: undefined,
  };
}
