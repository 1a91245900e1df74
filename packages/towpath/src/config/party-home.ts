import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ClientStorage,
  FileStorage,
  loadNodeIdentity,
  type NodeIdentity,
  type SavedParty,
  saveNodeIdentity,
} from '@towpath/control';
import { type PartyId, verifyLog } from '@towpath/membership';
import { errorCode, type Random, readFailure, TowpathError } from '@towpath/core';
import { z } from 'zod';
import { makeFolder } from './make-folder.ts';
import { notWritten, readPrivateFile, writePrivateFile } from './private-file.ts';
import { connectedLockIn } from './process-lock.ts';

/** URLs of control servers, and a certificate authority if it is not one of the system's. */
export interface Servers {
  readonly addresses: readonly string[];
  /** PEM. */
  readonly ca?: string | undefined;
}

/** A party of this node with its servers. */
export interface KnownParty {
  readonly id: PartyId;
  readonly name: string;
  readonly servers: Servers;
  /** Lookup value of the invite code that this node joined with. */
  readonly joinedWith?: string | undefined;
}

const serversSchema = z.object({ addresses: z.array(z.string()).min(1), ca: z.string().optional() });
const rememberedSchema = z.object({ version: z.literal(1), servers: serversSchema });
const networkSchema = z.object({ version: z.literal(1), party: z.string(), here: z.string() });
const partySchema = rememberedSchema.extend({ name: z.string(), joinedWith: z.string().optional() });

/**
 * The files of a node: its keys in `node.json`, the servers that were used last in `servers.json`, and a folder for
 * each party with its log, its servers, and its key if it was created here. Only the owner can read them.
 */
export class PartyHome {
  readonly #folder: string;
  readonly #random: Random;

  constructor(folder: string, random: Random) {
    this.#folder = folder;
    this.#random = random;
  }

  /** Lock of the process that keeps this node connected. */
  get lockPath(): string {
    return connectedLockIn(this.#folder);
  }

  /** The file with the key of a party that was created here. */
  keyPath(id: PartyId): string {
    return join(this.#partyFolder(id), `${id}.key`);
  }

  get servers(): Servers | undefined {
    return read(join(this.#folder, 'servers.json'), rememberedSchema)?.servers;
  }

  rememberServers(servers: Servers): void {
    writePrivateFile(join(this.#folder, 'servers.json'), json({ version: 1, servers }));
  }

  /** The parties that this node is in, by name. @throws TowpathError `file-unreadable`, `damaged-file`. */
  parties(): KnownParty[] {
    const root = join(this.#folder, 'parties');
    const known = filesIn(root).flatMap((id) => {
      // Without a log, this node is no longer a member.
      if (!isThere(join(root, id, `${id}.party`))) return [];
      const party = read(join(root, id, 'party.json'), partySchema);
      if (party === undefined) return [];
      const { name, servers, joinedWith } = party;
      return [{ id, name, servers, joinedWith }];
    });
    return known.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
  }

  rememberParty({ id, name, servers, joinedWith }: KnownParty): void {
    writePrivateFile(join(this.#partyFolder(id), 'party.json'), json({ version: 1, name, servers, joinedWith }));
  }

  /** The network in which this machine sees a party with the network `network`; undefined when that was never decided. */
  networkHere(id: PartyId, network: string): string | undefined {
    const saved = read(this.#networkPath(id), networkSchema);
    return saved?.party === network ? saved.here : undefined;
  }

  rememberNetworkHere(id: PartyId, network: string, here: string): void {
    if (this.networkHere(id, network) === here) return;
    writePrivateFile(this.#networkPath(id), json({ version: 1, party: network, here }));
  }

  /**
   * Returns this node's keys; creates them at the first call.
   * @throws ControlError `invalid-identity`; TowpathError `disk-full`, `disk-failed`
   */
  async identity(): Promise<NodeIdentity> {
    try {
      makeFolder(this.#folder);
    } catch (cause) {
      throw notWritten(this.#folder, cause);
    }
    return loadNodeIdentity(this.#identityPath, this.#random);
  }

  /** Returns the keys of this node in one party; during a rotation some parties have the next keys already. */
  async identityIn(id: PartyId): Promise<NodeIdentity> {
    const [next, [saved]] = [await this.#nextIdentity(), await this.storage([id]).loadAll()];
    if (next === undefined || saved === undefined) return this.identity();
    const { state } = verifyLog(saved.partyKey, saved.statements);
    return state.memberByKey(next.signing.publicKey) === undefined ? this.identity() : next;
  }

  /** Returns the next keys of a rotation; the same ones after an interrupted rotation. */
  beginRotation(): Promise<NodeIdentity> {
    return loadNodeIdentity(this.#nextIdentityPath, this.#random);
  }

  /** Ends a rotation: all parties have the next keys. */
  async endRotation(next: NodeIdentity): Promise<void> {
    await saveNodeIdentity(this.#identityPath, next);
    rmSync(this.#nextIdentityPath, { force: true });
  }

  /** Returns the storage of a client with the parties `ids`. */
  storage(ids: readonly PartyId[]): ClientStorage {
    const at = (id: PartyId) => new FileStorage(this.#partyFolder(id));
    return {
      loadAll: async (): Promise<SavedParty[]> => (await Promise.all(ids.map((id) => at(id).loadAll()))).flat(),
      save: (id, party) => at(id).save(id, party),
      remove: (id) => at(id).remove(id),
      savePartySecret: (id, seed) => at(id).savePartySecret(id, seed),
      loadPartySecret: (id) => at(id).loadPartySecret(id),
      removePartySecret: (id) => at(id).removePartySecret(id),
    };
  }

  #networkPath(id: PartyId): string {
    return join(this.#partyFolder(id), 'network.json');
  }

  get #identityPath(): string {
    return join(this.#folder, 'node.json');
  }

  get #nextIdentityPath(): string {
    return join(this.#folder, 'node-next.json');
  }

  async #nextIdentity(): Promise<NodeIdentity | undefined> {
    return isThere(this.#nextIdentityPath) ? loadNodeIdentity(this.#nextIdentityPath, this.#random) : undefined;
  }

  #partyFolder(id: PartyId): string {
    return join(this.#folder, 'parties', id);
  }
}

/** Names in a folder; none when it does not exist. @throws TowpathError `file-unreadable`. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return [];
    throw readFailure(folder, cause);
  }
}

/** A file that cannot be looked at is not one that is absent. @throws TowpathError `file-unreadable`. */
function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') return false;
    throw readFailure(path, cause);
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function read<T>(path: string, schema: z.ZodType<T>): T | undefined {
  const text = readPrivateFile(path);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new TowpathError('damaged-file', `${path} is damaged. Next: move it away, and add --server again.`, {
    target: path,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Reported by the caller, as any other content that does not fit.
    return undefined;
  }
}
