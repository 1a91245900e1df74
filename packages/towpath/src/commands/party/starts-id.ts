/** True when `text` is the beginning of an id and has enough characters. */
export function startsId(id: string, text: string): boolean {
  return /^[0-9a-f]{4,32}$/i.test(text) && id.startsWith(text.toLowerCase());
}
