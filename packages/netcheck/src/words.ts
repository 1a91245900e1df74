import { formatEndpoint } from '@towpath/net';
import type { ServiceProbe } from '@towpath/portmap';
import type { Way } from './prospects.ts';
import type { FamilyReport, NetcheckReport, Transport } from './report.ts';
import type { ServerCheck, WayCheck } from './server-check.ts';

/** A heading and the lines under it. */
export interface Section {
  readonly title: string;
  readonly lines: readonly string[];
}

const TRANSPORT: Readonly<Record<Transport, string>> = {
  udp: 'UDP works',
  'tcp-only': 'TCP only: UDP does not get out',
  nothing: 'nothing answers',
  unknown: 'not measured: name a server with --server HOST:PORT',
};

const WAYS: Readonly<Record<Way, string>> = {
  direct: 'direct',
  predicted: 'direct by foretelling a port, else over a relay',
  guessed: 'over a relay; sometimes direct by guessing a port',
  relay: 'over a relay',
  unknown: 'not known',
};

/** A report in plain words, for a person. */
export function describeNetcheck(report: NetcheckReport): Section[] {
  const nat = report.ipv4.nat ?? report.ipv6.nat;
  const sections: Section[] = [
    {
      title: 'This network',
      lines: [
        `out of it     ${TRANSPORT[report.transport]}`,
        `kind          ${report.kind}`,
        ...(report.carrierNat === true
          ? ['              There is another NAT behind your router: the provider’s.']
          : []),
        ...(report.portal === undefined ? [] : [`portal        ${portalWords(report)}`]),
        `took          ${formatMs(report.elapsedMs)}`,
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
  if (nat !== undefined && report.transport !== 'nothing') {
    sections.push({ title: 'NAT', lines: nat.findings });
  }
  const meaning = [
    report.meaning,
    ...report.prospects.map(({ peer, way }) => `peer: ${peer.padEnd(28)} ${WAYS[way]}`),
    ...(report.ipv6.reachable ? ['Peers that have IPv6 too are also tried over it.'] : []),
  ];
  sections.push({ title: 'Connecting', lines: meaning });
  if (report.servers.length > 0) sections.push({ title: 'Servers', lines: report.servers.flatMap(serverLines) });
  if (report.portMapping !== undefined) sections.push({ title: 'Port mapping', lines: mappingLines(report) });
  return sections;
}

function familyWords({ external, why }: FamilyReport): string {
  return external === undefined ? why : `${why} The world sees ${external.address}.`;
}

function serverLines(check: ServerCheck): string[] {
  const name = `${check.role === 'relay' ? 'relay' : 'STUN '} ${formatEndpoint({ address: check.host, port: check.port })}`;
  if (check.error !== undefined) return [`${name}  ${check.error.message}`];
  if (check.ways.length === 0) return [`${name}  not tried: this machine has no address of its family`];
  const works = check.ways.filter(({ error }) => error === undefined).map(wayWords);
  const fails = check.ways.filter(({ error }) => error !== undefined);
  return [
    `${name}  ${works.length > 0 ? works.join(', ') : 'does not answer'}`,
    ...fails.map((way) => `  ${wayName(way)}: ${way.error!.message}`),
  ];
}

function wayWords(way: WayCheck): string {
  return `${wayName(way)} ${formatMs(way.rttMs ?? 0)}`;
}

function wayName({ transport, family }: WayCheck): string {
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
    lines.push(`A port was mapped by ${mapped.via} to ${formatEndpoint(mapped.external)}, and removed again.`);
  }
  if (error !== undefined) lines.push(error.message);
  return lines;
}

function serviceWords({ state, reason, externalAddress }: ServiceProbe): string {
  switch (state) {
    case 'answers':
      return externalAddress === undefined ? 'answers' : `answers; the router’s outside address is ${externalAddress}`;
    case 'refuses':
      return `refuses: ${reason ?? 'without a reason'}`;
    case 'silent':
      return 'does not answer';
    case 'not-asked':
      return 'not asked: no gateway is known';
    default:
      return state satisfies never;
  }
}

function portalWords({ portal }: NetcheckReport): string {
  if (portal === undefined) return '';
  switch (portal.state) {
    case 'open':
      return 'none';
    case 'portal':
      return `log in first: ${portal.location ?? 'open any web page'}`;
    case 'unknown':
      return `not known: ${portal.reason ?? 'no answer'}`;
    default:
      return portal.state satisfies never;
  }
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
