import { type Clock, errorCode, retransmit } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { GATEWAY_PORT, localAddressTowards, onLink } from './gateway-exchange.ts';
import { unusableEndpoint } from './mapping.ts';
import { decodeNatPmp, encodeAddressRequest, NatPmpResult } from './nat-pmp.ts';
import { decodePcpAnnounce, encodePcpAnnounce, PcpResult } from './pcp.ts';
import { encodeGatewaySearch, readGatewayAnswer, SSDP_GROUP, SSDP_PORT } from './ssdp.ts';
import { PortmapError } from './portmap-error.ts';
import { readDeviceUrl } from './upnp.ts';

export interface GatewayProbeOptions {
  /** IPv4 address of the gateway for PCP and NAT-PMP; without it neither is queried. */
  gateway?: string | undefined;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number | undefined;
  /** Also search for a UPnP gateway by multicast; answers of other devices are only named. @default true */
  upnp?: boolean;
  /** Address to send from. @default the one in the gateway's network */
  localAddress?: string | undefined;
  /** Time limit, ms; ends earlier when every service has answered. @default 1000 */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

/** Result of one service. */
export interface ServiceProbe {
  readonly state: 'answers' | 'refuses' | 'silent' | 'not-asked';
  /** The gateway's reason for a refusal; why it was not asked; who else answered. */
  readonly reason?: string;
  /** The gateway's external address, if the service reports it. */
  readonly externalAddress?: string;
}

export interface UpnpProbe extends ServiceProbe {
  /** URL of the gateway's description. */
  readonly location?: string;
}

/** The port mapping services of a gateway. */
export interface GatewayServices {
  readonly pcp: ServiceProbe;
  readonly natPmp: ServiceProbe;
  readonly upnp: UpnpProbe;
}

/** Wait after each transmission as a share of the time limit: one lost request costs a quarter, two cost a half. */
const WAITS: readonly number[] = [0.25, 0.25, 0.5];

/**
 * Finds out which of PCP, NAT-PMP and UPnP a gateway supports, without creating a mapping: a PCP announcement
 * (RFC 6887 §14.1), a NAT-PMP request for the external address (RFC 6886 §3.2), an SSDP search. No answer is a result,
 * not an error.
 * @throws NetError when no socket can be bound; the signal's reason.
 */
export async function probeGateway(
  { network, clock }: { network: Network; clock: Clock },
  options: GatewayProbeOptions,
): Promise<GatewayServices> {
  const { gateway, gatewayPort = GATEWAY_PORT, upnp = true, timeoutMs = 1_000, signal } = options;
  signal?.throwIfAborted();
  const address = options.localAddress ?? (gateway === undefined ? undefined : localAddressTowards(network, gateway));
  const silent: ServiceProbe = { state: gateway === undefined ? 'not-asked' : 'silent' };
  const tunnel = gateway === undefined && address !== undefined && isPointToPoint(network, address);
  const search = upnp && !tunnel;
  const found: { -readonly [Name in keyof GatewayServices]: GatewayServices[Name] } = {
    pcp: silent,
    natPmp: silent,
    upnp: { state: search ? 'silent' : 'not-asked', ...(tunnel && upnp && { reason: TUNNEL }) },
  };
  const complete = Promise.withResolvers<void>();
  const set = <Name extends keyof GatewayServices>(name: Name, probe: GatewayServices[Name]) => {
    if (found[name].state === 'silent') found[name] = probe;
    if (Object.values(found).every(({ state }) => state !== 'silent')) complete.resolve();
  };
  const isRouter = (host: string) =>
    gateway === undefined ? address === undefined || onLink(network, address, host) : host === gateway;
  await using socket = await network.bindUdp({
    address,
    signal,
    onMessage(data, from) {
      if (from.address === gateway && from.port === gatewayPort) readGateway(data, set);
      else if (search)
        readUpnp(data, isRouter, set, (reason) => {
          if (found.upnp.state === 'silent') found.upnp = { state: 'silent', reason };
        });
    },
  });
  const ask: [Uint8Array, Endpoint][] = [];
  if (gateway !== undefined) {
    const to = { address: gateway, port: gatewayPort };
    ask.push([encodePcpAnnounce(address ?? socket.local.address), to], [encodeAddressRequest(), to]);
  }
  if (search) {
    ask.push([encodeGatewaySearch(SSDP_GROUP), { address: SSDP_GROUP, port: SSDP_PORT }]);
    // Some routers do not receive multicast from Wi-Fi, but answer a unicast search.
    if (gateway !== undefined) ask.push([encodeGatewaySearch(gateway), { address: gateway, port: SSDP_PORT }]);
  }
  if (ask.length === 0) return found;
  await retransmit({
    clock,
    schedule: WAITS.map((part) => part * timeoutMs),
    send: () => {
      for (const [data, to] of ask) socket.send(data, to);
    },
    answer: complete.promise,
    signal,
    timeoutError: () => new PortmapError('no-answer', 'Not every service of the gateway answers.'),
  }).catch((error: unknown) => {
    signal?.throwIfAborted();
    if (errorCode(error) !== 'no-answer') throw error;
  });
  return found;
}

type Set = <Name extends keyof GatewayServices>(name: Name, probe: GatewayServices[Name]) => void;

function readGateway(data: Uint8Array, set: Set): void {
  const announced = decodePcpAnnounce(data);
  if (announced !== undefined) {
    const { result } = announced;
    const reason = PcpResult[result] ?? `result ${result}`;
    set('pcp', result === 0 ? { state: 'answers' } : { state: 'refuses', reason });
    return;
  }
  const answer = decodeNatPmp(data);
  if ('failure' in answer || answer.type !== 'external-address') return;
  const { result: code, address } = answer;
  const reason = NatPmpResult[code] ?? `result ${code}`;
  // A gateway with NAT-PMP only answers PCP with "unsupported version", which does not describe its own service.
  if (code === 1) return;
  const useless = code === 0 ? unusableEndpoint({ address, port: 1 }) : reason;
  set(
    'natPmp',
    useless === undefined ? { state: 'answers', externalAddress: address } : { state: 'refuses', reason: useless },
  );
}

/** Answers count when the description is at the router on the path; those of other devices are only named. */
function readUpnp(data: Uint8Array, isRouter: (host: string) => boolean, set: Set, other: (who: string) => void): void {
  const location = readGatewayAnswer(data);
  const host = location === undefined ? undefined : readDeviceUrl(location)?.endpoint.address;
  if (location === undefined || host === undefined) return;
  if (isRouter(host)) set('upnp', { state: 'answers', location });
  else other(`an answer names ${host}, which is not the router on the path`);
}

const TUNNEL = 'the route uses a point-to-point link such as a VPN';

function isPointToPoint(network: Network, address: string): boolean {
  return network.interfaces().some((one) => one.address === address && one.prefixLength >= 31);
}
