import { Events, errorMessage, type Log, silentLog, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpSocket } from '@towpath/net';
import { type PpppSession, SEARCH_PORT } from '@towpath/pppp';
import { DeviceRegistration, PpppDevice } from '@towpath/pppp/device';
import { CommandId, commandName } from '../artemis/command-id.ts';
import { FileType, type MediaItem } from '../artemis/media-item.ts';
import { CameraSession } from './camera-session.ts';
import { Card } from './card.ts';
import { CameraClock, type EmulatedCamera, type EmulatorCounters, emptyCounters } from './emulated-camera.ts';
import type {
  CameraEmulatorComponents,
  CameraEmulatorEvents,
  CameraEmulatorOptions,
  RebootOptions,
} from './emulator-options.ts';
import { createFaults, type EmulatorFaults } from './faults.ts';
import { drawnPictures } from './media/picture-source.ts';
import { FirstContactFirewall } from './network/firewall.ts';
import { ImpairedNetwork } from './network/impaired-network.ts';

/** The UID of all cameras of the family (docs/protocol/artemis.md, "Hotspot"). */
const FAMILY_UID = 'LBCS-000000-CCCJJ';

const DEFAULT_LISTEN_PORT = 40611;

/**
 * Ratio of frame ends that are sent in one packet with the next frame: 8 of 45 items in one recording, 4 in another.
 */
const DEFAULT_MERGE_RATIO = 0.13;

/** Queued bytes of a transfer in a session; the window of the real camera holds 128 packets. */
const HIGH_WATER_BYTES: number = 128 * 1024;

/**
 * An emulated camera: it answers searches and punches, accepts logins, and serves pictures and live video as the real
 * one does (docs/protocol/artemis.md, "Emulator"); it can inject faults.
 *
 * @example
 * ```ts
 * await using camera = new CameraEmulator({ network, clock, random }, { seed: 7, listenPort: 40611 });
 * await camera.start();
 * camera.faults.fromCamera.lossRatio = 0.2;
 * ```
 */
export class CameraEmulator implements AsyncDisposable {
  readonly events: Events<CameraEmulatorEvents> = new Events();
  /** May be changed at any time. */
  readonly faults: EmulatorFaults;
  readonly #components: CameraEmulatorComponents;
  readonly #options: CameraEmulatorOptions;
  readonly #log: Log;
  readonly #camera: EmulatedCamera;
  readonly #firewall: FirstContactFirewall;
  readonly #deadSockets: UdpSocket[] = [];
  readonly #sessions: Set<CameraSession> = new Set();
  #device: PpppDevice | undefined;
  #registration: DeviceRegistration | undefined;
  #pictureTimer: Timer | undefined;
  #rebootTimer: Timer | undefined;
  #down = false;
  #closing: Promise<void> | undefined;

  constructor(components: CameraEmulatorComponents, options: CameraEmulatorOptions = {}) {
    const { seed = 1, hasCard = true, itemCount = hasCard ? 83 : 0, videoEvery = 0 } = options;
    this.#components = components;
    this.#options = options;
    this.#log = (components.log ?? silentLog).child('EMULATOR');
    this.faults = createFaults(options.faults);
    this.#firewall = new FirstContactFirewall(options.firewall ?? false);
    this.#camera = {
      seed,
      name: options.name ?? `TOWPATH ${String(seed).padStart(2, '0')}`,
      deviceId: options.deviceId ?? deviceIdOf(seed),
      card: new Card(seed, itemCount, videoEvery),
      hasCard,
      pictures: options.pictures ?? drawnPictures(),
      clock: new CameraClock(components.clock),
      batteryPercent: options.batteryPercent ?? 70,
      temperature: options.temperature ?? 12,
      tokenPolicy: options.tokenPolicy ?? 'silent',
      secondTransfer: options.secondTransfer ?? 'queue',
      mergeRatio: options.mergeRatio ?? DEFAULT_MERGE_RATIO,
      audio: options.audio ?? true,
      timeCode: options.timeCode ?? false,
      responseDelayMs: options.responseDelayMs ?? 0,
      settings: new Map(),
      settingsPolicy: options.settingsPolicy ?? 'accept',
      faults: this.faults,
      counters: emptyCounters(),
    };
  }

  /** Its id in `devId` and in every record. */
  get deviceId(): string {
    return this.#camera.deviceId;
  }

  get name(): string {
    return this.#camera.name;
  }

  /** Listen endpoint. Only between `start` and `close`. */
  get listen(): Endpoint {
    return this.#device!.listen;
  }

  /** Counters since `start`; updated continuously. */
  get counters(): Readonly<EmulatorCounters> {
    return this.#camera.counters;
  }

  /** Its current clients. */
  get sessions(): readonly PpppSession[] {
    return [...this.#sessions].map(({ session }) => session);
  }

  /** The (address, port) that the firewall admits; undefined before the first packet or without a firewall. */
  get admitted(): Endpoint | undefined {
    return this.#firewall.admitted;
  }

  /** The items on the card, newest first. */
  get items(): readonly MediaItem[] {
    return this.#camera.card.page(0, this.#camera.card.size);
  }

  /**
   * Opens its ports.
   * @throws NetError when a port cannot be bound, CodecError `uid-invalid`; nothing stays open.
   */
  async start(): Promise<void> {
    const { network, clock } = this.#components;
    const { uid = FAMILY_UID, address, listenPort = DEFAULT_LISTEN_PORT, deadPorts = [], session } = this.#options;
    const { searchPort = SEARCH_PORT, keys, plaintext, offersTcp, maxSessions } = this.#options;
    try {
      for (const port of deadPorts) {
        this.#deadSockets.push(await network.bindUdp({ ...(address ? { address } : {}), port, onMessage() {} }));
      }
      this.#device = await PpppDevice.open(
        { network: this.#line(searchPort), clock, log: this.#log },
        {
          uid,
          listenPort,
          searchPort,
          ...(address === undefined ? {} : { address }),
          ...(keys === undefined ? {} : { keys }),
          ...(plaintext === undefined ? {} : { plaintext }),
          ...(offersTcp === undefined ? {} : { offersTcp }),
          ...(maxSessions === undefined ? {} : { maxSessions }),
          session: {
            sending: 'as-device',
            closeOnBadAck: true,
            closeCopies: 1,
            highWaterBytes: HIGH_WATER_BYTES,
            ...session,
          },
          onSession: (opened) => this.#onSession(opened),
        },
      );
      this.#register(this.#device);
    } catch (error) {
      this.#log.error('Cannot open the ports of the emulated camera', { error: errorMessage(error) });
      await this.close();
      throw error;
    }
    if (this.#closing !== undefined) {
      await this.#device.close();
      return;
    }
    this.#log.info('listens', { at: formatEndpoint(this.listen), deviceId: this.deviceId });
    this.#schedulePicture();
  }

  /** Adds a picture (or a video) now; it is then the first of the list. */
  takePicture(fileType: number = FileType.photo): MediaItem {
    const item = this.#camera.card.add(fileType, Math.floor(this.#camera.clock.seconds));
    this.events.emit('picture', { item });
    return item;
  }

  /** Is unreachable for a while and drops its sessions without CLOSE. A second reboot prolongs the first. */
  reboot({ downMs = 5000, keepFirewall = false }: RebootOptions = {}): void {
    if (this.#closing !== undefined) return;
    this.#down = true;
    this.#device?.forget();
    if (!keepFirewall) this.#firewall.forget();
    this.events.emit('rebooting', { downMs });
    this.#rebootTimer?.cancel();
    this.#rebootTimer = this.#components.clock.timer(downMs, () => {
      this.#down = false;
      this.events.emit('rebooted', { downMs });
    });
  }

  /** Ends every session with CLOSE. */
  async closeSessions(): Promise<void> {
    await this.#device?.closeSessions();
  }

  /** Switches the firewall on or off. When switched on, it admits the next sender. */
  setFirewall(enabled: boolean): void {
    this.#firewall.enabled = enabled;
    this.#firewall.forget();
  }

  /** Ends sessions and closes all sockets and timers. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#pictureTimer?.cancel();
    this.#rebootTimer?.cancel();
    await this.#registration?.close();
    await Promise.all([this.#device?.close(), ...this.#deadSockets.map((socket) => socket.close())]);
  }

  #line(searchPort: number | false): ImpairedNetwork {
    return new ImpairedNetwork(this.#components, {
      toCamera: this.faults.toCamera,
      fromCamera: this.faults.fromCamera,
      deaf: () => this.#down || this.faults.silent,
      admits: (from, boundWith) => boundWith.port === searchPort || this.#isServer(from) || this.#firewall.admits(from),
    });
  }

  /** A relay usually runs beside a rendezvous, so the address decides. */
  #isServer({ address }: Endpoint): boolean {
    return this.#options.servers?.some((server) => server.address === address) ?? false;
  }

  #register(device: PpppDevice): void {
    const { servers, secret, transport } = this.#options;
    if (servers === undefined || servers.length === 0) return;
    this.#registration = new DeviceRegistration(
      { ...this.#components, device },
      {
        servers,
        ...(secret === undefined ? {} : { secret }),
        ...(transport === undefined ? {} : { transport }),
      },
    );
    this.#registration.events.on('login', ({ server }) => this.events.emit('online', { server }));
    this.#registration.events.on('refused', ({ server, error }) => {
      this.#log.warn('Rendezvous refused the login', { server: formatEndpoint(server), error: error.message });
    });
  }

  #onSession(session: PpppSession): void {
    const { peer, pathKind } = session;
    this.#camera.counters.sessions++;
    this.events.emit('session', { peer, pathKind });
    const opened = new CameraSession(
      { ...this.#components, session, camera: this.#camera },
      {
        onLogin: () => {
          this.#camera.counters.logins++;
          this.events.emit('login', { peer });
        },
        onCommand: (id) => {
          this.#camera.counters[id === CommandId.heartbeat ? 'heartbeats' : 'commands']++;
          this.events.emit('command', { peer, id, name: commandName(id) });
        },
        onClose: (reason) => {
          this.#sessions.delete(opened);
          this.events.emit('closed', { peer, reason });
        },
      },
    );
    this.#sessions.add(opened);
  }

  #schedulePicture(): void {
    const { newPictureEveryMs = 0 } = this.#options;
    if (newPictureEveryMs <= 0 || this.#closing !== undefined) return;
    this.#pictureTimer = this.#components.clock.timer(newPictureEveryMs, () => {
      this.takePicture();
      this.#schedulePicture();
    });
  }
}

/** A locally administered address of our own. */
function deviceIdOf(seed: number): string {
  const bytes = [0x02, 0x54, 0x50, (seed >>> 16) & 0xff, (seed >>> 8) & 0xff, seed & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':');
}
