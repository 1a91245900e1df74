import { errorCode, errorMessage, isAbort, TowpathError } from '@towpath/core';
import type { DaemonEvent, NetworkCheck, NetworkReport } from '@towpath/dashboard/api';
import { formatEndpoint } from '@towpath/net';
import type { FamilyReport, NetcheckReport, ServerToCheck } from '@towpath/netcheck';
import type { Runtime } from '../cli/runtime.ts';

/** Measures the network when somebody asks, one measurement at a time. */
export class NetworkChecks implements AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #publish: (event: DaemonEvent) => void;
  readonly #servers: () => ServerToCheck[];
  readonly #closing = new AbortController();
  #report: NetworkReport | null = null;
  #problem: NetworkCheck['problem'] = null;
  #running: Promise<void> | undefined;

  /** @param servers STUN servers and relays of the parties */
  constructor(runtime: Runtime, publish: (event: DaemonEvent) => void, servers: () => ServerToCheck[]) {
    this.#runtime = runtime;
    this.#publish = publish;
    this.#servers = servers;
  }

  get state(): NetworkCheck {
    return { running: this.#running !== undefined, report: this.#report, problem: this.#problem };
  }

  /** Begins a measurement unless one is running. */
  start(): NetworkCheck {
    this.#running ??= this.#measure().finally(() => {
      this.#running = undefined;
      this.#publish({ type: 'netcheck', check: this.state });
    });
    return this.state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #measure(): Promise<void> {
    const { network, clock, random, log } = this.#runtime;
    try {
      const { netcheck, describeNetcheck } = await import('@towpath/netcheck');
      const servers = this.#servers();
      const report = await netcheck(
        { network, clock, random, log },
        { servers, relays: servers, portMapping: 'ask', signal: this.#closing.signal },
      );
      const text = describeNetcheck(report).map(({ title, lines }) => ({ title, lines: [...lines] }));
      this.#report = reportOf(report, new Date(clock.wallTime()).toISOString(), text);
      this.#problem = null;
    } catch (error) {
      if (isAbort(error)) return;
      this.#problem = { code: errorCode(error), message: errorMessage(error) };
      if (!(error instanceof TowpathError)) log.error(`The network could not be measured: ${errorMessage(error)}`);
    }
  }
}

function reportOf(report: NetcheckReport, at: string, text: NetworkReport['text']): NetworkReport {
  const { transport, kind, meaning, gateway, beyondGateway, portMapping, portal, elapsedMs } = report;
  return {
    at,
    transport,
    kind,
    meaning,
    ipv4: familyOf(report.ipv4),
    ipv6: familyOf(report.ipv6),
    addresses: report.addresses.map(({ interface: name, address, prefixLength }) => ({
      interface: name,
      address,
      prefixLength,
    })),
    gateway: gateway ?? null,
    carrierNat: beyondGateway === undefined || beyondGateway === 'unclear' ? null : beyondGateway === 'provider-nat',
    reachability: report.reachability.map(({ peer, reachability }) => ({ peer, reachability })),
    servers: report.servers.map(({ role, host, port, transports, error }) => ({
      role,
      host,
      port,
      transports: transports.map(({ transport, family, endpoint, rttMs, error: problem }) => ({
        transport,
        family,
        endpoint: formatEndpoint(endpoint),
        rttMs: rttMs ?? null,
        problem: problem ?? null,
      })),
      problem: error ?? null,
    })),
    portMapping:
      portMapping === undefined
        ? null
        : Object.entries(portMapping.services).flatMap(([name, probe]) => (probe.state === 'answers' ? [name] : [])),
    portal: portal?.state ?? null,
    elapsedMs,
    text,
  };
}

function familyOf({ reachable, external, nat, why }: FamilyReport): NetworkReport['ipv4'] {
  return {
    reachable: reachable ?? null,
    external: external === undefined ? null : formatEndpoint(external),
    mapping: nat?.mapping ?? null,
    filtering: nat?.filtering ?? null,
    why,
  };
}
