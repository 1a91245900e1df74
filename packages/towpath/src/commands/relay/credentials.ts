import { timeLimitedCredentials } from '@towpath/stun/server';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readSecrets } from './secrets.ts';
import { printJson } from '../../cli/json-output.ts';

interface CredentialsOptions extends CommonOptions {
  secretFile: string;
  /** Seconds. */
  lifetime: number;
}

/** Prints a user name and a password that a relay with the same secret accepts for a while. */
export function credentials({ io, clock }: Runtime, user: string, options: CredentialsOptions): void {
  // The scheme's user name is `expiry:user`.
  if (!/^[^\s:]{1,100}$/.test(user))
    throw new UsageError('The user name must have 1 to 100 characters, without spaces and colons.');
  const [secret = ''] = readSecrets(options.secretFile);
  const { username, password, expiresAtMs } = timeLimitedCredentials(
    secret,
    user,
    options.lifetime * 1_000,
    clock.wallTime(),
  );
  const expires = new Date(expiresAtMs).toISOString();
  if (options.json) {
    printJson(io, 'credentials', { username, password, expires });
    return;
  }
  io.out(`user name  ${username}`);
  io.out(`password   ${password}`);
  io.out(`expires    ${expires}`);
}
