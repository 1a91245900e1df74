import type { CapturedEndpoint, CaptureDirection } from './captured-packet.ts';

/** Headers of text recordings: the line before the bytes. One function for each kind of line. */

/** A log line that holds the packet itself: `… hex=f1d0…(+105b)`; the number is how many bytes were left out. */
export function hexField(line: string): { hex: string; leftOut: number } | undefined {
  const match = /\bhex=([0-9a-fA-F]{2,})(?:…|\.\.\.)?(?:\(\+(\d+)\s*b(?:ytes)?\))?/.exec(line);
  return match === null ? undefined : { hex: match[1]!, leftOut: Number(match[2] ?? 0) };
}

/** `to=192.168.43.1:40611`, `from=('192.168.43.1', 40611)`. */
export function peerField(line: string): CapturedEndpoint | undefined {
  const match = /\b(?:to|from)=\(?'?([0-9a-fA-F.:]+?)'?(?:,\s*|:)(\d{1,5})\b/.exec(line);
  return match === null ? undefined : { address: match[1], port: Number(match[2]) };
}

/** Direction of a packet in a log line. Marks of programs have priority over words. */
export function directionIn(line: string): CaptureDirection | undefined {
  if (/📤|\bTX\b/.test(line)) return 'tx';
  if (/📥|\bRX\b/.test(line)) return 'rx';
  if (/\b(?:send(?:to|msg)?|sent|sende|sending)\b|\bto=/i.test(line)) return 'tx';
  if (/\b(?:recv(?:from|msg)?|received?|empfange|receiving)\b|\bfrom=/i.test(line)) return 'rx';
  return undefined;
}

/** `(24 bytes)`, `len=24`: how many bytes a hook says follow. */
export function sizeIn(line: string): number | undefined {
  const match = /\((\d{1,6}) ?bytes?\)|\blen(?:gth)?\s*[=:]?\s*(\d{1,6})\b/i.exec(line);
  return match === null ? undefined : Number(match[1] ?? match[2]);
}

const UUID = /[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}/;

/** `[BLE RX] Notification von UUID: 00000003-…`. */
export function bleHeader(line: string): { direction: CaptureDirection; characteristic: string } | undefined {
  if (!/\b(?:BLE|GATT)\b/i.test(line)) return undefined;
  const uuid = UUID.exec(line);
  const direction = directionIn(line) ?? (/\bwrit/i.test(line) ? 'tx' : /\bnotif/i.test(line) ? 'rx' : undefined);
  return uuid === null || direction === undefined ? undefined : { direction, characteristic: uuid[0].toLowerCase() };
}

/** `Data: 13 57 01 00 …`, the value of a characteristic. */
export function valueField(line: string): string | undefined {
  return /^\s*(?:data|value)\s*[:=]\s*((?:[0-9a-fA-F]{2}[\s:]*)+)$/i.exec(line)?.[1];
}

/** The first line that tcpdump prints of an IP packet; its time was read already. */
export function isTcpdumpHeader(line: string): boolean {
  return /^(?:\d{4}-\d\d-\d\d )?(?:\d\d:\d\d:\d\d|\d{9,10})(?:\.\d+)? .*?\b(?:IP|IP6|IPv4|IPv6)\b/.test(line);
}

/**
 * The summary of a packet: `      11 9.790145       192.168.43.21         192.168.43.1 …` of Wireshark, or of tshark
 * `   11   9.790145 192.168.43.21 → 192.168.43.1 …`.
 */
export function wiresharkSummary(line: string): { seconds: number | undefined } | undefined {
  const match = /^\s*\d+\s+(\S+)\s+\S*[.:]\S*\s+(?:(?:→|->)\s+)?\S*[.:]\S*\s+\S+\s+\d+\s/.exec(line);
  if (match === null) return undefined;
  return { seconds: /^\d+(?:\.\d+)?$/.test(match[1]!) ? Number(match[1]) : undefined };
}

/** `Frame 11: 87 bytes on wire …`, the first line of a packet's details. */
export function isWiresharkFrame(line: string): boolean {
  return /^Frame \d+: /.test(line);
}

/** `[Time since reference or first frame: 0.500000000 seconds]`. */
export function wiresharkTime(line: string): number | undefined {
  const match = /^\s*\[Time since reference or first frame: (\d+\.\d+) seconds\]/.exec(line);
  return match === null ? undefined : Number(match[1]);
}

/** `Internet Protocol Version 4, Src: camera (192.168.43.1), Dst: 192.168.43.21`. */
export function wiresharkAddresses(line: string): { source: string; destination: string } | undefined {
  const match = /^Internet Protocol Version [46], Src: (.+), Dst: (.+)$/.exec(line);
  if (match === null) return undefined;
  const bare = (text: string): string => /\(([0-9a-fA-F.:]+)\)\s*$/.exec(text)?.[1] ?? text.trim();
  return { source: bare(match[1]!), destination: bare(match[2]!) };
}

/** `User Datagram Protocol, Src Port: 56402, Dst Port: 32108`. */
export function wiresharkPorts(line: string): { source: number; destination: number } | undefined {
  const match = /^User Datagram Protocol, Src Port: (?:\S+ \()?(\d+)\)?, Dst Port: (?:\S+ \()?(\d+)\)?/.exec(line);
  return match === null ? undefined : { source: Number(match[1]), destination: Number(match[2]) };
}

/** `Data (53 bytes)`: what follows the UDP header. */
export function wiresharkDataSize(line: string): number | undefined {
  const match = /^Data \((\d+) bytes\)/.exec(line);
  return match === null ? undefined : Number(match[1]);
}
