import { AbortedError, type Clock, deadline, type Random, TowpathError } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { DatagramReceiver } from '../paths/path-socket.ts';
import { WIREGUARD_DATA } from '../health/echo-message.ts';

/** A relayed address as the proof uses it. */
export interface ProvenRelay {
  readonly relayed: Endpoint | undefined;
  send(datagram: Uint8Array, to: Endpoint): void;
  receiveFrom(remote: Endpoint, receiver: DatagramReceiver): Disposable;
  /** Binds a channel, as the data of a path in use has one. */
  bind(remote: Endpoint, signal: AbortSignal): Promise<void>;
}

/** Datagrams each way, how far apart, and how many of them must arrive: a network that loses more is no better than TCP. */
const DATAGRAMS = 10;
const SPACING_MS = 200;
const ENOUGH = 9;
/** As large as most packets of a transfer. */
const DATAGRAM_BYTES = 1_200;
/** Requests of channels, ms, and what the last datagrams may take. */
const BIND_LIMIT_MS = 5_000;
const LAST_MS = 2_000;

/**
 * Sends data that looks like WireGuard's from one relayed address of this member to another one and back. A network may let requests
 * of an allocation pass and drop the data; the peers are to find this out on no path of theirs.
 * @throws TowpathError `no-answer` when too little arrives; StunError when the relay does not forward between the two; the signal's reason.
 */
export async function proveRelayed(
  { clock, random }: { clock: Clock; random: Random },
  [one, other]: readonly [ProvenRelay, ProvenRelay],
  signal: AbortSignal,
): Promise<void> {
  const [first, second] = [one.relayed, other.relayed];
  if (first === undefined || second === undefined) throw new AbortedError('A relayed address is gone.');
  {
    using limit = deadline(clock, BIND_LIMIT_MS, signal);
    await Promise.all([one.bind(second, limit.signal), other.bind(first, limit.signal)]);
  }
  const forth = new Received(random);
  const back = new Received(random);
  using _forth = other.receiveFrom(first, (datagram) => forth.take(datagram));
  using _back = one.receiveFrom(second, (datagram) => back.take(datagram));
  for (let at = 0; at < DATAGRAMS; at++) {
    one.send(forth.datagrams[at]!, second);
    other.send(back.datagrams[at]!, first);
    await clock.sleep(SPACING_MS, signal);
  }
  if (Math.min(forth.count, back.count) < ENOUGH) await clock.sleep(LAST_MS, signal);
  if (Math.min(forth.count, back.count) >= ENOUGH) return;
  const found = `${forth.count} of ${DATAGRAMS} datagrams arrived one way, ${back.count} the other way`;
  throw new TowpathError('no-answer', `The relay grants an address, but its data is lost: ${found}.`);
}

/** The datagrams of one direction, and which of them have arrived. */
class Received {
  readonly datagrams: readonly Uint8Array[];
  readonly #missing: Set<string>;

  constructor(random: Random) {
    this.datagrams = Array.from({ length: DATAGRAMS }, () => {
      const datagram = random.bytes(DATAGRAM_BYTES);
      datagram.set([WIREGUARD_DATA, 0, 0, 0]);
      return datagram;
    });
    this.#missing = new Set(this.datagrams.map(textOf));
  }

  get count(): number {
    return DATAGRAMS - this.#missing.size;
  }

  take(datagram: Uint8Array): void {
    this.#missing.delete(textOf(datagram));
  }
}

function textOf(datagram: Uint8Array): string {
  return Buffer.from(datagram).toString('base64');
}
