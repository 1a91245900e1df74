import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import type { Random } from '@towpath/core';
import { readPrivateFile, writePrivateFile } from '../../config/private-file.ts';

const TOKEN_BYTES = 32;
const TOKEN_FORM = /^[\w-]{43}$/;
const SESSION_CONTEXT = 'towpath page session v1';

/** The secret of the page and of programs on this machine: whoever has it can do everything that the API can. */
export class ApiToken {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Reads the token, and creates it when there is none or it is damaged. @throws TowpathError `disk-failed`. */
  static load(stateFolder: string, random: Random): ApiToken {
    const path = tokenPath(stateFolder);
    const saved = readPrivateFile(path)?.trim();
    if (saved !== undefined && TOKEN_FORM.test(saved)) return new ApiToken(saved);
    const text = Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url');
    writePrivateFile(path, `${text}\n`);
    return new ApiToken(text);
  }

  /** What the page's cookie holds: it proves that the token was shown, and does not contain it. */
  get session(): string {
    return createHmac('sha256', this.text).update(SESSION_CONTEXT).digest('hex');
  }

  isToken(text: string): boolean {
    return equal(text, this.text);
  }

  isSession(text: string): boolean {
    return equal(text, this.session);
  }
}

export function tokenPath(stateFolder: string): string {
  return join(stateFolder, 'api-token');
}

/** Takes the same time wherever the texts differ, and whatever their lengths. */
function equal(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
