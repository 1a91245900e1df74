import type { Clock } from '@towpath/core';
import { unmapAddress, bytesToAddress, addressToBytes, type Endpoint, type UdpSocket } from '@towpath/net';
import type { SimulatedNat } from '@towpath/net/simulated';

/** How a gateway answers on port 5351. */
export type Habit =
  | 'pcp'
  | 'nat-pmp'
  /** knows only NAT-PMP and does not answer PCP */
  | 'nat-pmp-only'
  /** does not answer NAT-PMP */
  | 'pcp-only'
  /** NAT-PMP answers name another internal port */
  | 'garbled'
  | 'refuse'
  | 'silent';

interface Lease {
  internal: Endpoint;
  externalPort: number;
  remove: () => void;
}

/**
 * A gateway's PCP and NAT-PMP service on a simulated NAT, written from RFC 6886 and RFC 6887 and not with the codec under
 * test: it opens real forwardings, so that a mapped port is reached from outside.
 */
export class GatewayResponder {
  habit: Habit;
  /** Longest lifetime that it grants, s. */
  maxLifetimeS = 7_200;
  /** The lifetime that it grants whatever was asked for, s. */
  forcedLifetimeS: number | undefined;
  /** The external port to give out next instead of the suggested one. */
  forcedPort: number | undefined;
  /** What it gives as its address outside instead of the NAT's. */
  externalAddress: string | undefined;
  /** Deletes no mapping: does not answer such a request, or answers with the mapping as it is. */
  keepsMappings: boolean | 'granted' = false;
  /** Answers requests for an announcement (RFC 6887 §14.1). */
  announces = true;
  /** Suggested external endpoints of PCP requests that delete. */
  readonly deletions: string[] = [];
  /** Changes an answer to a mapping request before it is sent. */
  alter: ((answer: Buffer) => void) | undefined;
  readonly requests: string[] = [];
  readonly leases: Map<string, Lease> = new Map();
  readonly #nat: SimulatedNat;
  readonly #clock: Clock | undefined;
  #startedAtMs = -1_000_000;
  #socket: UdpSocket | undefined;

  /** @param clock runs the gateway's own clock, which stands still without */
  constructor(nat: SimulatedNat, habit: Habit, clock?: Clock) {
    this.#nat = nat;
    this.habit = habit;
    this.#clock = clock;
  }

  /** Loses every lease, and starts its clock anew. */
  restart(): void {
    for (const { remove } of this.leases.values()) remove();
    this.leases.clear();
    this.#startedAtMs = this.#clock?.now() ?? 0;
  }

  /** Sends what PCP gateways announce after a start (RFC 6887 §14.1.1). */
  announce(): void {
    this.announceEpoch(this.#epochS());
  }

  /** The same with an epoch time that may be wrong, as of a host that uses the gateway's address. */
  announceEpoch(epochS: number): void {
    const announced = Buffer.alloc(24);
    announced.set([2, 0x80]);
    announced.writeUInt32BE(epochS, 8);
    this.#socket?.send(announced, { address: '224.0.0.1', port: 5_350 });
  }

  /** Sends what NAT-PMP gateways announce after a start (RFC 6886 §3.2.1). */
  announceNatPmp(): void {
    const announced = Buffer.alloc(12);
    announced.set([0, 128]);
    announced.writeUInt32BE(this.#epochS(), 4);
    this.#outside().copy(announced, 8);
    this.#socket?.send(announced, { address: '224.0.0.1', port: 5_350 });
  }

  #epochS(): number {
    return Math.floor(((this.#clock?.now() ?? 0) - this.#startedAtMs) / 1_000);
  }

  #outside(): Buffer {
    return Buffer.from(addressToBytes(this.externalAddress ?? this.#nat.externalAddress) ?? []);
  }

  async start(port = 5_351): Promise<void> {
    this.#socket = await this.#nat.gateway.network.bindUdp({
      port,
      onMessage: (data, from) => this.#answer(Buffer.from(data), from),
    });
  }

  async close(): Promise<void> {
    await this.#socket?.close();
  }

  #answer(data: Buffer, from: Endpoint): void {
    if (this.habit === 'silent') return;
    if (this.keepsMappings !== false && isDeletion(data)) {
      if (this.keepsMappings === true) return;
      data.writeUInt32BE(this.maxLifetimeS, data[0] === 2 ? 4 : 8);
    }
    if (data[0] === 2 && (this.habit === 'nat-pmp-only' || this.habit === 'garbled')) return;
    if (data[0] === 0 && this.habit === 'pcp-only') return;
    if (data[0] === 2 && data[1] === 0 && !this.announces) return;
    const answer = data[0] === 2 ? this.#pcp(data, from) : this.#natPmp(data, from);
    if (isMapping(data)) this.alter?.(answer);
    this.#socket?.send(answer, from);
  }

  #pcp(data: Buffer, from: Endpoint): Buffer {
    if (this.habit === 'nat-pmp') return Buffer.from([0, 128, 0, 1, 0, 0, 0, 9]);
    if (data[1] === 0) {
      const announced = Buffer.alloc(24);
      announced.set([2, 0x80, 0, this.habit === 'refuse' ? 2 : 0]);
      announced.writeUInt32BE(this.#epochS(), 8);
      return announced;
    }
    const out = Buffer.alloc(60);
    data.copy(out);
    out[1] = 0x81;
    out.fill(0, 8, 24);
    out.writeUInt32BE(this.#epochS(), 8);
    const client = unmapAddress(bytesToAddress(data.subarray(8, 24)) ?? '');
    if (this.habit === 'refuse' || client !== from.address) {
      out[3] = client === from.address ? 2 : 12;
      return out;
    }
    const asked = data.readUInt32BE(4);
    const lifetimeS = asked === 0 ? 0 : (this.forcedLifetimeS ?? Math.min(asked, this.maxLifetimeS));
    if (asked === 0) this.deletions.push(data.subarray(42, 60).toString('hex'));
    const internalPort = data.readUInt16BE(40);
    const port = this.#grant(
      'pcp',
      data[36] === 17 ? 'udp' : 'tcp',
      from.address,
      internalPort,
      data.readUInt16BE(42),
      lifetimeS,
    );
    out.writeUInt32BE(lifetimeS, 4);
    // §15.1, erratum 3621: the answer to a deletion repeats the suggested port and address.
    if (lifetimeS === 0) return out;
    out.writeUInt16BE(port, 42);
    out.fill(0, 44, 54);
    out.fill(0xff, 54, 56);
    this.#outside().copy(out, 56);
    return out;
  }

  #natPmp(data: Buffer, from: Endpoint): Buffer {
    const refused = this.habit === 'refuse' ? 2 : 0;
    if (data[1] === 0) {
      const out = Buffer.from([0, 128, 0, refused, 0, 0, 0, 9, 0, 0, 0, 0]);
      out.writeUInt32BE(this.#epochS(), 4);
      this.#outside().copy(out, 8);
      return out;
    }
    const out = Buffer.alloc(16);
    out[1] = 128 + (data[1] ?? 0);
    out.writeUInt16BE(refused, 2);
    out.writeUInt32BE(this.#epochS(), 4);
    const internalPort = data.readUInt16BE(4);
    out.writeUInt16BE(this.habit === 'garbled' ? internalPort & 255 : internalPort, 8);
    if (refused) return out;
    const lifetimeS = Math.min(data.readUInt32BE(8), this.maxLifetimeS);
    const protocol = data[1] === 1 ? 'udp' : 'tcp';
    out.writeUInt16BE(
      this.#grant('nat-pmp', protocol, from.address, internalPort, data.readUInt16BE(6), lifetimeS),
      10,
    );
    out.writeUInt32BE(lifetimeS, 12);
    return out;
  }

  #grant(
    by: string,
    protocol: 'udp' | 'tcp',
    address: string,
    internalPort: number,
    wanted: number,
    lifetimeS: number,
  ): number {
    const key = `${protocol} ${address}:${internalPort}`;
    this.requests.push(`${by} ${key} ${lifetimeS}`);
    const known = this.leases.get(key);
    const externalPort = this.forcedPort ?? (wanted || internalPort);
    if (known && (lifetimeS === 0 || known.externalPort !== externalPort)) {
      known.remove();
      this.leases.delete(key);
    }
    if (lifetimeS === 0) return 0;
    if (!this.leases.has(key)) {
      const internal = { address, port: internalPort };
      const remove = this.#nat.forward(protocol, internal, externalPort);
      if (remove === undefined) throw new Error(`External port ${externalPort} is taken.`);
      this.leases.set(key, { internal, externalPort, remove });
    }
    return externalPort;
  }
}

function isMapping(request: Buffer): boolean {
  return request[0] === 2 ? request[1] === 1 : request[1] === 1 || request[1] === 2;
}

function isDeletion(request: Buffer): boolean {
  return isMapping(request) && request.readUInt32BE(request[0] === 2 ? 4 : 8) === 0;
}
