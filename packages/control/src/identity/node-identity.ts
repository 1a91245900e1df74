import type { Random } from '@towpath/core';
import { z } from 'zod';
import { ControlError } from '../control-error.ts';
import {
  fromBase64,
  generateSigningKey,
  generateWireGuardKey,
  KEY_BYTES,
  type PeerId,
  peerIdOf,
  type SigningKey,
  signingKeyFromSeed,
  toBase64,
  type WireGuardKey,
  wireGuardKeyFromPrivate,
} from '@towpath/membership';
import { readSecretFile, writeSecretFile } from './secret-file.ts';

/** A node's keys: the signing key and the WireGuard key. Both are secret. */
export interface NodeIdentity {
  readonly signing: SigningKey;
  readonly wireGuard: WireGuardKey;
  /** Its id in parties that it joins with this key. */
  readonly id: PeerId;
}

/** Generates a node identity. @param random must be unpredictable: `SystemRandom`. */
export function generateNodeIdentity(random: Random): NodeIdentity {
  return identityOf(generateSigningKey(random), generateWireGuardKey(random));
}

const fileSchema = z.strictObject({ version: z.literal(1), signingSeed: z.string(), wireGuardPrivateKey: z.string() });

/**
 * Reads the identity from a file; creates one, with mode 0600, when there is no such file.
 * @throws ControlError `invalid-identity` when the file is damaged or open to others.
 */
export async function loadNodeIdentity(path: string, random: Random): Promise<NodeIdentity> {
  const content = await readSecretFile(path);
  if (content === undefined) {
    const identity = generateNodeIdentity(random);
    await saveNodeIdentity(path, identity);
    return identity;
  }
  const file = fileSchema.safeParse(parseJson(content));
  const seed = file.success ? fromBase64(file.data.signingSeed, KEY_BYTES) : undefined;
  const privateKey = file.success ? fromBase64(file.data.wireGuardPrivateKey, KEY_BYTES) : undefined;
  if (seed === undefined || privateKey === undefined) {
    throw new ControlError(
      'invalid-identity',
      `${path} is not a node identity. Next: restore it from a backup, or move it away to create a new node.`,
    );
  }
  return identityOf(signingKeyFromSeed(seed), wireGuardKeyFromPrivate(privateKey));
}

/** Stores an identity with mode 0600. */
export async function saveNodeIdentity(path: string, identity: NodeIdentity): Promise<void> {
  const file: z.infer<typeof fileSchema> = {
    version: 1,
    signingSeed: toBase64(identity.signing.seed),
    wireGuardPrivateKey: toBase64(identity.wireGuard.privateKey),
  };
  await writeSecretFile(path, `${JSON.stringify(file)}\n`);
}

function identityOf(signing: SigningKey, wireGuard: WireGuardKey): NodeIdentity {
  return { signing, wireGuard, id: peerIdOf(signing.publicKey) };
}

function parseJson(content: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(content));
  } catch {
    // Reported by the caller.
    return undefined;
  }
}
