import type { Endpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import type { Session } from '../session/session.ts';

/** One client of a device. */
export interface DeviceClient {
  readonly session: Session;
  readonly cipher: StreamCipher | undefined;
  readonly startedAt: number;
  /** Lets the session go without another datagram, so that its client can start anew. */
  release(): void;
}

/** The clients of a device by their (address, port); looking one up builds no key. */
export class SessionTable {
  readonly #byPort: Map<number, DeviceClient[]> = new Map();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get({ address, port }: Endpoint): DeviceClient | undefined {
    const clients = this.#byPort.get(port);
    if (clients === undefined) return undefined;
    for (const client of clients) if (client.session.peer.address === address) return client;
    return undefined;
  }

  add(client: DeviceClient): void {
    const { port } = client.session.peer;
    const clients = this.#byPort.get(port);
    if (clients === undefined) this.#byPort.set(port, [client]);
    else clients.push(client);
    this.#size++;
  }

  remove(session: Session): void {
    const { port } = session.peer;
    const clients = this.#byPort.get(port) ?? [];
    const left = clients.filter((client) => client.session !== session);
    this.#size -= clients.length - left.length;
    if (left.length === 0) this.#byPort.delete(port);
    else this.#byPort.set(port, left);
  }

  all(): DeviceClient[] {
    return [...this.#byPort.values()].flat();
  }
}
