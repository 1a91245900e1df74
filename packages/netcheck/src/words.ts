import { formatEndpoint } from '@towpath/net';
import type { ServiceProbe } from '@towpath/portmap';
import type { Reachability } from '@towpath/stun';
import {
  type BeyondGateway,
  type FamilyReport,
  isOfThisMachine,
  type NetcheckReport,
  natOf,
  type Transport,
  type Unmeasured,
} from './report.ts';
import type { ServerCheck, TransportCheck } from './server-check.ts';

/** A heading and the lines under it. */
export interface Section {
  readonly title: string;
  readonly lines: readonly string[];
}

const TRANSPORT: Readonly<Record<Transport, string>> = {
  udp: 'UDP works',
  'tcp-only': 'TCP only; outbound UDP is blocked',
  nothing: 'no server answers',
  unknown: 'not measured',
};

const UNMEASURED: Readonly<Record<Unmeasured, string>> = {
  'no-server': 'not measured; add --server HOST:PORT',
  names: 'not measured; the names of the servers were not looked up',
  'other-family': 'not measured; the servers have no address of the IP version of this machine',
};

const BEYOND: Readonly<Record<BeyondGateway, string | undefined>> = {
  'no-nat': undefined,
  'provider-nat': 'The provider uses another NAT (CGNAT).',
  'another-nat': 'Another NAT follows the router: a second router, or one of the provider (CGNAT).',
  unclear: 'Servers see another address than the router has: it has several uplinks, or another NAT follows.',
};

const REACHABILITY: Readonly<Record<Reachability, string>> = {
  direct: 'direct',
  'port-prediction': 'direct, using port prediction; otherwise over a relay',
  'birthday-attack': 'over a relay; sometimes direct, using random port probes',
  relay: 'over a relay',
  unknown: 'not known',
};

/** Formats a report as sections of text. */
export function describeNetcheck(report: NetcheckReport): Section[] {
  const nat = natOf(report);
  const beyond = report.beyondGateway && BEYOND[report.beyondGateway];
  const sections: Section[] = [
    {
      title: 'This network',
      lines: [
        `transport     ${report.unmeasured ? UNMEASURED[report.unmeasured] : TRANSPORT[report.transport]}`,
        `NAT           ${report.kind}`,
        ...(beyond === undefined ? [] : [`              ${beyond}`]),
        ...(report.portal === undefined ? [] : [`portal        ${portalWords(report)}`]),
        `duration      ${formatMs(report.elapsedMs)}`,
      ],
    },
    {
      title: 'Addresses',
      lines: [
        ...report.addresses.map(
          ({ interface: name, address, prefixLength, scope }) =>
            `${name.padEnd(13)} ${address}/${prefixLength}${scope === undefined || scope === 'global' ? '' : ` (${scope})`}`,
        ),
        `gateway       ${report.gateway ?? 'none'}`,
        `IPv4          ${familyWords(report.ipv4)}`,
        `IPv6          ${familyWords(report.ipv6)}`,
      ],
    },
  ];
  if (nat !== undefined && !isOfThisMachine(report)) {
    sections.push({ title: 'NAT', lines: nat.findings });
  }
  const meaning = [
    report.meaning,
    ...report.reachability.map(({ peer, reachability }) => `peer: ${peer.padEnd(28)} ${REACHABILITY[reachability]}`),
    ...(report.ipv6.reachable ? ['Peers with IPv6 are also tried over IPv6.'] : []),
  ];
  sections.push({ title: 'Connecting', lines: meaning });
  if (report.servers.length > 0) sections.push({ title: 'Servers', lines: report.servers.flatMap(serverLines) });
  if (report.portMapping !== undefined) sections.push({ title: 'Port mapping', lines: mappingLines(report) });
  return sections;
}

function familyWords({ external, why }: FamilyReport): string {
  return external === undefined ? why : `${why} External address ${external.address}.`;
}

function serverLines(check: ServerCheck): string[] {
  const name = `${check.role === 'relay' ? 'relay' : 'STUN '} ${formatEndpoint({ address: check.host, port: check.port })}`;
  if (check.error !== undefined) return [`${name}  ${check.error.message}`];
  const unresolved = check.unresolved.map(({ message }) => `  ${message}`);
  if (check.transports.length === 0) {
    return unresolved.length > 0
      ? [`${name}  not tested`, ...unresolved]
      : [`${name}  not tested: this machine has no address of that family that leads beyond its network`];
  }
  const works = check.transports.filter(({ error }) => error === undefined).map(transportWords);
  const fails = check.transports.filter(({ error }) => error !== undefined);
  return [
    `${name}  ${works.length > 0 ? works.join(', ') : 'no answer'}`,
    ...fails.map((check) => `  ${transportName(check)}: ${check.error!.message}`),
    ...unresolved,
  ];
}

function transportWords(check: TransportCheck): string {
  return `${transportName(check)} ${formatMs(check.rttMs ?? 0)}`;
}

function transportName({ transport, family }: TransportCheck): string {
  return `${transport.toUpperCase()}${family === 6 ? ' over IPv6' : ''}`;
}

function mappingLines({ portMapping }: NetcheckReport): string[] {
  if (portMapping === undefined) return [];
  const { services, mapped, error } = portMapping;
  const lines = [
    `PCP           ${serviceWords(services.pcp)}`,
    `NAT-PMP       ${serviceWords(services.natPmp)}`,
    `UPnP          ${serviceWords(services.upnp)}`,
  ];
  if (mapped !== undefined) {
    const end = mapped.deleted
      ? 'created and deleted'
      : `created; the router did not confirm its deletion, so it ends after ${Math.round(mapped.lifetimeMs / 1_000)} s`;
    lines.push(`Test mapping by ${mapped.via} to ${formatEndpoint(mapped.external)} ${end}.`);
  }
  if (error !== undefined) lines.push(error.message);
  return lines;
}

function serviceWords({ state, reason, externalAddress }: ServiceProbe): string {
  switch (state) {
    case 'answers':
      // The probe creates no mapping: that the service answers does not mean that it grants one.
      return externalAddress === undefined ? 'answers' : `answers; external address ${externalAddress}`;
    case 'refuses':
      return `refused: ${reason ?? 'no reason given'}`;
    case 'silent':
      return reason === undefined ? 'no answer' : `no answer; ${reason}`;
    case 'not-asked':
      return `not tested: ${reason ?? 'the gateway is not known'}`;
    default:
      return state satisfies never;
  }
}

function portalWords(report: NetcheckReport): string {
  const { portal } = report;
  if (portal === undefined) return '';
  switch (portal.state) {
    case 'open':
      return 'none';
    case 'portal':
      return `${report.transport === 'unknown' ? 'probably' : 'found'}; log in at ${portal.location ?? 'any web page'}`;
    case 'unknown':
      return `not known; ${portal.reason ?? 'no answer'}`;
    default:
      return portal.state satisfies never;
  }
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
