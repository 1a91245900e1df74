import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { TowpathError } from '@towpath/core';
import { UsageError } from '../cli/failure.ts';
import { readSecret, readText } from './secret-file.ts';

/** The certificate chain and private key of a server, in PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads the certificate of a server and its key. What is found wrong with them later is told as a failed handshake.
 * @param nowMs wall time
 * @param warn told of a certificate that clients refuse because of its dates
 * @throws UsageError when one of the two is not given; TowpathError `file-unreadable` for what is neither, for a key that is
 * encrypted or of another certificate: no wrong command line, as the files may just be replaced; as `readSecret`
 */
export function readTlsFiles(
  { tlsCert, tlsKey }: { tlsCert?: string | undefined; tlsKey?: string | undefined },
  nowMs: number,
  warn: (text: string) => void,
): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new UsageError('TLS needs both --tls-cert and --tls-key.');
  const files = { cert: readText(tlsCert), key: readSecret(tlsKey) };
  const certificate = certificateOf(tlsCert, files.cert);
  if (!certificate.checkPrivateKey(keyOf(tlsKey, files.key))) {
    throw unusable(
      tlsKey,
      `${tlsKey} is not the key of the first certificate in ${tlsCert}. Next: name the two that were made together, the certificate of this server first.`,
    );
  }
  const { validFrom, validTo } = certificate;
  if (nowMs > Date.parse(validTo)) {
    warn(
      `The certificate in ${tlsCert} is valid until ${validTo}: clients refuse it. Next: renew it, and start again.`,
    );
  } else if (nowMs < Date.parse(validFrom)) {
    warn(
      `The certificate in ${tlsCert} is valid from ${validFrom}: clients refuse it until then. Next: check the clock of this machine.`,
    );
  }
  return files;
}

function certificateOf(file: string, text: string): X509Certificate {
  try {
    if (text.includes('-----BEGIN CERTIFICATE-----')) return new X509Certificate(text);
  } catch {
    throw unusable(file, `The certificate in ${file} is damaged. Next: copy the file again.`);
  }
  throw unusable(
    file,
    `${file} has no certificate in PEM ("-----BEGIN CERTIFICATE-----"). Next: name the file with the certificate chain of this server.`,
  );
}

function keyOf(file: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw unusable(
      file,
      /ENCRYPTED/.test(text)
        ? `The key in ${file} is encrypted. Next: write it without a passphrase, with mode 0600: openssl pkey -in ${file} -out NEW`
        : `${file} has no private key in PEM. Next: name the file with the key of the certificate.`,
    );
  }
}

function unusable(file: string, message: string): TowpathError {
  return new TowpathError('file-unreadable', message, { target: file });
}
