import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import {
  type SimulatedLinkOptions,
  type SimulatedHost,
  SimulatedInternet,
  type SimulatedLan,
} from '@towpath/net/simulated';
import type { PpppSession, SessionHandlers } from '../src/index.ts';
import { PpppDevice, type PpppDeviceOptions } from '../src/device/index.ts';
import { StreamCheck } from './channel-bytes.ts';

export const UID = 'TEST-000001-BCDEF';
export const LISTEN_PORT = 40_611;

/** A hotspot with a camera host and a phone in it, on a virtual clock. */
export interface Hotspot {
  clock: VirtualClock;
  internet: SimulatedInternet;
  lan: SimulatedLan;
  camera: SimulatedHost;
  phone: SimulatedHost;
  /** Every UDP datagram that was sent, as it went. */
  sent: { at: number; from: string; to: string; hex: string }[];
}

export function hotspot(link: SimulatedLinkOptions = {}, seed = 1): Hotspot {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(seed) });
  const lan = internet.lan({ subnet: '192.168.43.0/24', link: { delayMs: 1, ...link } });
  const camera = lan.host({ name: 'camera', address: '192.168.43.1' });
  const phone = lan.host({ name: 'phone', address: '192.168.43.20' });
  const sent: Hotspot['sent'] = [];
  internet.observe((event) => {
    if (event.event !== 'sent' || sent.length >= 20_000) return;
    const { packet } = event;
    sent.push({
      at: event.atMs,
      from: `${packet.source}:${packet.sourcePort}`,
      to: `${packet.destination}:${packet.destinationPort}`,
      hex: Buffer.from(packet.payload).toString('hex'),
    });
  });
  return { clock, internet, lan, camera, phone, sent };
}

/** From now on the camera's host is off: it neither refuses nor answers. */
export function switchOff({ camera }: Hotspot): void {
  camera.firewall.options = { policy: 'closed' };
}

/** A device on the hotspot's camera; `sessions` are attached and their data is thrown away unless told otherwise. */
export async function startDevice(
  { clock, camera }: Hotspot,
  options: Partial<PpppDeviceOptions> = {},
): Promise<{ device: PpppDevice; sessions: PpppSession[]; streams: StreamCheck[] }> {
  camera.firewall.options = { policy: 'open' };
  const sessions: PpppSession[] = [];
  const streams: StreamCheck[] = [];
  const device = await PpppDevice.open(
    { network: camera.network, clock },
    {
      uid: UID,
      listenPort: LISTEN_PORT,
      onSession(session) {
        sessions.push(session);
        const stream = new StreamCheck();
        streams.push(stream);
        session.attach({ onData: (channel, data) => channel === 0 && stream.add(data) });
        session.write(0, Buffer.from('ACK'));
      },
      ...options,
    },
  );
  return { device, sessions, streams };
}

/** Collects what a session says. */
export function listen(session: PpppSession): { text: string; closed: string | undefined } {
  const heard: { text: string; closed: string | undefined } = { text: '', closed: undefined };
  const handlers: SessionHandlers = {
    onData(_channel, data) {
      heard.text += Buffer.from(data).toString('latin1');
    },
    onClose(reason) {
      heard.closed = reason;
    },
  };
  session.attach(handlers);
  return heard;
}
