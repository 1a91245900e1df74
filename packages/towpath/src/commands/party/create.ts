import { hostname } from 'node:os';
import { errorCode } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { readSecretInput } from '../../cli/secret-input.ts';
import { dataPlaneHint } from './data-plane-hint.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor, warnOfSameName } from './party-node.ts';
import { printJson } from '../../cli/json-output.ts';

interface CreateOptions extends ServerOptions {
  as?: string;
  setupCode?: string;
  hasUp: boolean;
}

/** Creates a party at the servers that are given or saved. */
export async function create(runtime: Runtime, name: string, options: CreateOptions): Promise<void> {
  const { io, signal } = runtime;
  const servers = serversFor(runtime, options);
  const home = homeOf(runtime);
  await using node = await PartyNode.open(runtime, servers);
  const wanted = { name, memberName: options.as ?? hostname(), signal };
  const given = options.setupCode === '-' ? await readSecretInput(runtime, 'Setup code') : options.setupCode;
  const { id, self } = await node.client
    .createParty({ ...wanted, ...(given === undefined ? {} : { setupCode: given }) })
    .catch(async (error: unknown) => {
      if (errorCode(error) !== 'setup-code-required' || given !== undefined || !io.interactive) throw error;
      const setupCode = await readSecretInput(runtime, 'Setup code of the server');
      return node.client.createParty({ ...wanted, setupCode });
    });
  home.rememberParty({ id, name, servers });
  home.rememberServers(servers);
  warnOfSameName(runtime, { id, name });
  const keyFile = home.keyPath(id);
  if (options.json) {
    const { id: member, name: as, virtualAddress } = self;
    const told = { party: { id, name }, member: { id: member, name: as, virtualAddress }, keyFile };
    printJson(io, 'created', { ...told, servers: servers.addresses });
    return;
  }
  io.out(`Party ${name} created. This node is ${self.name}, ${self.virtualAddress}.`);
  io.out(
    `The party key is in ${keyFile}. Keep a copy in a safe place: it is needed to appoint another founder if this machine is lost.`,
  );
  io.out(await dataPlaneHint(runtime, options.hasUp));
  io.out('Next: towpath party invite');
}
