import { X509Certificate } from 'node:crypto';
import { errorCode, readFailure, readRegularSync, TowpathError } from '@towpath/core';
import { UsageError } from '../cli/failure.ts';

/** A secret, a key or a chain of certificates is far smaller. */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads a file with a secret, without its final newline.
 * @throws UsageError when other users can read it; TowpathError `file-unreadable`. Neither contains the content.
 */
export function readSecret(file: string): string {
  const bytes = readGiven(file, ({ mode }) => {
    if ((mode & 0o077) !== 0) {
      throw new UsageError(`${file} contains a secret and is readable by other users. Next: chmod 600 ${file}`);
    }
  });
  return bytes.toString().replace(/\r?\n$/, '');
}

/** Reads a file that the user has named: a certificate, a key. @throws TowpathError `file-unreadable`. */
export function readText(file: string): string {
  return readGiven(file).toString();
}

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads the certificates of authorities.
 * @throws UsageError for a file without certificates, or with one that cannot be read; as {@link readText}
 */
export function readAuthorities(file: string): string {
  const text = readText(file);
  const found = text.match(CERTIFICATES);
  if (found === null) {
    throw new UsageError(
      `${file} has no certificate in PEM ("-----BEGIN CERTIFICATE-----"). Next: name the file with the certificate of the authority; openssl x509 -inform DER converts one in DER.`,
    );
  }
  for (const [at, certificate] of found.entries()) {
    try {
      new X509Certificate(certificate);
    } catch {
      throw new UsageError(`Certificate ${at + 1} in ${file} is damaged. Next: copy the file again.`);
    }
  }
  return text;
}

/** The bytes of such a file. Throws as {@link readText}, and what `check` throws. */
export function readGiven(file: string, check?: (found: { readonly mode: number }) => void): Buffer {
  try {
    return readRegularSync(file, { maxBytes: MAX_BYTES, next: 'name a file', ...(check && { check }) });
  } catch (cause) {
    if (errorCode(cause) !== 'ENOENT') throw readFailure(file, cause);
    throw new TowpathError('file-unreadable', `${file} does not exist. Next: check the path.`, { target: file, cause });
  }
}
