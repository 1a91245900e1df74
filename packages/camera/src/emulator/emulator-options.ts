import type { Clock, Log, Random, PathKind } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { CloseReason, SessionOptions } from '@towpath/pppp';
import type { MediaItem } from '../artemis/media-item.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import type { EmulatorFaultOptions } from './faults.ts';
import type { PictureSource } from './media/picture-source.ts';

/** Components of an emulated camera. */
export interface CameraEmulatorComponents {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log | undefined;
}

/** Options of an emulated camera. */
export interface CameraEmulatorOptions
  extends Partial<
    Pick<
      EmulatedCamera,
      | 'seed'
      | 'deviceId'
      | 'batteryPercent'
      | 'temperature'
      | 'tokenPolicy'
      | 'secondTransfer'
      | 'mergeRatio'
      | 'hasCard'
      | 'audio'
      | 'timeCode'
      | 'responseDelayMs'
      | 'settingsPolicy'
    >
  > {
  /**
   * Shown in pictures and in the device info; capitals, digits and some punctuation can be drawn. @default `TOWPATH`
   * and the seed
   */
  readonly name?: string;
  /** UID in PPPP. @default the constant of the real cameras */
  readonly uid?: string;
  /** Local address to listen on. @default all */
  readonly address?: string;
  /** UDP port of sessions; 0 for any free port. @default 40611 */
  readonly listenPort?: number;
  /** UDP port for LAN search, or false for none. @default 32108 */
  readonly searchPort?: number | false;
  /** UDP ports that are open but do not answer. @default none */
  readonly deadPorts?: readonly number[];
  /** Items on the card. @default 83 */
  readonly itemCount?: number;
  /** Every n-th item is a video; 0: none is. @default 0 */
  readonly videoEvery?: number;
  /** Source of the pictures. @default drawn ones, with their own cache */
  readonly pictures?: PictureSource;
  /** Adds a picture at this interval, ms; 0: only on {@link takePicture}. @default 0 */
  readonly newPictureEveryMs?: number;
  /** Serves on the listen port only the first (address, port) that sends a packet. @default false */
  readonly firewall?: boolean;
  /** Network keys besides plaintext; answers use the key of the request. @default none */
  readonly keys?: readonly string[];
  /** False: only enciphered datagrams are accepted. @default true */
  readonly plaintext?: boolean;
  /** Sends 0x43 51 times before it is ready, as the recorded camera does after a LAN search. @default false */
  readonly offersTcp?: boolean;
  /** Most sessions at the same time. @default 8 */
  readonly maxSessions?: number;
  /** Rendezvous servers to log in at. The firewall admits them. */
  readonly servers?: readonly Endpoint[];
  /** Its secret for the servers (DSK). Never logged. */
  readonly secret?: string;
  /** Transport to servers and relays. @default 'auto' */
  readonly transport?: 'udp' | 'tcp' | 'auto';
  /** Session options, in addition to the real camera's behaviour. */
  readonly session?: SessionOptions;
  readonly faults?: EmulatorFaultOptions;
}

/** Events of an emulated camera. */
export interface CameraEmulatorEvents {
  session: { readonly peer: Endpoint; readonly pathKind: PathKind };
  /** A rendezvous server has accepted its login. */
  online: { readonly server: Endpoint };
  login: { readonly peer: Endpoint };
  command: { readonly peer: Endpoint; readonly id: number; readonly name: string };
  closed: { readonly peer: Endpoint; readonly reason: CloseReason };
  picture: { readonly item: MediaItem };
  rebooting: { readonly downMs: number };
  rebooted: { readonly downMs: number };
}

/** Options of a reboot. */
export interface RebootOptions {
  /** How long the camera is unreachable, ms. @default 5000 */
  readonly downMs?: number;
  /** Keep the (address, port) that the firewall admits. @default false */
  readonly keepFirewall?: boolean;
}
