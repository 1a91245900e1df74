import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, readFailure } from '@towpath/core';
import {
  ByteReader,
  ByteWriter,
  KEY_BYTES,
  MAX_ANNOUNCEMENT_BYTES,
  MAX_STATEMENT_BYTES,
  type PartyId,
  type PeerId,
} from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import { readSecretFile, removeSecretFile, writeSecretFile } from '../identity/secret-file.ts';

/** Stored data of a party: enough to connect to its peers while no server can be reached. */
export interface SavedParty {
  readonly partyKey: Uint8Array;
  readonly statements: readonly Uint8Array[];
  /** The last signed announcement of each peer. */
  readonly announcements: ReadonlyMap<PeerId, Uint8Array>;
}

/** Storage of a node's parties. Everything read from it is verified again. */
export interface ClientStorage {
  loadAll(): Promise<SavedParty[]>;
  save(id: PartyId, party: SavedParty): Promise<void>;
  remove(id: PartyId): Promise<void>;
  /** Stores the secret seed of a party that was created here. */
  savePartySecret(id: PartyId, seed: Uint8Array): Promise<void>;
  loadPartySecret(id: PartyId): Promise<Uint8Array | undefined>;
  /** Forgets the secret of a party that was not created after all. */
  removePartySecret(id: PartyId): Promise<void>;
}

/** In memory, for tests and processes that store nothing. */
export class MemoryStorage implements ClientStorage {
  readonly #parties = new Map<PartyId, SavedParty>();
  readonly #secrets = new Map<PartyId, Uint8Array>();

  async loadAll(): Promise<SavedParty[]> {
    return [...this.#parties.values()];
  }

  async save(id: PartyId, party: SavedParty): Promise<void> {
    this.#parties.set(id, { ...party, statements: [...party.statements], announcements: new Map(party.announcements) });
  }

  async remove(id: PartyId): Promise<void> {
    this.#parties.delete(id);
  }

  async savePartySecret(id: PartyId, seed: Uint8Array): Promise<void> {
    this.#secrets.set(id, seed);
  }

  async loadPartySecret(id: PartyId): Promise<Uint8Array | undefined> {
    return this.#secrets.get(id);
  }

  async removePartySecret(id: PartyId): Promise<void> {
    this.#secrets.delete(id);
  }
}

const FILE_VERSION = 1;

/**
 * One file per party, `<id>.party`, and `<id>.key` for the key of a party that was founded here; all mode 0600.
 * The key is needed to appoint another founder: it may be moved to a safe place.
 */
export class FileStorage implements ClientStorage {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws ControlError `invalid-identity` when a file is damaged or open to others; TowpathError `file-unreadable`. */
  async loadAll(): Promise<SavedParty[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw readFailure(this.#folder, error);
    });
    const logs = names.filter((name) => name.endsWith('.party'));
    return Promise.all(logs.map((name) => this.#load(join(this.#folder, name))));
  }

  async save(id: PartyId, party: SavedParty): Promise<void> {
    const out = new ByteWriter().u8(FILE_VERSION).raw(party.partyKey).u32(party.statements.length);
    for (const statement of party.statements) out.u16(statement.length).raw(statement);
    out.u32(party.announcements.size);
    for (const [peer, announcement] of party.announcements)
      out.shortText(peer).u16(announcement.length).raw(announcement);
    await writeSecretFile(join(this.#folder, `${id}.party`), out.done());
  }

  async remove(id: PartyId): Promise<void> {
    await removeSecretFile(join(this.#folder, `${id}.party`));
  }

  async savePartySecret(id: PartyId, seed: Uint8Array): Promise<void> {
    await writeSecretFile(join(this.#folder, `${id}.key`), seed);
  }

  async loadPartySecret(id: PartyId): Promise<Uint8Array | undefined> {
    const seed = await readSecretFile(join(this.#folder, `${id}.key`));
    return seed?.length === KEY_BYTES ? seed : undefined;
  }

  async removePartySecret(id: PartyId): Promise<void> {
    await removeSecretFile(join(this.#folder, `${id}.key`));
  }

  async #load(path: string): Promise<SavedParty> {
    const party = decode((await readSecretFile(path)) ?? new Uint8Array(0));
    if (party !== undefined) return party;
    throw new ControlError('invalid-identity', `${path} is damaged. Next: move it away and join the party again.`);
  }
}

function decode(bytes: Uint8Array): SavedParty | undefined {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== FILE_VERSION) return undefined;
  const partyKey = reader.raw(KEY_BYTES);
  const statements: Uint8Array[] = [];
  for (let left = reader.u32(); left > 0 && !reader.failed; left--) {
    const length = reader.u16();
    if (length > MAX_STATEMENT_BYTES) return undefined;
    statements.push(reader.raw(length));
  }
  const announcements = new Map<PeerId, Uint8Array>();
  for (let left = reader.u32(); left > 0 && !reader.failed; left--) {
    const peer = reader.shortText(64);
    const length = reader.u16();
    if (length > MAX_ANNOUNCEMENT_BYTES) return undefined;
    announcements.set(peer, reader.raw(length));
  }
  return reader.failed || reader.left > 0 ? undefined : { partyKey, statements, announcements };
}
