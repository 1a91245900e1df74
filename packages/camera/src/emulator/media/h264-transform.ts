/** One macroblock of a plane: the wanted values, the decoder's values, and the previous wanted values. */
export interface MacroblockSamples {
  readonly source: Uint8Array;
  readonly decoded: Uint8Array;
  readonly target: Uint8Array;
  readonly width: number;
  readonly from: number;
}

/** Prediction in raster order, where the levels go in scan order, and the luma quantiser. */
export interface QuantizerWork {
  readonly prediction: Int32Array;
  readonly levels: Int32Array;
  readonly qp: number;
}

// Position (0,0) of the standard's multiplication factors: forward (informative) and inverse (§8.5.9), by qp % 6.
const FORWARD = [13107, 11916, 10082, 9362, 8192, 7282];
const INVERSE = [160, 176, 208, 224, 256, 288];

const ZIGZAG = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

// Table 8-15: the chroma quantiser for luma quantisers from 30.
const CHROMA_QP = [29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39];

const scratch = () => new Float64Array(16);

/** Quantises the 16 luma DC values of a macroblock and stores the decoder's result (§8.5.10). */
export function quantizeLuma(samples: MacroblockSamples, { prediction, levels, qp }: QuantizerWork): void {
  const { source, decoded, target, width, from } = samples;
  const work = scratch();
  for (let k = 0; k < 16; k++) {
    const at = from + (k >> 2) * width + (k & 3);
    target[at] = source[at]!;
    work[k] = 16 * (source[at]! - prediction[k]!);
  }
  hadamard4(work);
  const step = 2 ** (16 + Math.floor(qp / 6)) / FORWARD[qp % 6]!;
  for (let k = 0; k < 16; k++) {
    const level = quantize(work[ZIGZAG[k]!]! / 2, step);
    levels[k] = level;
    work[ZIGZAG[k]!] = level;
  }
  hadamard4(work);
  const scale = INVERSE[qp % 6]!;
  const shift = Math.floor(qp / 6);
  for (let k = 0; k < 16; k++) {
    const value = work[k]! * scale;
    const dc = shift >= 6 ? value * 2 ** (shift - 6) : (value + 2 ** (5 - shift)) >> (6 - shift);
    decoded[from + (k >> 2) * width + (k & 3)] = clip(prediction[k]! + ((dc + 32) >> 6));
  }
}

/** The same for the four values of a chroma plane (§8.5.11). False when all levels are zero. */
export function quantizeChroma(samples: MacroblockSamples, { prediction, levels, qp }: QuantizerWork): boolean {
  const { source, decoded, target, width, from } = samples;
  const chromaQp = qp < 30 ? qp : CHROMA_QP[qp - 30]!;
  const work = scratch();
  for (let k = 0; k < 4; k++) {
    const at = from + (k >> 1) * width + (k & 1);
    target[at] = source[at]!;
    work[k] = 16 * (source[at]! - prediction[k]!);
  }
  hadamard2(work);
  const step = 2 ** (16 + Math.floor(chromaQp / 6)) / FORWARD[chromaQp % 6]!;
  let any = false;
  for (let k = 0; k < 4; k++) {
    const level = quantize(work[k]!, step);
    levels[k] = level;
    work[k] = level;
    any ||= level !== 0;
  }
  hadamard2(work);
  for (let k = 0; k < 4; k++) {
    const dc = (work[k]! * INVERSE[chromaQp % 6]! * 2 ** Math.floor(chromaQp / 6)) >> 5;
    decoded[from + (k >> 1) * width + (k & 1)] = clip(prediction[k]! + ((dc + 32) >> 6));
  }
  return any;
}

/** Rounds towards zero by a third of a step, as encoders do for intra blocks. */
function quantize(value: number, step: number): number {
  const level = Math.floor(Math.abs(value) / step + 1 / 3);
  return value < 0 ? -level : level;
}

function hadamard4(m: Float64Array): void {
  for (let pass = 0; pass < 2; pass++) {
    const along = pass === 0 ? 1 : 4;
    const across = pass === 0 ? 4 : 1;
    for (let line = 0; line < 4; line++) {
      const at = line * across;
      const [a, b, c, d] = [m[at]!, m[at + along]!, m[at + 2 * along]!, m[at + 3 * along]!];
      m[at] = a + b + c + d;
      m[at + along] = a + b - c - d;
      m[at + 2 * along] = a - b - c + d;
      m[at + 3 * along] = a - b + c - d;
    }
  }
}

function hadamard2(m: Float64Array): void {
  const [a, b, c, d] = [m[0]!, m[1]!, m[2]!, m[3]!];
  m[0] = a + b + c + d;
  m[1] = a - b + c - d;
  m[2] = a + b - c - d;
  m[3] = a - b - c + d;
}

function clip(value: number): number {
  return Math.max(0, Math.min(255, value));
}
