import { unseal } from '../artemis/cipher.ts';
import type { PartialTextJson } from './decoded-message.ts';
import type { Fragment } from './fragment-run.ts';

const BLOCK_BYTES = 16;

/**
 * Bytes at the beginning of a later fragment's text that end a block of the fragment before. Each fragment but the last
 * holds 1024 bytes of the frame, 20 of them its header in the first, so that n fragments end after 768·n − 15 bytes
 * of cipher text: 15 bytes short of a block, for every n.
 */
const BROKEN_BLOCK_BYTES = 15;

/**
 * Reads the rest of responses whose first fragments are missing. In CBC a lost block damages only the next one,
 * so the text can be read from the second whole block on. docs/protocol/artemis.md, "Encryption".
 * @param orphans of one stream, in the order of their indices
 */
export function partialTexts(orphans: readonly Fragment[], channel: number): PartialTextJson[] {
  const found: PartialTextJson[] = [];
  let group: Fragment[] = [];
  const endGroup = (): void => {
    const text = textOf(group);
    const last = group[group.length - 1];
    if (text !== undefined && last !== undefined) {
      found.push({
        record: Math.max(...group.map((fragment) => fragment.record)),
        channel,
        index: group[0]!.index,
        full_fragments_before: 1,
        plaintext_tail: text,
      });
    }
    group = [];
  };
  for (const fragment of orphans) {
    const before = group[group.length - 1];
    if (before !== undefined && fragment.index !== ((before.index + 1) & 0xffff)) endGroup();
    group.push(fragment);
    if (fragment.data.includes(0)) endGroup();
  }
  endGroup();
  return found;
}

function textOf(group: readonly Fragment[]): string | undefined {
  const bytes = Buffer.concat(group.map((fragment) => fragment.data));
  const nul = bytes.indexOf(0);
  const base64 = bytes.toString('latin1', 0, nul < 0 ? bytes.length : nul);
  if (base64.length === 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const sealed = Buffer.from(base64, 'base64').subarray(BROKEN_BLOCK_BYTES);
  const whole = sealed.subarray(0, sealed.length - (sealed.length % BLOCK_BYTES));
  if (whole.length <= BLOCK_BYTES) return undefined;
  const plain = unseal(whole).subarray(BLOCK_BYTES);
  const end = plain.indexOf(0);
  const text = plain.toString('utf8', 0, end < 0 ? plain.length : end);
  return isText(text) ? text : undefined;
}

/** A wrong alignment gives noise, which contains control characters or is not UTF-8. */
function isText(text: string): boolean {
  if (text.length === 0) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code === 0x7f || code === 0xfffd) return false;
  }
  return true;
}
