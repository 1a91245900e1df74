/**
 * The 4 or 16 bytes of an address in text form; a zone (`%eth0`) is ignored.
 * Returns undefined when the text is no IP address.
 */
export function addressBytes(text: string): Uint8Array | undefined {
  return text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text);
}

/** The text of 4 or 16 address bytes at `at`; IPv6 in the canonical form of RFC 5952, as Node prints it. */
export function addressText(bytes: Uint8Array, at: number, family: 4 | 6): string {
  if (family === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  return ipv6Text(bytes, at);
}

/** 4 for dotted, 6 for everything with a colon. */
export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

function ipv4Bytes(text: string): Uint8Array | undefined {
  const out = new Uint8Array(4);
  let octet = 0;
  let digits = 0;
  let at = 0;
  for (let index = 0; index <= text.length; index++) {
    const code = index === text.length ? DOT : text.charCodeAt(index);
    if (code === DOT) {
      if (digits === 0 || at > 3) return undefined;
      out[at++] = octet;
      octet = 0;
      digits = 0;
      continue;
    }
    if (code < 0x30 || code > 0x39) return undefined;
    octet = octet * 10 + code - 0x30;
    digits++;
    if (digits > 3 || octet > 255) return undefined;
  }
  return at === 4 ? out : undefined;
}

const DOT = 0x2e;

function ipv6Bytes(text: string): Uint8Array | undefined {
  const zone = text.indexOf('%');
  const plain = zone < 0 ? text : text.slice(0, zone);
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined;
  const out = new Uint8Array(16);
  out.set(head);
  out.set(tail, 16 - tail.length);
  return out;
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const out: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const v4 = index === parts.length - 1 ? ipv4Bytes(part) : undefined;
      if (v4 === undefined) return undefined;
      out.push(...v4);
      continue;
    }
    if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined;
    const value = Number.parseInt(part, 16);
    out.push(value >>> 8, value & 0xff);
  }
  return out.length <= 16 ? out : undefined;
}

function ipv6Text(bytes: Uint8Array, at: number): string {
  const words: number[] = [];
  for (let index = 0; index < 16; index += 2) words.push((bytes[at + index]! << 8) | bytes[at + index + 1]!);
  const { start, length } = longestZeroRun(words);
  const mapped = start === 0 && length === 5 && words[5] === 0xffff;
  const compatible = start === 0 && length === 6;
  if (mapped || compatible) return `::${mapped ? 'ffff:' : ''}${addressText(bytes, at + 12, 4)}`;
  const hex = words.map((word) => word.toString(16));
  if (length < 2) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

function longestZeroRun(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let index = 0; index <= words.length; index++) {
    if (words[index] === 0) continue;
    if (index - start > best.length) best = { start, length: index - start };
    start = index + 1;
  }
  return best;
}
