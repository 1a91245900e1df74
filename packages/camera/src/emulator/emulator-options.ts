import type { Clock, Log, Random } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { CloseReason, SessionMode, SessionOptions } from '@towpath/pppp';
import type { MediaItem } from '../artemis/media-item.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import type { EmulatorFaultOptions } from './faults.ts';
import type { PictureSource } from './media/picture-source.ts';

/** What an emulated camera runs on. */
export interface CameraEmulatorComponents {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
}

/** What may be chosen of an emulated camera. */
export interface CameraEmulatorInit
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
      | 'audio'
      | 'responseDelayMs'
    >
  > {
  /** Shown in pictures and in the device info; capitals, digits and a little punctuation can be drawn. @default `TOWPATH` and the seed */
  readonly name?: string;
  /** UID in the transport. @default the constant one of the real cameras */
  readonly uid?: string;
  /** Local address to listen on. @default all */
  readonly address?: string;
  /** UDP port of sessions; 0 lets the system choose. @default 40611 */
  readonly listenPort?: number;
  /** UDP port where searches arrive, or false for none. @default 32108 */
  readonly searchPort?: number | false;
  /** UDP ports that are open and silent. @default none */
  readonly deadPorts?: readonly number[];
  /** Items on the card. @default 83 */
  readonly itemCount?: number;
  /** Every n-th item is a video; 0: none is. @default 0 */
  readonly videoEvery?: number;
  /** Where pictures come from. @default drawn ones, in a cache of their own */
  readonly pictures?: PictureSource;
  /** Takes a picture every so many ms; 0: only on {@link takePicture}. @default 0 */
  readonly newPictureEveryMs?: number;
  /** Hears on the listen port only the (address, port) of the first contact. @default false */
  readonly firewall?: boolean;
  /** Network keys in which it answers when it is asked in them, beside plaintext. @default none */
  readonly keys?: readonly string[];
  /** False: only keyed datagrams are understood. @default true */
  readonly plaintext?: boolean;
  /** Offers TCP 51 times before it is ready, as the recorded camera does after a LAN search. @default false */
  readonly offersTcp?: boolean;
  /** Sessions at once. @default 8 */
  readonly maxSessions?: number;
  /** Rendezvous servers at which it logs in, so that it is reached from far away. The firewall lets them through. */
  readonly servers?: readonly Endpoint[];
  /** Its secret at the servers. Never logged. */
  readonly secret?: string;
  /** How it reaches servers and relays. @default 'auto' */
  readonly transport?: 'udp' | 'tcp' | 'auto';
  /** How the transport behaves, over the real camera's habits. */
  readonly session?: SessionOptions;
  readonly faults?: EmulatorFaultOptions;
}

/** What an emulated camera tells. */
export interface CameraEmulatorEvents {
  session: { readonly peer: Endpoint; readonly mode: SessionMode };
  /** A rendezvous server has accepted its login. */
  online: { readonly server: Endpoint };
  login: { readonly peer: Endpoint };
  command: { readonly peer: Endpoint; readonly id: number; readonly name: string };
  closed: { readonly peer: Endpoint; readonly reason: CloseReason };
  picture: { readonly item: MediaItem };
  rebooting: { readonly downMs: number };
  rebooted: { readonly downMs: number };
}

/** How a reboot goes. */
export interface RebootOptions {
  /** How long the camera is away, ms. @default 5000 */
  readonly downMs?: number;
  /** Keep the (address, port) that the firewall admits. @default false */
  readonly keepFirewall?: boolean;
}
