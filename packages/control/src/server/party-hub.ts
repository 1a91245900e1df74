import type { Clock, Timer } from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import type { PresenceEntry, ServerMessage } from '../wire/messages.ts';
import type { Session } from './session.ts';

/** Presence changes are collected for this time, so that a thousand simultaneous joins give few messages. */
const GATHER_MS = 20;

/** Most entries of one message: with announcements of the largest size it stays under 700 KB. */
const MAX_ENTRIES = 120;

interface LocalPresence {
  readonly session: Session;
  announcement: string | undefined;
}

/** What a hub needs from its server. */
export interface HubHost {
  readonly clock: Clock;
  /** Sends to the other servers. */
  publish(party: PartyId, entries: PresenceEntry[], whole: boolean): void;
}

/** The members of one party that are connected here and on other servers. Exists while a member is connected here. */
export class PartyHub {
  readonly party: PartyId;
  readonly #host: HubHost;
  readonly #local = new Map<PeerId, LocalPresence>();
  /** By server. Reported by the servers themselves, removed when one is silent. */
  readonly #remote = new Map<string, Map<PeerId, string | undefined>>();
  readonly #changed = new Set<PeerId>();
  #timer: Timer | undefined;

  constructor(party: PartyId, host: HubHost) {
    this.party = party;
    this.#host = host;
  }

  get empty(): boolean {
    return this.#local.size === 0;
  }

  session(peer: PeerId): Session | undefined {
    return this.#local.get(peer)?.session;
  }

  sessions(): Session[] {
    return [...this.#local.values()].map((each) => each.session);
  }

  /** Returns the server to which `peer` is connected, if it is another one. */
  serverOf(peer: PeerId): string | undefined {
    for (const [server, peers] of this.#remote) if (peers.has(peer)) return server;
    return undefined;
  }

  enter(peer: PeerId, session: Session, announcement: string | undefined): void {
    this.#local.set(peer, { session, announcement });
    this.#announce(peer, announcement);
    for (const text of this.#texts(this.#everybody(), true)) session.sendText(text);
    this.#change(peer);
  }

  update(peer: PeerId, announcement: string): void {
    const local = this.#local.get(peer);
    if (local === undefined) return;
    local.announcement = announcement;
    this.#announce(peer, announcement);
    this.#change(peer);
  }

  leave(peer: PeerId, session: Session): void {
    if (this.#local.get(peer)?.session !== session) return;
    this.#local.delete(peer);
    this.#host.publish(this.party, [{ peer, online: false }], false);
    this.#change(peer);
  }

  /** Takes presence from another server. */
  hear(server: string, entries: readonly PresenceEntry[], whole: boolean): void {
    const known = this.#remote.get(server) ?? new Map<PeerId, string | undefined>();
    this.#remote.set(server, known);
    if (whole) {
      const now = new Set(entries.map((entry) => entry.peer));
      for (const peer of [...known.keys()]) {
        if (now.has(peer)) continue;
        known.delete(peer);
        this.#change(peer);
      }
    }
    for (const { peer, online, announcement } of entries) {
      if (online) known.set(peer, announcement);
      else known.delete(peer);
      this.#change(peer);
    }
  }

  /** Removes the presence of a server that is gone. */
  forget(server: string): void {
    const peers = this.#remote.get(server);
    this.#remote.delete(server);
    for (const peer of peers?.keys() ?? []) this.#change(peer);
  }

  /** Reports to the other servers who is connected here. */
  publishAll(): void {
    const entries = [...this.#local].map(([peer, { announcement }]) => ({ peer, online: true, announcement }));
    this.#host.publish(this.party, entries, true);
  }

  entry(peer: PeerId): PresenceEntry {
    const local = this.#local.get(peer);
    if (local !== undefined) return { peer, online: true, announcement: local.announcement };
    const server = this.serverOf(peer);
    if (server === undefined) return { peer, online: false };
    return { peer, online: true, announcement: this.#remote.get(server)?.get(peer) };
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #announce(peer: PeerId, announcement: string | undefined): void {
    this.#host.publish(this.party, [{ peer, online: true, announcement }], false);
  }

  #change(peer: PeerId): void {
    this.#changed.add(peer);
    this.#timer ??= this.#host.clock.timer(GATHER_MS, () => {
      this.#timer = undefined;
      const entries = [...this.#changed].map((each) => this.entry(each));
      this.#changed.clear();
      for (const text of this.#texts(entries, false)) {
        for (const { session } of this.#local.values()) session.sendText(text);
      }
    });
  }

  #everybody(): PresenceEntry[] {
    const peers = new Set([...this.#local.keys(), ...[...this.#remote.values()].flatMap((each) => [...each.keys()])]);
    return [...peers].map((peer) => this.entry(peer));
  }

  /** Entries as messages of bounded size; only the first replaces what was known. */
  #texts(entries: readonly PresenceEntry[], whole: boolean): string[] {
    const texts: string[] = [];
    for (let at = 0; at === 0 || at < entries.length; at += MAX_ENTRIES) {
      const part = entries.slice(at, at + MAX_ENTRIES);
      const message: ServerMessage = { type: 'presence', party: this.party, whole: whole && at === 0, entries: part };
      texts.push(JSON.stringify(message));
    }
    return texts;
  }
}
