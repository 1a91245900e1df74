/** Writes the bits of one raw byte sequence payload, most significant bit first (H.264 §7.2, §9.1). */
export class BitWriter {
  #bytes: Uint8Array = new Uint8Array(1024);
  #length = 0;
  #pending = 0;
  #pendingBits = 0;

  /** Writes the low `count` (0–24) bits of `value`. */
  bits(value: number, count: number): void {
    this.#pending = (this.#pending << count) | (value & ((1 << count) - 1));
    this.#pendingBits += count;
    while (this.#pendingBits >= 8) {
      this.#pendingBits -= 8;
      this.#push((this.#pending >>> this.#pendingBits) & 0xff);
    }
    this.#pending &= (1 << this.#pendingBits) - 1;
  }

  /** ue(v): unsigned Exp-Golomb. */
  ue(value: number): void {
    const length = 31 - Math.clz32(value + 1);
    this.bits(0, length);
    this.bits(value + 1, length + 1);
  }

  /** se(v): signed Exp-Golomb. */
  se(value: number): void {
    this.ue(value > 0 ? 2 * value - 1 : -2 * value);
  }

  /** Ends the payload with the stop bit and returns it as an Annex-B unit: start code, header byte, escaped payload. */
  toNalUnit(header: number): Uint8Array {
    this.bits(1, 1);
    if (this.#pendingBits > 0) this.bits(0, 8 - this.#pendingBits);
    const out = new Uint8Array(5 + Math.ceil(this.#length * 1.5));
    out.set([0, 0, 0, 1, header]);
    let at = 5;
    let zeros = 0;
    for (let from = 0; from < this.#length; from++) {
      const byte = this.#bytes[from]!;
      if (zeros === 2 && byte <= 3) {
        out[at++] = 3;
        zeros = 0;
      }
      out[at++] = byte;
      zeros = byte === 0 ? zeros + 1 : 0;
    }
    return out.slice(0, at);
  }

  #push(byte: number): void {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = byte;
  }
}
