import type { Clock } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { GATEWAY_PORT, localAddressTowards } from './gateway-exchange.ts';
import { decodeNatPmp, encodeAddressRequest, NatPmpResult } from './nat-pmp.ts';
import { decodePcpAnnounce, encodePcpAnnounce, PcpResult } from './pcp.ts';
import { encodeGatewaySearch, readGatewayAnswer, SSDP_GROUP, SSDP_PORT } from './ssdp.ts';

export interface GatewayProbeOptions {
  /** IPv4 address of the gateway to ask for PCP and NAT-PMP; neither is asked for without. */
  gateway?: string;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number;
  /** Also look for a UPnP gateway by multicast. @default true */
  upnp?: boolean;
  /** How long answers are waited for, ms; less when every service has answered. @default 1000 */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** What is known of one service. */
export interface ServiceProbe {
  readonly state: 'answers' | 'refuses' | 'silent' | 'not-asked';
  /** What the gateway said when it refused. */
  readonly reason?: string;
  /** The gateway's own outside address, where the service tells it. */
  readonly externalAddress?: string;
}

export interface UpnpProbe extends ServiceProbe {
  /** Where the gateway's description is. */
  readonly location?: string;
}

/** The ways to map a port that a gateway offers. */
export interface GatewayServices {
  readonly pcp: ServiceProbe;
  readonly natPmp: ServiceProbe;
  readonly upnp: UpnpProbe;
}

/** When requests are sent, as parts of the time that there is: a lost one costs a quarter, two lost ones a half. */
const SENDS_AT = [0, 0.25, 0.5] as const;

/**
 * Finds out which of PCP, NAT-PMP and UPnP a gateway speaks, without mapping anything: a PCP announcement
 * (RFC 6887 §14.1), a NAT-PMP question for the outside address (RFC 6886 §3.2), an SSDP search. That nobody
 * answers is a finding, not an error.
 * @throws NetError when no socket can be bound; the signal's reason.
 */
export async function probeGateway(
  { network, clock }: { network: Network; clock: Clock },
  options: GatewayProbeOptions,
): Promise<GatewayServices> {
  const { gateway, gatewayPort = GATEWAY_PORT, upnp = true, timeoutMs = 1_000, signal } = options;
  signal?.throwIfAborted();
  const silent: ServiceProbe = { state: gateway === undefined ? 'not-asked' : 'silent' };
  const found: { -readonly [Name in keyof GatewayServices]: GatewayServices[Name] } = {
    pcp: silent,
    natPmp: silent,
    upnp: { state: upnp ? 'silent' : 'not-asked' },
  };
  const complete = Promise.withResolvers<void>();
  const set = <Name extends keyof GatewayServices>(name: Name, probe: GatewayServices[Name]) => {
    if (found[name].state === 'silent') found[name] = probe;
    if (Object.values(found).every(({ state }) => state !== 'silent')) complete.resolve();
  };
  const address = gateway === undefined ? undefined : localAddressTowards(network, gateway);
  await using socket = await network.bindUdp({
    address,
    signal,
    onMessage(data, from) {
      if (from.address === gateway && from.port === gatewayPort) readGateway(data, set);
      else if (upnp) readUpnp(data, set);
    },
  });
  const ask: [Uint8Array, Endpoint][] = [];
  if (gateway !== undefined) {
    const to = { address: gateway, port: gatewayPort };
    ask.push([encodePcpAnnounce(address ?? socket.local.address), to], [encodeAddressRequest(), to]);
  }
  if (upnp) {
    ask.push([encodeGatewaySearch(SSDP_GROUP), { address: SSDP_GROUP, port: SSDP_PORT }]);
    // Some routers do not hear multicast from Wi-Fi, but answer a search that is sent to them.
    if (gateway !== undefined) ask.push([encodeGatewaySearch(gateway), { address: gateway, port: SSDP_PORT }]);
  }
  if (ask.length === 0) return found;
  const over = new AbortController();
  const either = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const sending = (async () => {
    let elapsedMs = 0;
    for (const part of [...SENDS_AT, 1]) {
      await clock.sleep(part * timeoutMs - elapsedMs, either);
      elapsedMs = part * timeoutMs;
      if (part < 1) for (const [data, to] of ask) socket.send(data, to);
    }
  })();
  try {
    await Promise.race([complete.promise, sending]);
  } finally {
    over.abort();
    // Ended by the line above, or over already; a failure was thrown by the race.
    await sending.catch(() => undefined);
  }
  return found;
}

type Set = <Name extends keyof GatewayServices>(name: Name, probe: GatewayServices[Name]) => void;

function readGateway(data: Uint8Array, set: Set): void {
  const result = decodePcpAnnounce(data);
  if (result !== undefined) {
    const reason = PcpResult[result] ?? `result ${result}`;
    set('pcp', result === 0 ? { state: 'answers' } : { state: 'refuses', reason });
    return;
  }
  const answer = decodeNatPmp(data);
  if ('failure' in answer || answer.type !== 'external-address') return;
  const { result: code, address } = answer;
  const reason = NatPmpResult[code] ?? `result ${code}`;
  // A gateway that speaks only NAT-PMP answers PCP with "unsupported version": that says nothing about itself.
  if (code === 1) return;
  set('natPmp', code === 0 ? { state: 'answers', externalAddress: address } : { state: 'refuses', reason });
}

function readUpnp(data: Uint8Array, set: Set): void {
  const location = readGatewayAnswer(data);
  if (location !== undefined) set('upnp', { state: 'answers', location });
}
