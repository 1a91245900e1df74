import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeText } from '../src/artemis/cipher.ts';
import { FrameStream } from '../src/artemis/frame.ts';
import { parseJsonObject } from '../src/artemis/json.ts';
import { Hotspot, type RawClient, UID } from './emulator-fixture.ts';

const captures = new URL('../../../../shared/captures/', import.meta.url);

interface Answer {
  cmdId: number;
  seq: number;
  length: number;
  index: number;
  last_index: number;
}

/** The datagrams of channel 0 that the vendor's app sent in a recording, in order and with their repeats. */
function recordedRequests(name: string): Uint8Array[] {
  const lines = readFileSync(new URL(`${name}.jsonl`, captures), 'utf8')
    .trim()
    .split('\n');
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ dir, proto, hex }) => dir === 'tx' && proto === 'udp' && hex.startsWith('f1d0'))
    .map(({ hex }) => Buffer.from(hex, 'hex'));
}

/** The answers that the real camera gave, where the recorder kept them. */
function recordedAnswers(name: string): Answer[] {
  const { messages } = JSON.parse(readFileSync(new URL(`${name}.expected.json`, captures), 'utf8'));
  return messages.filter(({ kind }: { kind: string }) => kind === 'response');
}

/** The answers that a client heard, with the DRW indices of their first and last packet. */
function heardAnswers(raw: RawClient): Answer[] {
  const packets = new Map<number, Uint8Array>();
  for (const drw of raw.of('DRW')) if (drw.channel === 0) packets.set(drw.index, drw.data);
  const answers: Answer[] = [];
  let first: number | undefined;
  let now = 0;
  const stream = new FrameStream({
    onFrame: ({ seq, body }) => {
      const text = decodeText(body);
      const json = text.ok ? parseJsonObject(text.value) : text;
      if (!json.ok) throw new Error(json.message);
      answers.push({ cmdId: Number(json.value.cmdId), seq, length: body.length, index: first ?? now, last_index: now });
      first = undefined;
    },
  });
  for (const [index, data] of [...packets].sort(([a], [b]) => a - b)) {
    now = index;
    stream.push(data);
    if (stream.pendingBytes > 0) first ??= index;
  }
  return answers;
}

test.for(['udp_traffic_2', 'frida_udp_traffic', 'udp_traffic_1'])(
  'answers the recorded requests of %s as the real camera did: same lengths, same packet numbers (B11)',
  async (name, context) => {
    if (!existsSync(captures)) context.skip('the captures are not beside this repository');
    const hotspot = new Hotspot();
    await hotspot.camera({ tokenPolicy: 'ignore', batteryPercent: 20, temperature: 19 });
    const raw = await hotspot.raw();
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(60);
    for (const datagram of recordedRequests(name)) {
      raw.sendBytes(datagram);
      await hotspot.clock.advance(15);
    }
    const heard = heardAnswers(raw);
    const compared = recordedAnswers(name).filter(({ cmdId }) => cmdId !== 772);
    expect(compared.length).toBeGreaterThanOrEqual(3);
    for (const { cmdId, seq, length, index, last_index } of compared) {
      expect(heard).toContainEqual({ cmdId, seq, length, index, last_index });
    }
    await hotspot.end();
  },
);
