import { ByteReader, ByteWriter, type LogHead } from '@towpath/membership';

const KIND = 1;
const HASH_BYTES = 32;
const NO_NOTE = new Uint8Array(0);

/**
 * Encodes the end of the party's log for the note of an echo: members compare theirs with each other, so that a server cannot
 * show them different logs for long.
 */
export function encodeHeadNote(head: LogHead | undefined): Uint8Array {
  if (head === undefined || head.hash.length !== HASH_BYTES) return NO_NOTE;
  return new ByteWriter().u8(KIND).u32(head.sequence).raw(head.hash).done();
}

/** Reads the note; undefined when it is none of this kind. Never throws. */
export function decodeHeadNote(note: Uint8Array): LogHead | undefined {
  const reader = new ByteReader(note);
  if (reader.u8() !== KIND) return undefined;
  const sequence = reader.u32();
  const hash = reader.raw(HASH_BYTES);
  return reader.failed || reader.left > 0 ? undefined : { sequence, hash };
}
