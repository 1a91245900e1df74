import { readFile } from 'node:fs/promises';

const ROUTE_UP = 0x1;
const ROUTE_GATEWAY = 0x2;

/**
 * The IPv4 default gateway of a Linux host, from the kernel's table; undefined where there is none or no such file.
 * @param file another file of the same form, for tests.
 */
export async function defaultGateway(file = '/proc/net/route'): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    // Not Linux: the caller asks for the gateway by hand.
    return undefined;
  }
  return parseRoutes(text);
}

/** The gateway of the default route with the lowest metric. */
export function parseRoutes(text: string): string | undefined {
  const routes = text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , flags = '0']) => destination === '00000000' && isGatewayRoute(flags))
    .toSorted((a, b) => Number(a[6]) - Number(b[6]));
  const hex = routes[0]?.[2];
  if (hex === undefined || !/^[0-9A-Fa-f]{8}$/.test(hex)) return undefined;
  // The kernel prints the address as a number in host order, which is little-endian everywhere this runs.
  return Buffer.from(hex, 'hex').reverse().join('.');
}

function isGatewayRoute(flags: string): boolean {
  const wanted = ROUTE_UP | ROUTE_GATEWAY;
  return (Number.parseInt(flags, 16) & wanted) === wanted;
}
