import { RemovedMembers } from '@towpath/control';
import { type Clock, errorCode, errorMessage, type Log, Mutex, type Random, TowpathError } from '@towpath/core';
import { addressFamily, type Endpoint, isUnspecified, type Network, openOnChosenPort } from '@towpath/net';
import { type ChosenPlane, IcmpErrors, NodeSystem, type RelayPlane, STUN_PATTERN } from '@towpath/splice';
import { StunErrorCode } from '@towpath/stun/message';
import {
  DEFAULT_LIMITS,
  StunServer,
  type StunServerStats,
  TurnServer,
  type TurnServerStats,
} from '@towpath/stun/server';
import type { MetricsServer, MetricTree } from '../../serve/metrics-server.ts';
import {
  choosePlane,
  type KernelPlaneComponents,
  kernelMetrics,
  type PlaneReport,
  planeReport,
} from '../../serve/kernel-plane.ts';
import { hostAddresses, type RelayPlan, stunPlaces, wildcardPlace } from './plan.ts';
import { turnGroups } from './quotas.ts';
import { SharedPorts } from './shared-ports.ts';

export interface RelayComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** True for users whose credentials have ended before their time. */
  isRevoked?(user: string): boolean;
}

/** Sockets of one kind that are open. */
export interface Listening {
  /** `alternate`: UDP ports that only answer STUN, for tests of NAT behaviour (RFC 5780). */
  readonly what: 'udp' | 'tcp' | 'tls' | 'alternate';
  readonly endpoints: readonly Endpoint[];
}

/** STUN error codes that are counted. */
const COUNTED_REFUSALS: readonly number[] = [
  StunErrorCode.BadRequest,
  StunErrorCode.Forbidden,
  StunErrorCode.AllocationMismatch,
  StunErrorCode.UnsupportedTransport,
  StunErrorCode.AddressFamilyNotSupported,
  StunErrorCode.AllocationQuotaReached,
  StunErrorCode.InsufficientCapacity,
];

/** Limits of allocations that are counted when they are reached. */
const QUOTAS = ['total', 'user', 'party', 'founder'] as const;

/** Metrics of a relay that are states of the moment. */
const RELAY_GAUGES: readonly string[] = [
  'allocations',
  'users',
  'connections',
  'connections_unused',
  'workers',
  'plain_ports',
  'removed_members',
  'kernel_usable',
  'kernel_sessions',
  'kernel_waiting',
];

/**
 * Serves the metrics of a relay and its limits. Limits are those of the plan, as the operator gave them: workers have the
 * same ones each, and a sum of them would be nobody's limit.
 */
export function addRelayMetrics(
  metrics: MetricsServer,
  relay: { readonly metrics: RelayMetrics },
  plan: RelayPlan,
): void {
  metrics.add('towpath_turn', () => relay.metrics, { gauges: RELAY_GAUGES });
  const limits = relayLimits(plan);
  metrics.add('towpath_turn_limit', () => limits, { gauges: 'all' });
}

/** The limits of a plan, defaults included; Infinity is no limit. */
export function relayLimits({ limits, quotas }: Pick<RelayPlan, 'limits' | 'quotas'>): MetricTree {
  // Names that end in `_total` are those of counters.
  const { unauthenticatedPerSecondTotal, bindingsPerSecondTotal, ...rest } = { ...DEFAULT_LIMITS, ...limits };
  return {
    ...rest,
    allUnauthenticatedPerSecond: unauthenticatedPerSecondTotal,
    allBindingsPerSecond: bindingsPerSecondTotal,
    party: { ...quotas.party },
    founder: { ...quotas.founder },
  };
}

/** One process's STUN and TURN servers on the ports of a plan. */
export class RelayNode implements AsyncDisposable {
  readonly listening: readonly Listening[];
  /** Where the data of plain ports passes, and why. */
  readonly dataPlane: PlaneReport;
  readonly #plane: RelayPlane | undefined;
  readonly #turn: TurnServer;
  readonly #removed: RemovedMembers | undefined;
  readonly #icmp: IcmpErrors | undefined;
  #stun: StunServer[];
  #changes: Disposable | undefined;
  #closing = false;

  private constructor(
    components: {
      stun: StunServer[];
      turn: TurnServer;
      chosen: ChosenPlane;
      removed: RemovedMembers | undefined;
      icmp: IcmpErrors | undefined;
    },
    listening: readonly Listening[],
  ) {
    this.dataPlane = planeReport(components.chosen);
    this.#plane = components.chosen.plane;
    this.#stun = components.stun;
    this.#turn = components.turn;
    this.#removed = components.removed;
    this.#icmp = components.icmp;
    this.listening = listening;
  }

  /**
   * Opens every port.
   * @throws NetError when a port cannot be opened; TowpathError `port-sharing-unsupported` when this system cannot share
   *   ports between processes. Then nothing stays open.
   */
  static async open(components: RelayComponents, plan: RelayPlan): Promise<RelayNode> {
    return openOnChosenPort(plan.port === 0, () => RelayNode.#openOnce(components, plan));
  }

  static async #openOnce(components: RelayComponents, plan: RelayPlan): Promise<RelayNode> {
    const { network, clock, random, log } = components;
    await using stack = new AsyncDisposableStack();
    const ports = new SharedPorts(network, { reusePort: plan.shared });
    const wildcards = ([4, 6] as const).filter((family) =>
      plan.addresses.some((address) => isUnspecified(address) && addressFamily(address) === family),
    );
    const every = wildcards.flatMap((family) => hostAddresses(network.interfaces(), family));
    try {
      const stun: StunServer[] = [];
      for (const place of [...stunPlaces(plan), ...every.map((address) => wildcardPlace(plan, address))]) {
        // The other addresses use the port that the system chose for the first one.
        const options = { ...place, port: stun[0]?.local.port ?? place.port };
        stun.push(stack.use(await StunServer.listen({ network: ports.stun, clock, log }, options)));
      }
      const port = stun[0]?.local.port ?? plan.port;
      const named = plan.addresses.filter((address) => !isUnspecified(address));
      const udp = [...new Set([...named, ...every])].map((address) => ({ transport: 'udp' as const, address, port }));
      const streams = plan.addresses.flatMap((address) => [
        ...(plan.tcp ? [{ transport: 'tcp' as const, address, port }] : []),
        ...(plan.tls ? [{ transport: 'tls' as const, address, port: plan.tls.port, tls: plan.tls }] : []),
      ]);
      const { realm, secrets, users, limits, quotas, relay, relayPorts, allow, deny, shared } = plan;
      const chosen = await choosePlane({ clock, random, log }, plan.dataPlane ?? 'auto', {
        addresses: relay.map(({ address }) => address),
        control: [STUN_PATTERN],
      });
      if (chosen.plane !== undefined) stack.use(chosen.plane);
      let opened: TurnServer | undefined;
      const removed =
        plan.control &&
        stack.use(
          new RemovedMembers(
            { clock, random, log },
            {
              ...plan.control,
              secrets,
              onRemoved: (users) => opened?.endAllocations((_username, user) => users.includes(user)),
            },
          ),
        );
      const turn = await TurnServer.listen(
        { network: ports.turn, clock, random, log, plane: chosen.plane },
        {
          realm,
          listeners: [...udp, ...streams],
          relay,
          relayPorts,
          credentials: {
            secrets,
            users,
            isRevoked: (_username, user) => components.isRevoked?.(user) === true || removed?.isRemoved(user) === true,
          },
          limits,
          groups: turnGroups(quotas),
          peers: { allow, deny },
          shared,
          nonceSecret: Buffer.from(plan.nonceSecret, 'hex'),
        },
      );
      opened = turn;
      const icmp = plan.dataPlane === 'user' ? undefined : await watchIcmp({ clock, random, log }, turn, relayPorts);
      stack.move();
      const node = new RelayNode(
        { stun, turn, chosen, removed, icmp },
        listeningOf(
          turn.locals,
          udp.length,
          streams,
          stun.flatMap(({ alternates }) => alternates),
        ),
      );
      if (wildcards.length > 0) node.#follow(components, { ...plan, port }, ports, wildcards);
      return node;
    } catch (error) {
      if (plan.shared && error instanceof Error && errorCode(error.cause) === 'ENOTSUP') {
        const advice = 'This system cannot share a port between processes. Next: --workers 1.';
        throw new TowpathError('port-sharing-unsupported', advice, { cause: error });
      }
      throw error;
    }
  }

  /** Listens on addresses that the host gets later too, and no longer on those that it loses. */
  #follow(
    { network, clock, log }: RelayComponents,
    plan: RelayPlan,
    ports: SharedPorts,
    families: readonly (4 | 6)[],
  ): void {
    const work = new Mutex();
    const update = async () => {
      using _turn = await work.acquire();
      const wanted = new Set(families.flatMap((family) => hostAddresses(network.interfaces(), family)));
      for (const server of this.#stun) {
        const { local } = server;
        if (wanted.delete(local.address) || !families.includes(addressFamily(local.address) ?? 4)) continue;
        this.#stun = this.#stun.filter((one) => one !== server);
        await this.#turn.removeListener(local);
        await server.close();
      }
      for (const address of wanted) {
        if (this.#closing) return;
        const components = { network: ports.stun, clock, log };
        this.#stun.push(await StunServer.listen(components, wildcardPlace(plan, address)));
        await this.#turn.addListener({ transport: 'udp', address, port: plan.port });
      }
    };
    this.#changes = network.changes.subscribe(() => {
      update().catch((error: unknown) => log.warn('cannot listen on a new address of this host', { error }));
    });
  }

  /** Ends the allocations of users that are not members any more. @returns how many were ended */
  endAllocations(isRevoked: (user: string) => boolean): number {
    const revoked = new Map([...this.#turn.users].map((user) => [user, isRevoked(user)]));
    return this.#turn.endAllocations((_username, user) => revoked.get(user) === true);
  }

  get metrics(): RelayMetrics {
    const { asked, failed, removed } = this.#removed?.stats ?? { asked: 0, failed: 0, removed: 0 };
    return {
      ...metricsOf(
        this.#turn.stats,
        this.#stun.map(({ stats }) => stats),
      ),
      removalQuestions: asked,
      removalQuestionsFailed: failed,
      removedMembers: removed,
    };
  }

  /** Ends every allocation and closes every socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#changes?.[Symbol.dispose]();
    await this.#removed?.[Symbol.asyncDispose]();
    await this.#turn.close();
    this.#icmp?.close();
    this.#plane?.close();
    await Promise.all(this.#stun.map((server) => server.close()));
  }
}

/** Undefined where the kernel does not tell of ICMP errors: they reach nobody then, as in other servers. */
async function watchIcmp(
  components: KernelPlaneComponents,
  turn: TurnServer,
  ports: readonly [number, number],
): Promise<IcmpErrors | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    return await IcmpErrors.open(
      { ...components, system: new NodeSystem() },
      { ports, isWanted: () => turn.isRelaying, onErrors: (errors) => turn.reportIcmp(errors) },
    );
  } catch (error) {
    components.log.info('Clients are not told of ICMP errors.', { error: errorMessage(error) });
    return undefined;
  }
}

/** Counters under fixed names, so that those of several processes can be added up. */
export type RelayMetrics = MetricTree;

function metricsOf(turn: TurnServerStats, stun: readonly StunServerStats[]): RelayMetrics {
  const { refused, quotaReached, dropped, bindings, kernel, ...rest } = turn;
  const codes = Object.entries(refused);
  const known = (code: string) => COUNTED_REFUSALS.includes(Number(code));
  return {
    ...rest,
    dropped: { ...dropped },
    kernel: kernelMetrics(kernel),
    quotaReached: Object.fromEntries(QUOTAS.map((quota) => [quota, quotaReached[quota] ?? 0])),
    refused: {
      ...Object.fromEntries(COUNTED_REFUSALS.map((code) => [`with_${code}`, refused[code] ?? 0])),
      otherwise: codes.reduce((sum, [code, count]) => (known(code) ? sum : sum + count), 0),
    },
    bindings: bindings + stun.reduce((sum, { answered }) => sum + answered, 0),
    ignored: stun.reduce((sum, { ignored }) => sum + ignored, 0),
    limited: stun.reduce((sum, { limited }) => sum + limited, 0),
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
  alternates: readonly Endpoint[],
): Listening[] {
  const of = (wanted: 'tcp' | 'tls') => locals.slice(udp).filter((_, at) => streams[at]?.transport === wanted);
  const all: Listening[] = [
    { what: 'udp', endpoints: locals.slice(0, udp) },
    { what: 'tcp', endpoints: of('tcp') },
    { what: 'tls', endpoints: of('tls') },
    { what: 'alternate', endpoints: alternates },
  ];
  return all.filter(({ endpoints }) => endpoints.length > 0);
}
