import type { Log } from '@towpath/core';
import type { PeerView } from '../control-plane.ts';
import { equalBytes, fromBase64 } from '../encoding/bytes.ts';
import type { PartyId, PeerId, SignatureVerifier } from '../identity/keys.ts';
import { openAnnouncement } from '../membership/announcement.ts';
import type { LogHead, Member } from '../membership/party-state.ts';
import type { PresenceEntry } from '../wire/messages.ts';

interface Presence {
  online: boolean;
  /** As the server gave it last, so that it is verified once. */
  text: string | undefined;
  announcement: { timeMs: number; data: Uint8Array; bytes: Uint8Array } | undefined;
}

/** Entries kept about nodes that are no members yet: the statement that makes them members may be on its way. */
const MAX_STRANGERS = 1_000;

/** What is known of the other members besides the log: who is there, and what they announced. */
export class PeerBook {
  readonly #party: PartyId;
  readonly #verify: SignatureVerifier;
  readonly #log: Log;
  readonly #known = new Map<PeerId, Presence>();
  readonly #strangers = new Map<PeerId, PresenceEntry>();

  constructor(party: PartyId, components: { verify: SignatureVerifier; log: Log }) {
    this.#party = party;
    this.#verify = components.verify;
    this.#log = components.log;
  }

  /** Those who are said to be online. */
  online(): PeerId[] {
    return [...this.#known].flatMap(([peer, presence]) => (presence.online ? peer : []));
  }

  /** The announcements as they were signed. */
  announcements(): Map<PeerId, Uint8Array> {
    const all = new Map<PeerId, Uint8Array>();
    for (const [peer, { announcement }] of this.#known) if (announcement) all.set(peer, announcement.bytes);
    return all;
  }

  /** Forgets everybody who is no member any more. @returns entries that came before their member did. */
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
   * Takes in what the server says of a member.
   * @returns whether anything changed for people, and the head that a new announcement of the member names.
   */
  async hear(member: Member, entry: PresenceEntry): Promise<{ changed: boolean; head: LogHead | undefined }> {
    const presence = this.#known.get(member.id) ?? { online: false, text: undefined, announcement: undefined };
    this.#known.set(member.id, presence);
    const came = presence.online !== entry.online;
    presence.online = entry.online;
    if (entry.announcement === undefined || entry.announcement === presence.text)
      return { changed: came, head: undefined };
    const before = presence.announcement?.data ?? new Uint8Array(0);
    const head = await this.#hearAnnouncement(member, presence, entry.announcement);
    const news = head !== undefined && !equalBytes(before, presence.announcement?.data ?? new Uint8Array(0));
    return { changed: came || news, head };
  }

  view(member: Member, connected: boolean): PeerView {
    const presence = this.#known.get(member.id);
    const data = presence?.announcement?.data;
    return {
      ...member,
      online: connected && presence?.online === true,
      announcement: data === undefined || data.length === 0 ? undefined : data,
    };
  }

  async #hearAnnouncement(member: Member, presence: Presence, text: string): Promise<LogHead | undefined> {
    presence.text = text;
    const bytes = fromBase64(text);
    const announcement = bytes && (await openAnnouncement(bytes, { party: this.#party, member }, this.#verify));
    if (bytes === undefined || announcement === undefined) {
      this.#log.warn('an announcement is not by the member it is said to be by', {
        party: this.#party,
        peer: member.id,
      });
      return undefined;
    }
    const { timeMs, data, head } = announcement;
    // An old announcement, shown again: its candidates are stale.
    if (presence.announcement !== undefined && timeMs <= presence.announcement.timeMs) return undefined;
    presence.announcement = { timeMs, data, bytes };
    return head;
  }
}
