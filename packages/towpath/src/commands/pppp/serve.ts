import { type Endpoint, formatEndpoint, isUnspecified } from '@towpath/net';
import { parseUid } from '@towpath/pppp';
import { relayPlaneOptions, RelayServer, RendezvousServer } from '@towpath/pppp/server';
import { z } from 'zod';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import type { DataPlaneMode } from '../../cli/values.ts';
import { readSecret } from '../../config/secret-file.ts';
import { MetricsServer } from '../../serve/metrics-server.ts';
import {
  announcePlane,
  arrivalAddress,
  choosePlane,
  KERNEL_GAUGES,
  kernelMetrics,
  planeReport,
} from '../../serve/kernel-plane.ts';
import { boundAddress } from '../../serve/own-address.ts';
import { untilOver } from '../../serve/run-time.ts';
import { ServeJournal } from './journal.ts';
import { printJson } from '../../cli/json-output.ts';

interface ServeOptions extends CommonOptions {
  address: string;
  publicAddress?: string;
  ports: number[];
  relayPort: number;
  relay: boolean;
  dataPlane: DataPlaneMode;
  secrets?: string;
  clientsNeedSecret?: boolean;
  prefix?: string[];
  metricsPort?: number;
  /** Seconds. */
  for?: number;
}

/** Runs the servers until Ctrl-C or until the time limit. */
export async function serve(runtime: Runtime, options: ServeOptions): Promise<void> {
  const { io, network, clock, random, log } = runtime;
  const components = { network, clock, random, log };
  const { address: asked, publicAddress = asked } = options;
  if (options.relay && isUnspecified(publicAddress)) {
    throw new UsageError('Clients need the address of the relay. Next: add --public-address, or --no-relay.');
  }
  if (options.clientsNeedSecret && options.secrets === undefined) {
    throw new UsageError('--clients-need-secret needs --secrets FILE with the secrets of the devices.');
  }
  const secrets = options.secrets === undefined ? undefined : readSecrets(options.secrets);
  await using stack = new AsyncDisposableStack();
  const address = await boundAddress(network, { address: asked, publicAddress });
  const kernelAddress = options.relay ? await arrivalAddress(network, { address, publicAddress }) : undefined;
  const chosen = options.relay
    ? await choosePlane(components, options.dataPlane, {
        addresses: [kernelAddress ?? address],
        ...relayPlaneOptions(),
      })
    : undefined;
  if (chosen?.plane !== undefined) stack.use(chosen.plane);
  const relay = options.relay
    ? stack.use(await RelayServer.listen({ ...components, plane: chosen?.plane }, { address, port: options.relayPort }))
    : undefined;
  const relays = relay ? [{ address: publicAddress, port: relay.endpoint.port }] : [];
  const rendezvous = stack.use(
    await RendezvousServer.listen(components, {
      address,
      ports: options.ports,
      relays,
      ...(secrets === undefined ? {} : { deviceSecret: (uid) => secrets.get(uid) }),
      ...(options.clientsNeedSecret === undefined ? {} : { clientsNeedSecret: options.clientsNeedSecret }),
      ...(options.prefix === undefined ? {} : { prefixes: options.prefix }),
    }),
  );
  if (address !== asked && !options.json) {
    io.out(`address    ${address} only: this host sends from another one by itself, and answers must leave from this.`);
  }
  const journal = new ServeJournal(runtime, options);
  journal.followRendezvous(rendezvous);
  if (relay) journal.followRelay(relay);
  announce(runtime, options, 'rendezvous', rendezvous.endpoints);
  if (relay) announce(runtime, options, 'relay', [relay.endpoint]);
  if (chosen) announcePlane(io, options.json, planeReport(chosen));
  if (options.metricsPort !== undefined) {
    const metrics = stack.use(new MetricsServer());
    metrics.add('towpath_rendezvous', () => ({ ...rendezvous.metrics, tcp: { ...rendezvous.metrics.tcp } }), {
      gauges: GAUGES,
    });
    if (relay) {
      const snapshot = () => {
        const { kernel, tcp, ...counters } = relay.metrics;
        return { ...counters, tcp: { ...tcp }, kernel: kernelMetrics(kernel) };
      };
      metrics.add('towpath_relay', snapshot, { gauges: [...GAUGES, ...KERNEL_GAUGES.map((name) => `kernel_${name}`)] });
    }
    announce(runtime, options, 'metrics', [await metrics.listen({ address: '127.0.0.1', port: options.metricsPort })]);
  }
  await untilOver(runtime, options.for);
  if (!options.json) io.err('Shutting down.');
}

/** Metrics that are states of the moment. */
const GAUGES = ['devices', 'sessions', 'pending_reservations', 'clients', 'sources', 'tcp_connections'];

function announce({ io }: Runtime, { json }: ServeOptions, what: string, endpoints: readonly Endpoint[]): void {
  if (json) printJson(io, 'listening', { what, endpoints });
  else io.out(`${what.padEnd(10)} listens on ${endpoints.map(formatEndpoint).join(', ')}`);
}

const secretsSchema = z.record(z.string(), z.string().min(1).max(20));

function readSecrets(file: string): Map<string, string> {
  const parsed = secretsSchema.safeParse(jsonOf(readSecret(file), file));
  if (!parsed.success)
    throw new UsageError(`${file} does not have the form {"UID": "secret"} with secrets of 1 to 20 characters.`);
  return new Map(Object.entries(parsed.data).map(([uid, secret]) => [parseUid(uid), secret]));
}

function jsonOf(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message could contain a secret.
    throw new UsageError(`${file} is not JSON.`);
  }
}
