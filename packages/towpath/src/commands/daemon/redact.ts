import { isIP } from 'node:net';
import { isPrivateAddress } from '@towpath/net';

/**
 * Replaces in a text what a bug report must not contain: secrets, invites, and public addresses. The same thing always gets
 * the same name, so that what belongs together can still be seen.
 */
export class Redaction {
  readonly #secrets: readonly string[];
  readonly #names = new Map<string, string>();

  /** @param secrets texts that are known to be secret, such as the API's token */
  constructor(secrets: readonly string[]) {
    this.#secrets = secrets.filter((secret) => secret.length >= 8);
  }

  apply(text: string): string {
    let rest = text;
    for (const secret of this.#secrets) rest = rest.replaceAll(secret, '[secret]');
    return rest
      .replaceAll(/-----BEGIN [^-]+-----[\s\S]*?-----END [^-]+-----/g, '[certificate or key]')
      .replaceAll(/towpath:[^\s"']+/g, '[invite]')
      .replaceAll(
        /((?:token|secret|password|passwd|credential|key|dsk|code)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,}"']+)/gi,
        '$1[secret]',
      )
      .replaceAll(/\b[\w+/-]{40,}={0,2}/g, (word) => this.#name('value', word))
      .replaceAll(/\b[0-9a-f]{32}\b/gi, (word) => this.#name('id', word))
      .replaceAll(/(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])/g, (word) => this.#address(word))
      .replaceAll(/(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])/gi, (word) => this.#address(word));
  }

  #address(word: string): string {
    if (isIP(word) === 0 || isPrivateAddress(word) || /^(127\.|::1?$|fe80:|0\.0\.0\.0$)/i.test(word)) return word;
    return this.#name('address', word);
  }

  #name(kind: string, word: string): string {
    const known = this.#names.get(word) ?? `[${kind} ${this.#names.size + 1}]`;
    this.#names.set(word, known);
    return known;
  }
}
