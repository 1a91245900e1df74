import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import type { Random } from '@towpath/core';
import { concatBytes, fromHex, toHex } from '../encoding/bytes.ts';

/** Bytes of a raw Ed25519 or X25519 key, public or private. */
export const KEY_BYTES = 32;
/** Bytes of an Ed25519 signature (RFC 8032 §5.1). */
export const SIGNATURE_BYTES = 64;

// DER prefixes of the 32 raw bytes of a key (RFC 8410).
const ED25519_PUBLIC = fromHex('302a300506032b6570032100', 12)!;
const ED25519_PRIVATE = fromHex('302e020100300506032b657004220420', 16)!;
const X25519_PUBLIC = fromHex('302a300506032b656e032100', 12)!;
const X25519_PRIVATE = fromHex('302e020100300506032b656e04220420', 16)!;

/** An Ed25519 key that can sign. */
export interface SigningKey {
  /** The 32 secret bytes of the key (RFC 8032 §5.1.5). Never log them. */
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** Returns the signing key of `seed` (32 bytes). */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  const key = privateKeyObject(ED25519_PRIVATE, seed);
  return {
    seed: new Uint8Array(seed),
    publicKey: rawPublicKey(key),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

export function generateSigningKey(random: Random): SigningKey {
  return signingKeyFromSeed(random.bytes(KEY_BYTES));
}

/** Returns a key object for many signature checks. */
export function verifyingKey(publicKey: Uint8Array): KeyObject {
  return publicKeyObject(ED25519_PUBLIC, publicKey);
}

/** True when `signature` over `message` was made by the owner of `publicKey`. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, message, verifyingKey(publicKey), signature);
}

/** Checks a signature: synchronously, for simulations, or on other threads. */
export type SignatureVerifier = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>;

/** As {@link verifySignature} on a thread of Node's pool, to use all cores for many checks. */
export function verifySignatureInPool(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(null, message, verifyingKey(publicKey), signature, (error, valid) => {
      if (error) reject(error);
      else resolve(valid);
    });
  });
}

/** An X25519 key pair as WireGuard uses it. */
export interface WireGuardKey {
  /** 32 secret bytes, clamped when used (RFC 7748 §5). Never log them. */
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

export function wireGuardKeyFromPrivate(privateKey: Uint8Array): WireGuardKey {
  return {
    privateKey: new Uint8Array(privateKey),
    publicKey: rawPublicKey(privateKeyObject(X25519_PRIVATE, privateKey)),
  };
}

export function generateWireGuardKey(random: Random): WireGuardKey {
  return wireGuardKeyFromPrivate(random.bytes(KEY_BYTES));
}

/**
 * Returns the shared secret of two WireGuard keys (RFC 7748 §6.1); undefined when `publicKey` is a point of low order.
 */
export function agree(own: WireGuardKey, publicKey: Uint8Array): Uint8Array | undefined {
  try {
    const theirs = publicKeyObject(X25519_PUBLIC, publicKey);
    return new Uint8Array(
      diffieHellman({ privateKey: privateKeyObject(X25519_PRIVATE, own.privateKey), publicKey: theirs }),
    );
  } catch {
    // OpenSSL throws for points that would give an all-zero secret.
    return undefined;
  }
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** Permanent id of a member: 32 hex digits, derived from the node key that it joined with. */
export type PeerId = string;
/** Id of a party: 32 hex digits, derived from its key. */
export type PartyId = string;

/** Bytes of a peer or party id. */
export const ID_BYTES = 16;

const PEER_DOMAIN = new TextEncoder().encode('towpath peer v1\n');
const PARTY_DOMAIN = new TextEncoder().encode('towpath party v1\n');

export function peerIdOf(nodeKey: Uint8Array): PeerId {
  return toHex(sha256(PEER_DOMAIN, nodeKey).subarray(0, ID_BYTES));
}

export function partyIdOf(partyKey: Uint8Array): PartyId {
  return toHex(sha256(PARTY_DOMAIN, partyKey).subarray(0, ID_BYTES));
}

function publicKeyObject(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(concatBytes(prefix, raw)), format: 'der', type: 'spki' });
}

function privateKeyObject(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(concatBytes(prefix, raw)), format: 'der', type: 'pkcs8' });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES));
}
