/** Searching for a UPnP internet gateway: SSDP, UPnP Device Architecture 1.1 §1.3. */

export const SSDP_GROUP = '239.255.255.250';
export const SSDP_PORT = 1900;

/** Every version answers a search for the first one (§1.3.2). */
const GATEWAY_DEVICE = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1';

/** Answers are header lines; larger ones are no answers to us. */
const MAX_ANSWER_BYTES = 4_096;

/** A search that is sent to the multicast group, or to one device. */
export function encodeGatewaySearch(to: string): Uint8Array {
  const lines = [
    'M-SEARCH * HTTP/1.1',
    `HOST: ${to}:${SSDP_PORT}`,
    `ST: ${GATEWAY_DEVICE}`,
    'MAN: "ssdp:discover"',
    // How long devices may wait before they answer, s; one is the least that is allowed.
    'MX: 1',
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** Where the description of the gateway is that answers; undefined for any other datagram. Never throws. */
export function readGatewayAnswer(data: Uint8Array): string | undefined {
  if (data.length > MAX_ANSWER_BYTES) return undefined;
  const text = Buffer.from(data).toString('latin1');
  if (!/^HTTP\/1\.[01] 200[ \r]/.test(text)) return undefined;
  if (!/^ST:.*:InternetGatewayDevice:\d+\s*$/im.test(text)) return undefined;
  return /^LOCATION:\s*(http:\/\/[!-~]+)\s*$/im.exec(text)?.[1];
}
