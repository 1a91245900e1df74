import type { Events } from '@towpath/core';
import { type Endpoint, formatEndpoint, type UdpSocket } from '@towpath/net';
import type { OpenedDatagram } from '../../cipher/cipher-set.ts';
import { decodeMessage } from '../../codec/message.ts';
import { MessageType } from '../../codec/message-type.ts';
import { type Source, verifiedSource } from '../../server/admission.ts';
import type { ServerComponents } from '../../server/components.ts';
import { Journal } from '../../server/journal.ts';
import { ServerShell } from '../../server/server-shell.ts';
import type { TcpClient } from '../../server/tcp-front.ts';
import { DEFAULT_DEVICE_LIMITS, DeviceRegistry } from './device-registry.ts';
import type { RendezvousCounters, RendezvousEvents, RendezvousMetrics, RendezvousOptions } from './options.ts';
import { Peer } from './peer.ts';
import { newCounters, relayHostsOf, RendezvousHandler } from './rendezvous-handler.ts';

const DEFAULT_PORT = 32_100;

/** How often silent connections and offline devices are cleared away. */
const SWEEP_MS = 1_000;

/**
 * A rendezvous server: devices log in, clients request them, and both are told which address to punch or relay to use
 * (docs/protocol/pppp.md, "Rendezvous messages", "Relay messages", "Connecting through a rendezvous", "Connecting
 * through a relay", "Device login"). Plain and enciphered datagrams are answered in kind. What protects it and others
 * is described at `AdmissionLimits` and `DeviceRegistry`.
 *
 * @example
 * await using rendezvous = await RendezvousServer.listen({ network, clock, random }, { ports: [32100] });
 */
export class RendezvousServer implements AsyncDisposable {
  readonly #devices: DeviceRegistry;
  readonly #counters: RendezvousCounters = newCounters();
  readonly #handler: RendezvousHandler;
  readonly #journal: Journal<RendezvousEvents>;
  readonly #shell: ServerShell<Source>;
  readonly #sockets: UdpSocket[] = [];
  #closing: Promise<void> | undefined;

  /**
   * Opens the ports.
   * @throws NetError when a port cannot be had, CodecError `address-invalid` when a relay is not an IPv4 endpoint; then
   *   nothing stays open.
   */
  static async listen(components: ServerComponents, options: RendezvousOptions = {}): Promise<RendezvousServer> {
    const server = new RendezvousServer(components, options);
    try {
      await server.#open(options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(components: ServerComponents, options: RendezvousOptions) {
    const { clock, random } = components;
    // First of all, because it throws when a relay cannot be named.
    const relayHosts = relayHostsOf(options.relays);
    this.#journal = new Journal(() => clock.now());
    this.#devices = new DeviceRegistry({ ...DEFAULT_DEVICE_LIMITS, ...options.limits });
    this.#shell = new ServerShell<Source>(
      components,
      { ...options, scope: 'RENDEZVOUS', sweepMs: SWEEP_MS },
      {
        onDatagram: (socket, opened, from, ip, source, now) =>
          this.#handle(opened, new Peer(socket, from, ip, source, opened.cipher), now),
        onFrame: (client, data, now) => this.#onFrame(client, data, now),
        onClose: ({ state }) => this.#onClose(state),
        onSweep: (now) => this.#devices.sweep(now, ({ uid, peer }) => this.#reportOffline(uid, peer, 'silent')),
      },
    );
    const { admission } = this.#shell;
    const [devices, counters, journal] = [this.#devices, this.#counters, this.#journal];
    this.#handler = new RendezvousHandler({ random, admission, devices, counters, journal, relayHosts }, options);
    this.#log();
  }

  /** Who comes and goes. */
  get events(): Events<RendezvousEvents> {
    return this.#journal.events;
  }

  /** The bound UDP ports, in the order of `ports`. */
  get endpoints(): Endpoint[] {
    return this.#sockets.map((socket) => socket.local);
  }

  /** The bound TCP port, where there is one. */
  get tcpEndpoint(): Endpoint | undefined {
    return this.#shell.tcp.local;
  }

  get metrics(): RendezvousMetrics {
    return {
      ...this.#counters,
      ...this.#shell.metrics,
      devices: this.#devices.size,
      eventsSuppressed: this.#journal.suppressed,
    };
  }

  /** Closes every socket and connection and clears all state. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open({ address, ports = [DEFAULT_PORT], tcpPort }: RendezvousOptions): Promise<void> {
    for (const [at, port] of ports.entries()) {
      this.#sockets.push(await this.#shell.open(address, port, at === 0 ? tcpPort : false));
    }
    // Without UDP there may still be TCP.
    if (ports.length === 0 && tcpPort !== false) await this.#shell.listenTcp(address, tcpPort ?? 0);
    this.#shell.logListening(this.endpoints);
  }

  async #close(): Promise<void> {
    await this.#shell.close();
    this.#devices.clear();
  }

  #onFrame(client: TcpClient<Source>, data: Uint8Array, now: number): void {
    client.state ??= verifiedSource(now);
    const source = client.state;
    if (!this.#shell.admission.admitFrom(source, now)) return;
    const opened = this.#shell.decipher(data);
    if (opened === undefined) return;
    this.#handle(opened, new Peer(client, client.remote, client.ip, source, opened.cipher), now);
  }

  #onClose(source: Source | undefined): void {
    const device = source?.uid === undefined ? undefined : this.#devices.remove(source.uid, source);
    if (device !== undefined && this.#closing === undefined) {
      this.#reportOffline(device.uid, device.peer, 'disconnected');
    }
  }

  #reportOffline(uid: string, { endpoint }: Peer, reason: 'silent' | 'disconnected'): void {
    this.#journal.report('offline', { uid, endpoint, reason });
  }

  #handle({ clear }: OpenedDatagram, peer: Peer, now: number): void {
    const message = decodeMessage(clear);
    if (message.type === 'malformed') {
      this.#shell.counters.malformed++;
      if (message.code === MessageType.DEV_LGN_DSK) this.#counters.loginsUnreadable++;
      return;
    }
    this.#handler.serve(message, peer, now);
  }

  /** Also logs the events that concern the operator. */
  #log(): void {
    const { log } = this.#shell;
    const { events } = this;
    events.on('online', ({ uid, endpoint, over }) =>
      log.debug(`${uid} is online`, { at: formatEndpoint(endpoint), over }),
    );
    events.on('moved', ({ uid, endpoint, from }) =>
      log.info(`${uid} has moved`, { from: formatEndpoint(from), to: formatEndpoint(endpoint) }),
    );
    events.on('offline', ({ uid, reason }) => log.debug(`${uid} is offline`, { reason }));
    events.on('contested', ({ uid, endpoint, claimant }) =>
      log.warn(
        `Two devices claim ${uid}: the one that was there first stays. Give each a UID of its own, or a secret to the right one.`,
        { stays: formatEndpoint(endpoint), refused: formatEndpoint(claimant) },
      ),
    );
    events.on('login-refused', ({ uid, endpoint, result }) =>
      log.warn(`A login of ${uid} was refused`, { from: formatEndpoint(endpoint), result }),
    );
  }
}
