/** Headers of AAC frames in ADTS (ISO/IEC 13818-7, 6.2). */

/** Sampling frequencies by index (ISO/IEC 14496-3 table 1.18), Hz. */
const FREQUENCIES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];

/** What the family sends: 16 kHz, mono. */
const USUAL = { sampleRate: 16_000, channels: 1, frequencyIndex: 8, headerBytes: 0 };

export interface AdtsFormat {
  /** Hz */
  readonly sampleRate: number;
  readonly channels: number;
  /** Index of the rate, as an AudioSpecificConfig has it. */
  readonly frequencyIndex: number;
  /** Length of the header; 0 when the frame has none. */
  readonly headerBytes: number;
}

/** Reads rate and channels of a frame; the camera's usual ones when it has no header. */
export function adtsFormat(frame: Uint8Array): AdtsFormat {
  const [first = 0, second = 0, third = 0, fourth = 0] = frame;
  if (first !== 0xff || (second & 0xf6) !== 0xf0 || frame.length < 7) return USUAL;
  const frequencyIndex = (third >> 2) & 15;
  const sampleRate = FREQUENCIES[frequencyIndex];
  if (sampleRate === undefined) return USUAL;
  const channels = ((third & 1) << 2) | (fourth >> 6) || USUAL.channels;
  return { sampleRate, channels, frequencyIndex, headerBytes: (second & 1) === 1 ? 7 : 9 };
}
