import { DRW_HEADER_BYTES, writeDrwHeader } from '@towpath/pppp/codec';
import type { Flow } from './relay-ends.ts';

/** A session packet as large as the goal says; PPPP's own are a little smaller. */
const PACKET_BYTES = 1_200;

/** In flight at a time: twice what a Node socket reads in four loop turns, and less than a default socket buffer holds. */
const WINDOW = 128;
/** After this silence, packets in flight count as lost. */
const STALL_MS = 20;

/** Number of packet buffers: one may still be in use by the kernel when the next is written. */
const RING = 1_024;
/** Offset of the sending time in the packet. */
const STAMP_AT = 16;

export interface Forwarded {
  /** All received packets, also after the end of the interval. */
  packets: number;
  perSecond: number;
  lost: number;
}

/** Sends one packet for each that arrives. Resolves when none is in flight. */
export async function saturate(flows: readonly Flow[], forMs: number): Promise<Forwarded> {
  const packet = sessionPacket();
  let packets = 0;
  let sent = 0;
  let underWay = 0;
  const fill = () => {
    for (; underWay < WINDOW; underWay++) flows[sent++ % flows.length]?.source.send(packet);
  };
  let refill = fill;
  const onMessage = () => {
    packets++;
    underWay = Math.max(0, underWay - 1);
    refill();
  };
  for (const { sink } of flows) sink.on('message', onMessage);
  let seen = 0;
  const watch = setInterval(() => {
    if (packets === seen) underWay = 0;
    seen = packets;
    fill();
  }, STALL_MS);
  const startedAt = performance.now();
  fill();
  await sleep(forMs);
  const perSecond = (1_000 * packets) / (performance.now() - startedAt);
  refill = () => {};
  clearInterval(watch);
  await quiet(() => packets);
  for (const { sink } of flows) sink.off('message', onMessage);
  return { packets, perSecond, lost: sent - packets };
}

/** Sends at a steady rate, every millisecond what is due, and returns the latency of each packet, ms. */
export async function pace({ source, sink }: Flow, perSecond: number, forMs: number): Promise<Float64Array> {
  const total = Math.round((perSecond * forMs) / 1_000);
  const ring = Array.from({ length: RING }, sessionPacket);
  const delays = new Float64Array(total);
  let received = 0;
  const onMessage = (data: Buffer) => {
    delays[received++] = performance.now() - data.readDoubleLE(STAMP_AT);
  };
  sink.on('message', onMessage);
  const startedAt = performance.now();
  let sent = 0;
  while (sent < total) {
    // No busy waiting: the scheduler would delay this process most on a loaded machine.
    await sleep(1);
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) * perSecond) / 1_000));
    for (; sent < due; sent++) {
      const packet = ring[sent % RING] ?? sessionPacket();
      packet.writeDoubleLE(performance.now(), STAMP_AT);
      source.send(packet);
    }
  }
  await quiet(() => received);
  sink.off('message', onMessage);
  return delays.subarray(0, received);
}

/** Waits until a count stops growing. */
async function quiet(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); await sleep(STALL_MS)) before = count();
}

function sessionPacket(): Buffer {
  const packet = Buffer.alloc(PACKET_BYTES, 0x55);
  writeDrwHeader(packet, 1, 0, PACKET_BYTES - DRW_HEADER_BYTES);
  return packet;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
