/**
 * Says what carries packets between members, and whether this version can: a party alone does not.
 * @param hasUp whether this program has the command `towpath up`.
 */
export function dataPlaneHint(hasUp: boolean): string {
  return hasUp
    ? 'No packets flow between members yet. Next, on each of them: towpath up'
    : 'This version manages the party only: it does not carry packets between members yet.';
}
