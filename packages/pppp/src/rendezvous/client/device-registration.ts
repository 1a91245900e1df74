import {
  type Clock,
  errorCode,
  Events,
  type Link,
  type Log,
  PathReason,
  type Random,
  Renewal,
  Repeat,
  retransmit,
  silentLog,
} from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, sameEndpoint } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { ResultCode } from '../../codec/codes.ts';
import { decodeMessage, encodeMessage, type Message } from '../../codec/message.ts';
import { PaidInFullBytes } from '../../codec/padding.ts';
import type { DeviceCompanion } from '../../device/options.ts';
import type { PpppDevice } from '../../device/pppp-device.ts';
import { PpppError } from '../../pppp-error.ts';
import { isPunchable, ownEndpoint } from './addresses.ts';
import { DevicePuncher } from './device-puncher.ts';
import { DeviceRelay } from '../../relay/client/device-relay.ts';
import { natView } from './nat-view.ts';
import { EARLY_MS } from '../../session/options.ts';
import { API_VERSION } from './options.ts';
import { RELAY_PORT } from '../../relay/client/relay-negotiation.ts';
import { keepServerConnection, type ServerConnection } from './server-connection.ts';
import type { FramedConnection } from '../../tcp/framed-connection.ts';

/** Most relays whose base ports are stored, for sessions over TCP. */
const MAX_KNOWN_RELAYS = 64;

const DEFAULT_INTERVAL_MS = 30_000;
const DEFAULT_RETRIES_MS: readonly number[] = [1_000, 3_000];
const DEFAULT_TCP_AFTER_MS = 2_000;
const DEFAULT_PORT_GUESS = 3;

/** Components of a {@link DeviceRegistration}. */
export interface DeviceRegistrationComponents {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface DeviceRegistrationOptions {
  /** Rendezvous servers; the device logs in at all of them. */
  servers: readonly Endpoint[];
  /** The device's secret (DSK), at most 20 printable ASCII characters; sent with the login. */
  secret?: string;
  /** Cipher of a keyed network; the device must have its key too. @default plaintext */
  cipher?: StreamCipher;
  /** Time between logins, which also keep the NAT's mapping of the listen socket, in ms. @default 30000 */
  intervalMs?: number;
  /**
   * When an unanswered login is repeated, ms after the first (docs/protocol/pppp.md, "Device login"). @default [1000,
   * 3000]
   */
  retriesMs?: readonly number[];
  /**
   * Transport to servers and relays. `auto`: UDP, and TCP connections to the servers when UDP had no
   * answer within `tcpAfterMs`; as soon as UDP is answered again, TCP is closed. @default 'auto'
   */
  transport?: 'udp' | 'tcp' | 'auto';
  /** @default 2000 */
  tcpAfterMs?: number;
  /** Ports next to a client's known one that are punched too; 0…8. @default 3 */
  portGuess?: number;
  /** Local address to connect from. @default the device's */
  localAddress?: string;
}

/** Events of a registration. */
export interface DeviceRegistrationEvents {
  /** A server has accepted a login; every time. */
  login: { server: Endpoint; over: 'udp' | 'tcp' };
  /** A server has refused a login: PpppError `wrong-secret`, `wrong-uid`, `unknown-device`, `uid-in-use`. */
  refused: { server: Endpoint; error: PpppError };
}

/** State of the registration at one server. */
export interface RegistrationStatus {
  readonly server: Endpoint;
  readonly state: 'waiting' | 'online' | 'refused' | 'silent';
  readonly over: 'udp' | 'tcp';
  /** Our address as the server sees it. */
  readonly wan: Endpoint | undefined;
}

interface Registrar {
  readonly endpoint: Endpoint;
  state: RegistrationStatus['state'];
  over: 'udp' | 'tcp';
  wan: Endpoint | undefined;
  /** Over what this round's login was answered; UDP outweighs TCP. */
  answered: 'udp' | 'tcp' | undefined;
  /** The connection for invitations where outbound UDP is blocked. */
  link: Link<ServerConnection> | undefined;
}

/**
 * Registers a device at rendezvous servers: it logs in from its listen socket, punches the
 * clients that request it, and joins the relays that it is invited to (docs/protocol/pppp.md, "Connecting through a
 * rendezvous", "Connecting through a relay", "Device login"). Sessions go to the device's `onSession`.
 *
 * @example
 * const device = await PpppDevice.open({ network, clock }, { uid: 'TEST-000001-BCDEF', onSession });
 * const registration = new DeviceRegistration({ device, network, clock, random }, { servers });
 */
export class DeviceRegistration implements AsyncDisposable {
  readonly events: Events<DeviceRegistrationEvents> = new Events();
  readonly #components: DeviceRegistrationComponents;
  readonly #options: DeviceRegistrationOptions;
  readonly #log: Log;
  readonly #registrars: readonly Registrar[];
  readonly #puncher: DevicePuncher;
  readonly #relay: DeviceRelay;
  readonly #relayBases: Endpoint[] = [];
  readonly #leave: () => void;
  /** The logins: registrations that expire. */
  #logins: Renewal;
  /** Resolves when every server has answered the login of this round by UDP. */
  #complete: PromiseWithResolvers<void> = Promise.withResolvers();
  #closing: Promise<void> | undefined;
  #udpHeard = false;

  /**
   * Begins to log in at once. @throws PpppError `bad-argument` without servers; CodecError for a secret that does not
   * fit.
   */
  constructor(components: DeviceRegistrationComponents, options: DeviceRegistrationOptions) {
    const { device, network, clock, random } = components;
    const { servers, cipher, localAddress, portGuess = DEFAULT_PORT_GUESS } = options;
    if (servers.length === 0)
      throw new PpppError('bad-argument', 'No rendezvous server was given. Next: add at least one.');
    this.#components = components;
    this.#options = options;
    this.#log = (components.log ?? silentLog).child('REGISTRATION');
    this.#registrars = servers.map((endpoint) => ({
      endpoint,
      state: 'waiting',
      over: 'udp',
      wan: undefined,
      answered: undefined,
      link: undefined,
    }));
    this.#puncher = new DevicePuncher(components, { cipher, portGuess, nat: () => natView(this.#registrars) });
    this.#relay = new DeviceRelay({ device, network, clock, random, log: this.#log }, { localAddress });
    encodeMessage(this.#login());
    const companion: DeviceCompanion = {
      onMessage: (...message) => this.#onMessage(...message),
      pathKindOf: (from) => (this.#puncher.expects(from) ? 'p2p' : undefined),
    };
    this.#leave = device.accompany(companion);
    this.#logins = this.#start();
  }

  get status(): readonly RegistrationStatus[] {
    return this.#registrars.map(({ endpoint, state, over, wan }) => ({ server: endpoint, state, over, wan }));
  }

  /** The network has changed: logs in anew at once. */
  refresh(): void {
    if (this.#closing !== undefined) return;
    for (const registrar of this.#registrars) {
      registrar.wan = undefined;
      this.#reopen(registrar, 'the network has changed');
      registrar.link?.refresh(PathReason.networkChanged);
    }
    this.#restart();
  }

  /** Stops logging in; the servers remove the device after a while. Sessions continue. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onMessage(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void {
    if (message.type === 'RLY_RDY') {
      if (message.uid === this.#components.device.uid) this.#relay.onReady(from);
      return;
    }
    const registrar = this.#registrars.find(({ endpoint }) => sameEndpoint(endpoint, from));
    if (registrar === undefined) return;
    this.#onUdpHeard();
    if (message.type === 'RLY_TO') {
      const { relay, magic } = message;
      if (relay !== undefined && isPunchable(relay, from)) this.#relay.invite(relay, magic, cipher);
    } else {
      this.#onServerMessage(registrar, message, 'udp');
    }
  }

  async #close(): Promise<void> {
    this.#leave();
    this.#puncher.close();
    this.#relay.close();
    await Promise.all([this.#logins.stop(), this.#closeTcp()]);
  }

  #start(): Renewal {
    for (const registrar of this.#registrars) if (registrar.state !== 'online') registrar.state = 'waiting';
    return new Renewal(
      { ...this.#components, log: this.#log },
      { name: 'The login at the rendezvous', dueAt: 1, jitter: 0, renew: (signal) => this.#logInEverywhere(signal) },
    );
  }

  /** Logs in anew at once. */
  #restart(): void {
    void this.#logins.stop();
    this.#logins = this.#start();
  }

  /**
   * Logs in until every server has answered.
   * @returns time until the next login, ms
   */
  async #logInEverywhere(signal: AbortSignal): Promise<number> {
    const { clock } = this.#components;
    const { intervalMs = DEFAULT_INTERVAL_MS } = this.#options;
    for (;;) {
      const startedAt = clock.now();
      if (await this.#round(intervalMs, signal)) return startedAt + intervalMs - clock.now();
      this.#onSilence();
    }
  }

  /** Logs in at every server, several times without an answer. Returns false when the interval ends before. */
  async #round(intervalMs: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#components;
    const { retriesMs = DEFAULT_RETRIES_MS, transport = 'auto' } = this.#options;
    const startedAt = clock.now();
    this.#complete = Promise.withResolvers();
    this.#udpHeard = false;
    for (const registrar of this.#registrars) registrar.answered = undefined;
    using tcp = new Repeat({ clock }, { run: () => this.#tcpDue(clock.now() - startedAt) });
    if (transport !== 'udp') tcp.wake();
    for (const registrar of this.#registrars) this.#logInOverTcp(registrar);
    const timesMs = [0, ...retriesMs, intervalMs];
    try {
      await retransmit({
        clock,
        schedule: timesMs.slice(1).map((atMs, at) => atMs - timesMs[at]!),
        send: () => {
          if (transport !== 'tcp') for (const registrar of this.#registrars) this.#logIn(registrar);
        },
        answer: this.#complete.promise,
        signal,
      });
      return true;
    } catch (error) {
      if (signal.aborted || errorCode(error) !== 'timed-out') throw error;
      return false;
    }
  }

  /** Opens connections when UDP had no answer within its time. @returns when to check again, ms */
  #tcpDue(elapsedMs: number): number {
    const { transport, tcpAfterMs = DEFAULT_TCP_AFTER_MS } = this.#options;
    const waitMs = transport === 'tcp' ? 0 : tcpAfterMs - elapsedMs;
    if (waitMs > EARLY_MS) return waitMs;
    if (transport === 'tcp' || !this.#udpHeard) this.#openTcp();
    return Number.POSITIVE_INFINITY;
  }

  #checkComplete(): void {
    const isComplete = ({ answered, wan }: Registrar) => answered === 'udp' && wan !== undefined;
    if (this.#registrars.every(isComplete)) this.#complete.resolve();
  }

  /** The interval has ended, and not every server has answered by UDP. */
  #onSilence(): void {
    for (const registrar of this.#registrars) {
      if (registrar.answered !== undefined) continue;
      registrar.state = 'silent';
      this.#reopen(registrar, 'the server does not answer over it');
    }
  }

  #logIn({ endpoint, state, over, answered, wan }: Registrar): void {
    // It may be online over TCP, which does not show that UDP works.
    const greets = state !== 'online' || over === 'tcp' || wan === undefined;
    if (greets) this.#send(encodeMessage({ type: 'HELLO' }, PaidInFullBytes.HELLO), endpoint);
    if (answered !== 'udp') this.#send(encodeMessage(this.#login(), PaidInFullBytes.DEV_LGN), endpoint);
  }

  #login(): Message {
    const { device, network, random } = this.#components;
    const { localAddress, servers, secret } = this.#options;
    const local = ownEndpoint(network, device.listen, localAddress, servers);
    const login = { uid: device.uid, natType: 0, version: API_VERSION, local };
    if (secret !== undefined) return { type: 'DEV_LGN_DSK', ...login, dsk: secret };
    return { type: 'DEV_LGN', ...login, continuity: device.continuity(random) };
  }

  #send(clear: Uint8Array, to: Endpoint): void {
    const { cipher } = this.#options;
    this.#components.device.sendDatagram(cipher === undefined ? clear : cipher.encipher(clear), to);
  }

  #onServerMessage(registrar: Registrar, message: Message, over: 'udp' | 'tcp'): void {
    switch (message.type) {
      case 'HELLO_ACK':
        if (over === 'udp') registrar.wan = message.address;
        this.#checkComplete();
        break;
      case 'DEV_LGN_ACK':
        this.#onLogin(registrar, message.result, over);
        this.#checkComplete();
        break;
      case 'PUNCH_TO':
        if (message.address !== undefined) this.#puncher.punchTo(message.address, registrar.endpoint);
        break;
      case 'LIST_REQ_ACK':
        for (const base of message.relays) this.#onRelay(base);
        break;
      default:
    }
  }

  #onLogin(registrar: Registrar, result: number, over: 'udp' | 'tcp'): void {
    const { endpoint: server } = registrar;
    if (registrar.answered !== 'udp') registrar.answered = over;
    if (result === ResultCode.OK) {
      if (registrar.state !== 'online') this.#log.info(`online at ${formatEndpoint(server)}`, { over });
      registrar.state = 'online';
      registrar.over = over;
      this.events.emit('login', { server, over });
      return;
    }
    const error = this.#refusal(server, result);
    if (registrar.state !== 'refused') this.#log.warn(error.message);
    registrar.state = 'refused';
    this.events.emit('refused', { server, error });
  }

  #refusal(server: Endpoint, result: number): PpppError {
    const { uid: target } = this.#components.device;
    const where = formatEndpoint(server);
    switch (result) {
      case ResultCode.WRONG_KEY:
        return new PpppError('wrong-secret', `${where} refused the secret of ${target}. Next: correct it.`, {
          target,
        });
      case ResultCode.PREFIX_NOT_SERVED:
        return new PpppError('unknown-device', `${where} does not serve ${target}. Next: use another server.`, {
          target,
        });
      case ResultCode.UID_IN_USE:
        return new PpppError(
          'uid-in-use',
          `Another device is logged in as ${target} at ${where}. Give each device a UID of its own, or this one a secret.`,
          { target },
        );
      default:
        return new PpppError('wrong-uid', `${where} refuses ${target} (result ${result}). Check the UID.`, { target });
    }
  }

  #onRelay(base: Endpoint): void {
    if (this.#relayBases.some((known) => sameEndpoint(known, base))) return;
    if (this.#relayBases.length < MAX_KNOWN_RELAYS) this.#relayBases.push(base);
  }

  #onUdpHeard(): void {
    this.#udpHeard = true;
    if (!this.#registrars.some(({ link }) => link !== undefined) || this.#options.transport === 'tcp') return;
    this.#log.info('UDP is answered again; closing TCP');
    // With a connection its login goes; another by UDP takes its place.
    void this.#closeTcp().then(() => {
      if (this.#closing === undefined) this.#restart();
    });
  }

  #openTcp(): void {
    const { network, clock, random } = this.#components;
    const { cipher, localAddress } = this.#options;
    for (const registrar of this.#registrars) {
      registrar.link ??= keepServerConnection({
        network,
        clock,
        random,
        log: this.#log,
        server: registrar.endpoint,
        localAddress,
        cipher,
        onUp: (connection) => this.#greetOverTcp(connection),
        onDatagram: (datagram) => this.#onTcpDatagram(registrar, datagram),
      });
    }
  }

  /** Replaces a connection that is probably dead. */
  #reopen({ endpoint, link }: Registrar, why: string): void {
    if (link?.path === undefined) return;
    const where = formatEndpoint(endpoint);
    const message = `The connection to ${where} is reopened: ${why}.`;
    link.reportLoss(link.path, new PpppError('server-unreachable', message, { target: where }));
  }

  async #closeTcp(): Promise<void> {
    const links = this.#registrars.map(({ link }) => link);
    for (const registrar of this.#registrars) registrar.link = undefined;
    await Promise.all(links.map((link) => link?.close()));
  }

  #logInOverTcp({ link }: Registrar): void {
    if (link?.path !== undefined) this.#greetOverTcp(link.path.connection);
  }

  #greetOverTcp(connection: FramedConnection): void {
    connection.send(encodeMessage(this.#login()));
    connection.send(encodeMessage({ type: 'LIST_REQ1', uid: this.#components.device.uid }));
  }

  #onTcpDatagram(registrar: Registrar, datagram: Uint8Array): void {
    const { cipher } = this.#options;
    const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
    if (message.type === 'unknown' || message.type === 'malformed') return;
    if (message.type !== 'RLY_TO') {
      this.#onServerMessage(registrar, message, 'tcp');
      return;
    }
    const { relay, magic } = message;
    if (relay === undefined || !isPunchable(relay, registrar.endpoint)) return;
    // The invitation names the session port; connections are taken at the base port of the same host.
    const base = this.#relayBases.find(({ address }) => address === relay.address);
    this.#relay.inviteOverTcp(base ?? { address: relay.address, port: RELAY_PORT }, magic, cipher);
  }
}
