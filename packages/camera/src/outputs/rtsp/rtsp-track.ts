import type { Random } from '@towpath/core';
import type { Network, TcpConnection, UdpSocket } from '@towpath/net';
import { encodeInterleaved, type RtspTransport } from './message.ts';
import { AUDIO_PAYLOAD_TYPE, RtpStream, VIDEO_CLOCK_HZ, VIDEO_PAYLOAD_TYPE } from './rtp.ts';

/** Pictures or sound of one session, and how they reach the viewer. */
export interface Track {
  readonly rtp: RtpStream;
  /** Transport header of the response. */
  readonly transport: string;
  readonly udp: boolean;
  /** False when so much is queued that frames have to be left out. */
  readonly ready: boolean;
  send(packet: Uint8Array): void;
  /** Sends a packet of RTCP. */
  report(packet: Uint8Array): void;
  close(): Promise<void>;
}

interface TrackComponents {
  readonly network: Network;
  readonly random: Random;
  readonly tcp: TcpConnection;
  /** Called for each report of the viewer. */
  onHeard(): void;
}

/** About two seconds of video in good quality. */
const MAX_QUEUED_BYTES = 1024 * 1024;

/**
 * Opens one track. Packets go only to the address that the viewer's connection comes from, which has authenticated itself.
 * @param soundHz rate of the sound; undefined for pictures
 * @throws NetError as `Network.bindUdp`
 */
export async function openTrack(
  { network, random, tcp, onHeard }: TrackComponents,
  soundHz: number | undefined,
  transport: RtspTransport,
): Promise<Track> {
  const numbers = new Uint32Array(Uint8Array.from(random.bytes(12)).buffer);
  const isSound = soundHz !== undefined;
  const rtp = new RtpStream(isSound ? AUDIO_PAYLOAD_TYPE : VIDEO_PAYLOAD_TYPE, soundHz ?? VIDEO_CLOCK_HZ, [
    numbers[0]!,
    numbers[1]!,
    numbers[2]!,
  ]);
  const ssrc = rtp.ssrc.toString(16).padStart(8, '0').toUpperCase();
  if (transport.type === 'tcp') {
    const [data, control] = transport.channels;
    return {
      rtp,
      udp: false,
      transport: `RTP/AVP/TCP;unicast;interleaved=${data}-${control};ssrc=${ssrc}`,
      get ready() {
        return tcp.bufferedBytes < MAX_QUEUED_BYTES;
      },
      send: (packet) => void tcp.write(encodeInterleaved(data, packet)),
      report: (packet) => void tcp.write(encodeInterleaved(control, packet)),
      close: async () => {},
    };
  }
  const { address } = tcp.remote;
  const family = address.includes(':') ? 6 : 4;
  const heard = {
    onMessage: (_data: Uint8Array, from: { address: string }) => void (from.address === address && onHeard()),
  };
  const bind = (): Promise<UdpSocket> => network.bindUdp({ address: tcp.local.address, family, ...heard });
  const data = await bind();
  const control = await bind().catch(async (error: unknown) => {
    await data.close();
    throw error;
  });
  const [dataPort, controlPort] = transport.ports;
  return {
    rtp,
    udp: true,
    transport: `RTP/AVP;unicast;client_port=${dataPort}-${controlPort};server_port=${data.local.port}-${control.local.port};ssrc=${ssrc}`,
    ready: true,
    send: (packet) => data.send(packet, { address, port: dataPort }),
    report: (packet) => control.send(packet, { address, port: controlPort }),
    close: async () => {
      await data.close();
      await control.close();
    },
  };
}
