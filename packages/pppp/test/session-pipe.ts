import { type Clock, type Random, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import type { StreamCipher } from '../src/cipher/stream-cipher.ts';
import type { SessionCarrier } from '../src/session/carrier.ts';
import type { SessionOptions } from '../src/session/options.ts';
import { Session } from '../src/session/session.ts';
import type { CloseReason, SessionRole } from '../src/session-types.ts';
import { StreamCheck } from './channel-bytes.ts';

/** What happens to datagrams between the two ends of a pipe. */
export interface PipeFaults {
  delayMs?: number;
  /** Added at random, so that datagrams overtake each other. */
  jitterMs?: number;
  lossRatio?: number;
  duplicateRatio?: number;
  seed?: number;
}

export const CLIENT_AT: Endpoint = { address: '192.0.2.2', port: 40_000 };
export const DEVICE_AT: Endpoint = { address: '192.0.2.1', port: 40_611 };
export const UID = 'TEST-000001-BCDEF';

/** One end of a {@link pipe}, with what its user saw. */
export class PipeEnd {
  readonly session: Session;
  readonly streams: StreamCheck[] = Array.from({ length: 8 }, () => new StreamCheck());
  readonly sent: { at: number; hex: string }[] = [];
  closeReason: CloseReason | undefined;
  drains = 0;
  /** Stands for the carrier: false after the session let go of it. */
  open = true;

  constructor(
    clock: Clock,
    role: SessionRole,
    carry: (datagram: Uint8Array) => void,
    options: SessionOptions,
    cipher: StreamCipher | undefined,
  ) {
    const end = this;
    const carrier: SessionCarrier = {
      pathKind: 'lan',
      local: role === 'client' ? CLIENT_AT : DEVICE_AT,
      peer: role === 'client' ? DEVICE_AT : CLIENT_AT,
      send(datagram) {
        if (!end.open) return;
        if (end.sent.length < 5000) end.sent.push({ at: clock.now(), hex: Buffer.from(datagram).toString('hex') });
        carry(datagram);
      },
      async close() {
        end.open = false;
      },
    };
    this.session = new Session({ carrier, clock }, { role, uid: UID, options, cipher });
  }

  attach(): void {
    this.session.attach({
      onData: (channel, data) => this.streams[channel]!.add(data),
      onDrain: () => this.drains++,
      onClose: (reason) => {
        this.closeReason = reason;
      },
    });
  }
}

export interface Pipe {
  clock: VirtualClock;
  client: PipeEnd;
  device: PipeEnd;
  /** May be changed at any time. */
  state: { faults: PipeFaults; down: boolean };
}

/** Two sessions that face each other over an imagined network with faults. */
export function pipe(
  faults: PipeFaults = {},
  options: { client?: SessionOptions; device?: SessionOptions; cipher?: StreamCipher; attach?: boolean } = {},
): Pipe {
  const clock = new VirtualClock();
  const random: Random = new SeededRandom(faults.seed ?? 1);
  const state = { faults, down: false };

  const carry = (to: () => PipeEnd, from: Endpoint) => (datagram: Uint8Array) => {
    const { delayMs = 1, jitterMs = 0, lossRatio = 0, duplicateRatio = 0 } = state.faults;
    const copies = random.next() < duplicateRatio ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (state.down || random.next() < lossRatio) continue;
      clock.timer(delayMs + random.next() * jitterMs, () => to().session.receive(Uint8Array.from(datagram), from));
    }
  };
  const device: PipeEnd = new PipeEnd(
    clock,
    'device',
    carry(() => client, DEVICE_AT),
    options.device ?? {},
    options.cipher,
  );
  const client: PipeEnd = new PipeEnd(
    clock,
    'client',
    carry(() => device, CLIENT_AT),
    options.client ?? {},
    options.cipher,
  );
  if (options.attach !== false) {
    client.attach();
    device.attach();
  }
  return { clock, client, device, state };
}
