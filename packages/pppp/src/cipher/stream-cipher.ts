/**
 * The stream cipher of PPPP networks (docs/protocol/pppp.md, "Stream cipher"). It is obfuscation, not security:
 * the keys are public. It covers a whole datagram with its header; every byte depends on the previous ciphertext
 * byte.
 */
export class StreamCipher {
  readonly key: string;
  /** Key stream byte, by the previous ciphertext byte. */
  readonly #mask: Uint8Array = new Uint8Array(256);

  constructor(key: string) {
    this.key = key;
    const k = keySchedule(key);
    for (let p = 0; p < 256; p++) this.#mask[p] = TABLE[(k[p & 3]! + p) & 0xff]!;
  }

  /** Enciphers into `target` (at least as long; may be `clear` itself) and returns it. */
  encipher(clear: Uint8Array, target: Uint8Array = new Uint8Array(clear.length)): Uint8Array {
    let previous = 0;
    for (let i = 0; i < clear.length; i++) {
      previous = clear[i]! ^ this.#mask[previous]!;
      target[i] = previous;
    }
    return target;
  }

  /** Deciphers into `target` (at least as long; may be `cipher` itself) and returns it. */
  decipher(cipher: Uint8Array, target: Uint8Array = new Uint8Array(cipher.length)): Uint8Array {
    let previous = 0;
    for (let i = 0; i < cipher.length; i++) {
      const byte = cipher[i]!;
      target[i] = byte ^ this.#mask[previous]!;
      previous = byte;
    }
    return target;
  }

  /** Returns the clear byte of `cipher` at `at`, without deciphering the rest. */
  peek(cipher: Uint8Array, at: number): number {
    return cipher[at]! ^ this.#mask[at === 0 ? 0 : cipher[at - 1]!]!;
  }
}

function keySchedule(key: string): [number, number, number, number] {
  let sum = 0;
  let thirds = 0;
  let xor = 0;
  for (const byte of new TextEncoder().encode(key)) {
    sum += byte;
    thirds += Math.floor(byte / 3);
    xor ^= byte;
  }
  return [sum & 0xff, -sum & 0xff, thirds & 0xff, xor];
}

/** Table T of docs/protocol/pppp.md, "Stream cipher", published by several independent implementations. */
const TABLE: Uint8Array = Buffer.from(
  '7c9ce84a13dedcb22f2123e4307b3d8cbc0b270c3cf79ae7087196009785efc1' +
    '1fc4dba1c2ebd901faba3b05b81587832872d18b5ad6da9358feaacc6e1bf0a3' +
    '88ab43c00db545384f502266207f075b14981d9ba72ab9a8cbf1fc4947063eb1' +
    '0e043a945eee541134dd4df9ecc7c9e3781a6f706ba4bda95dd5f8e5bb26af42' +
    '37d8e1020aae5f1cc573094e6924906d12b319ad748a2940f52dbea559e0f479' +
    'd24bce8982488425c6912ba2fb8fe9a6b09e3f65f603312eac0f952c5ced39b7' +
    '336c567eb4a0fd7a815351868d9f77ff6a80dfe2bf10d775645776f355cdd0c8' +
    '18e6364162cf99f2324c67606192cad3ea637d16b68ed46835c3529d46441e17',
  'hex',
);
