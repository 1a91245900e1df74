import { addressFamily, type Endpoint } from '@towpath/net';
import { describeNetcheck, netcheck } from '@towpath/netcheck';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { jsonLine } from '../../cli/json-output.ts';
import { readAuthorities } from '../../config/secret-file.ts';

interface NetcheckCommandOptions extends CommonOptions {
  server?: Endpoint[];
  relay?: Endpoint[];
  tlsPort: number;
  ca?: string;
  gateway?: string;
  portMapping?: boolean;
  portal?: string;
}

export async function runNetcheck(runtime: Runtime, options: NetcheckCommandOptions): Promise<void> {
  const { io, network, clock, random, log, signal } = runtime;
  const { server = [], relay = [], tlsPort, ca, gateway, portMapping, portal, json } = options;
  if (gateway !== undefined && addressFamily(gateway) !== 4) {
    throw new UsageError(`--gateway ${gateway} is not an IPv4 address.`);
  }
  const authorities = ca === undefined ? undefined : readAuthorities(ca);
  if (!json) io.err(io.style('dim', 'Checking, up to 3 s …'));
  const report = await netcheck(
    { network, clock, random, log },
    {
      servers: server.map(named),
      relays: relay.map((one) => ({ ...named(one), tlsPort })),
      ...(authorities === undefined ? {} : { tls: { ca: authorities } }),
      ...(gateway === undefined ? {} : { gateway }),
      ...(portal === undefined ? {} : { portalUrl: portal }),
      portMapping: portMapping ? 'map' : 'ask',
      signal,
    },
  );
  if (json) {
    io.out(jsonLine('netcheck', report, rounded));
    return;
  }
  for (const { title, lines } of describeNetcheck(report)) {
    io.out(io.style('bold', title));
    for (const line of lines) io.out(`  ${line}`);
  }
}

function named({ address, port }: Endpoint): { host: string; port: number } {
  return { host: address, port };
}

/** Times are measured to more digits than anybody wants to read. */
function rounded(key: string, value: unknown): unknown {
  return typeof value === 'number' && key.endsWith('Ms') ? Math.round(value * 100) / 100 : value;
}
