import type { Clock, Log } from '@towpath/core';
import type { PeerView } from '../control-plane.ts';
import {
  dateText,
  equalBytes,
  fromBase64,
  latestAcceptableMs,
  type LogHead,
  type Member,
  foreignAnnouncementVersion,
  openAnnouncement,
  type PartyId,
  type PeerId,
  type SignatureVerifier,
} from '@towpath/membership';
import type { PresenceEntry } from '../wire/messages.ts';

interface Presence {
  online: boolean;
  /** It was shown as offline for want of a connection, and nobody was told otherwise since. */
  shownOffline: boolean;
  /** Unchanged text from the server, so that it is verified once. */
  text: string | undefined;
  announcement: { timeMs: number; data: Uint8Array; bytes: Uint8Array } | undefined;
}

/** Entries kept for nodes that are not members yet: their statement may arrive later. */
const MAX_STRANGERS = 1_000;

/** Presence and announcements of the other members. */
export class PresenceCache {
  readonly #party: PartyId;
  readonly #clock: Clock;
  readonly #verify: SignatureVerifier;
  readonly #log: Log;
  readonly #known = new Map<PeerId, Presence>();
  readonly #strangers = new Map<PeerId, PresenceEntry>();

  constructor(components: { clock: Clock; verify: SignatureVerifier; log: Log }, { party }: { party: PartyId }) {
    this.#party = party;
    this.#clock = components.clock;
    this.#verify = components.verify;
    this.#log = components.log;
  }

  /** Members that are reported online. */
  online(): PeerId[] {
    return [...this.#known].flatMap(([peer, presence]) => (presence.online ? peer : []));
  }

  /** The signed announcements. */
  announcements(): Map<PeerId, Uint8Array> {
    const all = new Map<PeerId, Uint8Array>();
    for (const [peer, { announcement }] of this.#known) if (announcement) all.set(peer, announcement.bytes);
    return all;
  }

  /** Removes nodes that are no longer members. @returns entries that arrived before their member */
  keepOnly(members: ReadonlyMap<PeerId, Member>): PresenceEntry[] {
    for (const peer of [...this.#known.keys()]) if (!members.has(peer)) this.#known.delete(peer);
    const arrived = [...this.#strangers.values()].filter((entry) => members.has(entry.peer));
    for (const { peer } of arrived) this.#strangers.delete(peer);
    return arrived;
  }

  hearOfStranger(entry: PresenceEntry): void {
    if (this.#strangers.size < MAX_STRANGERS) this.#strangers.set(entry.peer, entry);
  }

  /**
   * Takes presence of a member from the server.
   * @param maxAgeMs announcements that are older, or dated far ahead, are ignored
   * @returns whether anything changed for users, and the head in a new announcement
   */
  async hear(
    member: Member,
    entry: PresenceEntry,
    maxAgeMs: number,
  ): Promise<{ changed: boolean; head: LogHead | undefined }> {
    const unknown = { online: false, shownOffline: false, text: undefined, announcement: undefined };
    const presence: Presence = this.#known.get(member.id) ?? unknown;
    this.#known.set(member.id, presence);
    const came = presence.online !== entry.online;
    presence.online = entry.online;
    if (entry.announcement === undefined || entry.announcement === presence.text)
      return { changed: came, head: undefined };
    const before = presence.announcement?.data ?? new Uint8Array(0);
    const head = await this.#hearAnnouncement(member, presence, { text: entry.announcement, maxAgeMs });
    const news = head !== undefined && !equalBytes(before, presence.announcement?.data ?? new Uint8Array(0));
    return { changed: came || news, head };
  }

  /** True, once, when users must be told that a member is online which was shown as offline for want of a connection. */
  takeCorrection({ id }: Member): boolean {
    const presence = this.#known.get(id);
    if (presence === undefined || !presence.shownOffline) return false;
    presence.shownOffline = false;
    return presence.online;
  }

  view(member: Member, connected: boolean): PeerView {
    const presence = this.#known.get(member.id);
    const data = presence?.announcement?.data;
    if (presence?.online && !connected) presence.shownOffline = true;
    return {
      ...member,
      online: connected && presence?.online === true,
      announcement: data === undefined || data.length === 0 ? undefined : data,
    };
  }

  async #hearAnnouncement(
    member: Member,
    presence: Presence,
    { text, maxAgeMs }: { text: string; maxAgeMs: number },
  ): Promise<LogHead | undefined> {
    const bytes = fromBase64(text);
    const announcement = bytes && (await openAnnouncement(bytes, { party: this.#party, member }, this.#verify));
    const about = { party: this.#party, peer: member.id };
    if (bytes === undefined || announcement === undefined) {
      presence.text = text;
      const version = bytes && foreignAnnouncementVersion(bytes);
      // The server may have altered it: nothing else of it is believed, and the one before stays.
      if (version === undefined) this.#log.warn('Announcement ignored: the signature does not match the member', about);
      else this.#log.warn('Announcement ignored: of another version of Towpath', { ...about, version });
      return undefined;
    }
    const { timeMs, data, head } = announcement;
    const now = this.#clock.wallTime();
    if (timeMs > latestAcceptableMs(now)) {
      // Accepted, it would block every later announcement of the member until that date.
      this.#log.warn("Announcement ignored: dated far ahead of this machine's clock", {
        ...about,
        date: dateText(timeMs),
      });
      return undefined;
    }
    if (timeMs < now - maxAgeMs) {
      this.#log.warn('Announcement ignored: too old', { ...about, date: dateText(timeMs) });
      return undefined;
    }
    presence.text = text;
    // A replayed announcement: its candidates are outdated.
    if (presence.announcement !== undefined && timeMs <= presence.announcement.timeMs) return undefined;
    presence.announcement = { timeMs, data, bytes };
    return head;
  }
}
