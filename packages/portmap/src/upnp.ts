import { type Endpoint, isPort } from '@towpath/net';
import { elementText, findElements, parseXml } from './xml.ts';

/** UPnP Internet Gateway Device: descriptions and SOAP actions (WANIPConnection:1 and :2, WANPPPConnection:1). */

/** The services that map ports, the preferred one first. */
const SERVICES: readonly string[] = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
];

/** A description has a handful of services; what comes after these is not read. */
const MAX_SERVICES = 64;

/** Where a gateway takes actions. */
export interface ControlPoint {
  readonly service: string;
  readonly endpoint: Endpoint;
  readonly path: string;
}

/** WANIPConnection:2 §2.6 and UPnP Device Architecture 1.1 §3.2.2: codes that have a remedy. */
export const UpnpErrorCode = {
  InvalidAction: 401,
  InvalidArgs: 402,
  ActionFailed: 501,
  NoSuchEntry: 714,
  ConflictInMapping: 718,
  SamePortValuesRequired: 724,
  OnlyPermanentLeases: 725,
  ConflictWithOtherMechanisms: 729,
} as const;

/** An endpoint and a path, of a URL that leads to an address; undefined for any other. Never throws. */
export function readDeviceUrl(text: string, base?: string): { endpoint: Endpoint; path: string } | undefined {
  const url = URL.parse(text, base);
  if (url?.protocol !== 'http:') return undefined;
  const address = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 80 : Number(url.port);
  return isPort(port) ? { endpoint: { address, port }, path: `${url.pathname}${url.search}` } : undefined;
}

/**
 * Finds the services that map ports in a device description, the preferred kind first; a router with several WAN
 * connections has several. Only control URLs at the same address count, so that a description cannot send us elsewhere.
 * Never throws.
 */
export function readDescription(xml: string, location: string): ControlPoint[] {
  const document = parseXml(xml);
  const base = URL.parse(elementText(document, 'URLBase') ?? '', location)?.href ?? location;
  const device = readDeviceUrl(location);
  const points: ControlPoint[] = [];
  for (const service of findElements(document, 'service').slice(0, MAX_SERVICES)) {
    const type = elementText(service.children, 'serviceType') ?? '';
    const place = readDeviceUrl(elementText(service.children, 'controlURL') ?? '', base);
    if (!SERVICES.includes(type) || place === undefined || place.endpoint.address !== device?.endpoint.address)
      continue;
    points.push({ service: type, ...place });
  }
  return points.toSorted((a, b) => SERVICES.indexOf(a.service) - SERVICES.indexOf(b.service));
}

/** A SOAP request: headers and body. */
export function encodeAction(
  service: string,
  action: string,
  fields: Readonly<Record<string, string | number>>,
): { headers: Record<string, string>; body: string } {
  const values = Object.entries(fields).map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`);
  return {
    headers: { 'Content-Type': 'text/xml; charset="utf-8"', SOAPAction: `"${service}#${action}"` },
    body:
      '<?xml version="1.0"?>\r\n' +
      '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
      's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
      `<u:${action} xmlns:u="${service}">${values.join('')}</u:${action}></s:Body></s:Envelope>\r\n`,
  };
}

/** The error in a SOAP answer; undefined when there is none. Never throws. */
export function readFault(xml: string): { code: number; description: string } | undefined {
  const document = parseXml(xml);
  const code = Number(elementText(document, 'errorCode'));
  return Number.isInteger(code) && code > 0
    ? { code, description: elementText(document, 'errorDescription') ?? 'no description' }
    : undefined;
}

/** The argument of that name in a SOAP answer; undefined when it is absent or empty. Never throws. */
export function readArgument(xml: string, name: string): string | undefined {
  return elementText(parseXml(xml), name);
}

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;' })[sign] ?? '&gt;');
}
