import { hostname } from 'node:os';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { readGiven } from '../../config/secret-file.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor, warnOfSameName } from './party-node.ts';
import { jsonLine } from '../../cli/json-output.ts';

const KEY_FILE_BYTES = 32;

/** Makes this node the founder of the party whose key is in `file`. */
export async function recover(runtime: Runtime, file: string, options: ServerOptions & { as?: string }): Promise<void> {
  const { io, signal } = runtime;
  const secret = readKey(file);
  const servers = serversFor(runtime, options);
  const home = homeOf(runtime);
  await using node = await PartyNode.open(runtime, servers);
  const { id, name, self } = await node.client.recoverParty(secret, { memberName: options.as ?? hostname(), signal });
  home.rememberParty({ id, name, servers });
  warnOfSameName(runtime, { id, name });
  const told = { party: { id, name }, member: { id: self.id, name: self.name } };
  io.out(options.json ? jsonLine('recovered', told) : `This node is now the founder of ${name}, as ${self.name}.`);
  if (!options.json) io.out('Next: towpath party members, and towpath party remove for whoever does not belong there.');
}

function readKey(file: string): Uint8Array {
  const key = new Uint8Array(readGiven(file));
  if (key.length === KEY_FILE_BYTES) return key;
  throw new UsageError(
    `${file} is not the key file of a party. Next: name the file that towpath party create has printed.`,
  );
}
