import type { PeerId } from '@towpath/membership';

const MAX_LABEL = 63;
const ID_DIGITS = 6;

/** A text as one DNS label (RFC 1123 §2.1); empty when nothing of it can be used. */
export function toLabel(text: string): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_LABEL)
    .replace(/^-+|-+$/g, '');
}

/** Reserved for private networks: a party that is called `com` must not redirect names of the internet. */
export const DEFAULT_DOMAIN = 'internal';

/** What a member's host name follows from. */
export interface NameHolder {
  readonly id: PeerId;
  /** What it calls itself; not unique. */
  readonly name: string;
  /** Its place in the party's log: larger for whoever joined later. */
  readonly joinedAtSequence: number;
}

/**
 * Returns a host name for every member: `alice.home.internal` in the party `home`. Names are what members call
 * themselves and need not be unique: of members with the same label, the one that joined first has it, and the later
 * ones get a part of their id as well (`alice-3f9a2c.home.internal`), so that nobody can take over or change a name by
 * joining under it. When a member leaves, its name is free for the next. The log's order decides, which no member can
 * choose, so the names are the same on every member.
 *
 * @param partyName second label; `party` when nothing of it can be used.
 * @param domain what follows the party's label; with an empty text the name is `alice.home`, which hides names of the
 *   internet when the party's label is a top-level domain.
 */
export function hostNames(
  partyName: string,
  members: readonly NameHolder[],
  domain: string = DEFAULT_DOMAIN,
): Map<PeerId, string> {
  const party = toLabel(partyName) || 'party';
  const zone = domain === '' ? party : `${party}.${domain}`;
  const used = new Set<string>();
  const names = new Map<PeerId, string>();
  for (const { id, name } of [...members].sort((a, b) => a.joinedAtSequence - b.joinedAtSequence)) {
    const label = freeLabel(toLabel(name) || 'peer', id, used);
    used.add(label);
    names.set(id, `${label}.${zone}`);
  }
  return names;
}

/**
 * Returns the member that a configuration means: the one with this id or, of those that call themselves so, the one that joined
 * first, so that nobody gets what another has by joining under its name.
 */
export function memberNamed<Member extends NameHolder>(wanted: string, members: readonly Member[]): Member | undefined {
  const byId = members.find(({ id }) => id === wanted);
  if (byId !== undefined) return byId;
  const named = members.filter(({ name }) => name === wanted);
  return named.sort((a, b) => a.joinedAtSequence - b.joinedAtSequence)[0];
}

/** An earlier member may call itself `alice-3f9a2c`: then more of the id is used, and at last a number. */
function freeLabel(label: string, id: PeerId, used: ReadonlySet<string>): string {
  const wanted = [label, withSuffix(label, id.slice(0, ID_DIGITS)), withSuffix(label, id)];
  const free = wanted.find((each) => !used.has(each));
  if (free !== undefined) return free;
  let number = 2;
  while (used.has(withSuffix(label, `${id}-${number}`))) number++;
  return withSuffix(label, `${id}-${number}`);
}

function withSuffix(label: string, suffix: string): string {
  return `${label.slice(0, MAX_LABEL - suffix.length - 1).replace(/-+$/, '')}-${suffix}`;
}
