import type { IncomingHttpHeaders } from 'node:http';
import { isIpAddress } from '@towpath/net/address';

/**
 * Returns why a request to a local HTTP surface is refused: it comes from a web page (Origin), or a browser was led here
 * by a name of somebody else (DNS rebinding). Addresses, `localhost`, names without a point and `names` are accepted.
 */
export function refusalOf(headers: IncomingHttpHeaders, names: readonly string[] = []): string | undefined {
  if (headers.origin !== undefined) return 'Web pages may not read this: the request has an Origin header.';
  const { host } = headers;
  if (host === undefined) return 'The request has no Host header.';
  const name = hostOf(host);
  if (name === undefined) return 'The Host header is not a host.';
  // A name without a point is of the local network: no stranger can register it.
  const known = isIpAddress(name) || !name.includes('.') || names.some((one) => one.toLowerCase() === name);
  return known ? undefined : 'The Host header must be an address or a name of this machine.';
}

/** The host of `host:port`, in lower case and without brackets. */
function hostOf(text: string): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([\w.-]+))(?::\d{1,5})?$/.exec(text);
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
}
