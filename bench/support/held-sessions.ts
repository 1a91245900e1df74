import type { Socket } from 'node:dgram';
import { encodeMessage } from '@towpath/pppp/codec';
import { HERE } from './loopback.ts';
import { joinSession, openEnd, reserve, uidOf } from './relay-ends.ts';

/** Opened at the same time; more would measure the queue of the machine. */
const AT_ONCE = 50;
/** Device sockets: each may be in one session per session port, and a relay has 64 session ports. */
const DEVICES = 300;
/** Interval at which every session carries a packet, so that none times out. */
const ALIVE_MS = 8_000;
const TICK_MS = 100;

const ALIVE: Uint8Array = encodeMessage({ type: 'ALIVE' });

/** The ends of many sessions at one relay, every client with an address of its own. */
export class HeldSessions implements AsyncDisposable {
  readonly #relayPort: number;
  readonly #devices: readonly Socket[];
  readonly #clients: Socket[] = [];
  /** Sessions on each session port so far, which is the number of devices used there. */
  readonly #onPort = new Map<number, number>();
  readonly #aliveTimer: NodeJS.Timeout;
  #nextAlive = 0;

  private constructor(relayPort: number, devices: readonly Socket[]) {
    this.#relayPort = relayPort;
    this.#devices = devices;
    this.#aliveTimer = setInterval(() => this.#sayAlive(), TICK_MS);
  }

  static async open(relayPort: number): Promise<HeldSessions> {
    const devices = await Promise.all(Array.from({ length: DEVICES }, (_, n) => openEnd(addressOf(2, n))));
    // Each session that is being opened has a listener on its device.
    for (const device of devices) device.setMaxListeners(AT_ONCE);
    return new HeldSessions(relayPort, devices);
  }

  /** Adds sessions until there are so many. */
  async grow(to: number): Promise<void> {
    for (let first = this.#clients.length; first < to; first = this.#clients.length) {
      const count = Math.min(AT_ONCE, to - first);
      this.#clients.push(...(await Promise.all(Array.from({ length: count }, (_, n) => this.#add(first + n)))));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#aliveTimer);
    const all = [...this.#clients, ...this.#devices];
    await Promise.all(all.map((socket) => new Promise<void>((resolve) => socket.close(resolve))));
  }

  async #add(n: number): Promise<Socket> {
    const client = await openEnd(addressOf(1, n));
    const reservation = await reserve(client, this.#relayPort, uidOf(n));
    const { port } = reservation;
    const taken = this.#onPort.get(port) ?? 0;
    this.#onPort.set(port, taken + 1);
    const device = this.#devices[taken];
    if (device === undefined) throw new Error(`More than ${DEVICES} sessions on one session port.`);
    await joinSession({ client, device }, uidOf(n), reservation);
    await new Promise<void>((resolve) => client.connect(port, HERE, resolve));
    return client;
  }

  #sayAlive(): void {
    const share = Math.ceil((this.#clients.length * TICK_MS) / ALIVE_MS);
    for (let n = 0; n < share; n++) this.#clients[this.#nextAlive++ % this.#clients.length]?.send(ALIVE);
  }
}

/** 127.x.0.0 has addresses for everybody. */
function addressOf(net: number, n: number): string {
  return `127.${net}.${n >> 8}.${n & 0xff}`;
}
