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

/**
 * Returns a host name for every member: `alice.home.internal` in the party `home`. Names are what members call
 * themselves and need not be unique: members with the same label all get a part of their id as well
 * (`alice-3f9a2c.home.internal`), so that nobody can take over a name by joining under it. The same on every member.
 *
 * @param partyName second label; `party` when nothing of it can be used.
 * @param domain what follows the party's label; with an empty text the name is `alice.home`, which hides names of the
 *   internet when the party's label is a top-level domain.
 */
export function hostNames(
  partyName: string,
  members: readonly { readonly id: PeerId; readonly name: string }[],
  domain: string = DEFAULT_DOMAIN,
): Map<PeerId, string> {
  const party = toLabel(partyName) || 'party';
  const zone = domain === '' ? party : `${party}.${domain}`;
  const labels = members.map(({ id, name }) => ({ id, label: toLabel(name) || 'peer' }));
  const uses = new Map<string, number>();
  for (const { label } of labels) uses.set(label, (uses.get(label) ?? 0) + 1);
  const names = new Map<PeerId, string>();
  for (const { id, label } of labels) {
    const unique = uses.get(label) === 1;
    names.set(id, `${unique ? label : withId(label, id)}.${zone}`);
  }
  return names;
}

function withId(label: string, id: PeerId): string {
  return `${label.slice(0, MAX_LABEL - ID_DIGITS - 1).replace(/-+$/, '')}-${id.slice(0, ID_DIGITS)}`;
}
