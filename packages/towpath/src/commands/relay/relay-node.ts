import { type Clock, errorCode, type Log, type Random, TowpathError } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { StunErrorCode, StunServer, type StunServerStats, TurnServer, type TurnServerStats } from '@towpath/stun';
import type { MetricTree } from '../../serve/metrics-server.ts';
import { type RelayPlan, stunPlaces } from './plan.ts';
import { SharedPorts } from './shared-ports.ts';

export interface RelayComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
}

/** Sockets of one kind that are open. */
export interface Listening {
  readonly what: 'udp' | 'tcp' | 'tls';
  readonly endpoints: readonly Endpoint[];
}

/** Errors of the protocol that clients are refused with; each has a counter. */
const COUNTED_REFUSALS: readonly number[] = [
  StunErrorCode.BadRequest,
  StunErrorCode.Forbidden,
  StunErrorCode.AllocationMismatch,
  StunErrorCode.UnsupportedTransport,
  StunErrorCode.AddressFamilyNotSupported,
  StunErrorCode.AllocationQuotaReached,
  StunErrorCode.InsufficientCapacity,
];

/** Ports that the system may choose before one must have been free with those that go with it. */
const PORT_TRIES = 16;

/** One process's STUN and TURN servers on the ports of a plan. */
export class RelayNode implements AsyncDisposable {
  readonly listening: readonly Listening[];
  readonly #stun: readonly StunServer[];
  readonly #turn: TurnServer;

  private constructor(stun: readonly StunServer[], turn: TurnServer, listening: readonly Listening[]) {
    this.#stun = stun;
    this.#turn = turn;
    this.listening = listening;
  }

  /**
   * Opens every port.
   * @throws NetError when one cannot be had; TowpathError `port-sharing-unsupported` when processes cannot share
   *   one here. Then nothing stays open.
   */
  static async open(components: RelayComponents, plan: RelayPlan): Promise<RelayNode> {
    // The system chooses a free UDP port and does not look whether the others that go with it are free too.
    for (let left = plan.port === 0 ? PORT_TRIES : 1; ; left--) {
      try {
        return await RelayNode.#openOnce(components, plan);
      } catch (error) {
        if (left <= 1 || errorCode(error) !== 'address-in-use') throw error;
      }
    }
  }

  static async #openOnce(components: RelayComponents, plan: RelayPlan): Promise<RelayNode> {
    const { network, clock, random, log } = components;
    await using stack = new AsyncDisposableStack();
    const ports = new SharedPorts(network, { reusePort: plan.shared });
    try {
      const stun: StunServer[] = [];
      for (const place of stunPlaces(plan)) {
        // Where the system chooses the port, it chooses for the first address, and all others have the same.
        const init = { ...place, port: stun[0]?.local.port ?? place.port };
        stun.push(stack.use(await StunServer.listen({ network: ports.stun, log }, init)));
      }
      const port = stun[0]?.local.port ?? plan.port;
      const udp = plan.addresses.map((address) => ({ transport: 'udp' as const, address, port }));
      const streams = plan.addresses.flatMap((address) => [
        ...(plan.tcp ? [{ transport: 'tcp' as const, address, port }] : []),
        ...(plan.tls ? [{ transport: 'tls' as const, address, port: plan.tls.port, tls: plan.tls }] : []),
      ]);
      const { realm, secrets, users, limits, relay, relayPorts, allow, deny, shared } = plan;
      const turn = await TurnServer.listen(
        { network: ports.turn, clock, random, log },
        {
          realm,
          listeners: [...udp, ...streams],
          relay,
          relayPorts,
          credentials: { secrets, users },
          limits,
          peers: { allow, deny },
          shared,
          nonceSecret: Buffer.from(plan.nonceSecret, 'hex'),
        },
      );
      stack.move();
      return new RelayNode(stun, turn, listeningOf(turn.locals, udp.length, streams));
    } catch (error) {
      if (plan.shared && error instanceof Error && errorCode(error.cause) === 'ENOTSUP') {
        const advice = 'This system does not let several processes share a port. Next: --workers 1.';
        throw new TowpathError('port-sharing-unsupported', advice, { cause: error });
      }
      throw error;
    }
  }

  get metrics(): RelayMetrics {
    return metricsOf(
      this.#turn.stats,
      this.#stun.map(({ stats }) => stats),
    );
  }

  /** Ends every allocation and closes every socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn.close();
    await Promise.all(this.#stun.map((server) => server.close()));
  }
}

/** Counters under fixed names, so that those of several processes can be added up. */
export type RelayMetrics = MetricTree;

function metricsOf(turn: TurnServerStats, stun: readonly StunServerStats[]): RelayMetrics {
  const { refused, dropped, bindings, ...rest } = turn;
  const codes = Object.entries(refused);
  const known = (code: string) => COUNTED_REFUSALS.includes(Number(code));
  return {
    ...rest,
    dropped: { ...dropped },
    refused: {
      ...Object.fromEntries(COUNTED_REFUSALS.map((code) => [`with_${code}`, refused[code] ?? 0])),
      otherwise: codes.reduce((sum, [code, count]) => (known(code) ? sum : sum + count), 0),
    },
    bindings: bindings + stun.reduce((sum, { answered }) => sum + answered, 0),
    ignored: stun.reduce((sum, { ignored }) => sum + ignored, 0),
  };
}

/** The sum of the counters of several processes. */
export function addMetrics(trees: readonly RelayMetrics[]): RelayMetrics {
  const sum: Record<string, number | MetricTree> = {};
  for (const tree of trees) {
    for (const [name, value] of Object.entries(tree)) {
      const before = sum[name];
      if (typeof value === 'number') sum[name] = (typeof before === 'number' ? before : 0) + value;
      else sum[name] = addMetrics(typeof before === 'object' ? [before, value] : [value]);
    }
  }
  return sum;
}

/** `locals` are UDP first, then streams, each in the order given. */
function listeningOf(
  locals: readonly Endpoint[],
  udp: number,
  streams: readonly { transport: 'tcp' | 'tls' }[],
): Listening[] {
  const of = (wanted: 'tcp' | 'tls') => locals.slice(udp).filter((_, at) => streams[at]?.transport === wanted);
  const all: Listening[] = [
    { what: 'udp', endpoints: locals.slice(0, udp) },
    { what: 'tcp', endpoints: of('tcp') },
    { what: 'tls', endpoints: of('tls') },
  ];
  return all.filter(({ endpoints }) => endpoints.length > 0);
}
