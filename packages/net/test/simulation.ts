import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint, UdpOptions, UdpSocket } from '../src/index.ts';
import {
  formatPacketEvent,
  type SimulatedHost,
  SimulatedInternet,
  type SimulatedInternetOptions,
} from '../src/simulated/index.ts';

/** A datagram as a test sees it. */
interface Received {
  text: string;
  from: Endpoint;
  atMs: number;
}

export interface TestSocket {
  socket: UdpSocket;
  received: Received[];
  errors: string[];
  /** Sends a text. */
  sendText(text: string, to: Endpoint): void;
  texts(): string[];
}

/** A simulated internet for one test, with everything that happens on it in `trace`. */
export class Simulation {
  readonly clock: VirtualClock = new VirtualClock();
  readonly internet: SimulatedInternet;
  readonly trace: string[] = [];

  constructor(seed = 1, options: SimulatedInternetOptions = {}) {
    this.internet = new SimulatedInternet({ clock: this.clock, random: new SeededRandom(seed) }, options);
    this.internet.observe((event) => this.trace.push(formatPacketEvent(event)));
  }

  async bind(host: SimulatedHost, options: Partial<UdpOptions> = {}): Promise<TestSocket> {
    const received: Received[] = [];
    const errors: string[] = [];
    const socket = await host.network.bindUdp({
      onMessage: (data, from) => {
        received.push({ text: new TextDecoder().decode(data), from, atMs: this.clock.now() });
      },
      onError: (error) => errors.push('code' in error ? String(error.code) : error.message),
      ...options,
    });
    return {
      socket,
      received,
      errors,
      sendText: (text, to) => socket.send(new TextEncoder().encode(text), to),
      texts: () => received.map(({ text }) => text),
    };
  }

  /** A socket that sends everything back. */
  async echo(host: SimulatedHost, options: Partial<UdpOptions> = {}): Promise<Endpoint> {
    const bound = await this.bind(host, { ...options, onMessage: (data, from) => bound.socket.send(data, from) });
    return { address: options.address ?? host.address, port: bound.socket.local.port };
  }
}
