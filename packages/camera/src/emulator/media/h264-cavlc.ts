import type { BitWriter } from './h264-bits.ts';

/** A variable-length code table: the length of each code word and its bits. */
interface CodeTable {
  readonly lengths: readonly number[];
  readonly bits: readonly number[];
}

// biome-ignore format: laid out as the standard's table 9-5, column 0 <= nC < 2; index 4 * total_coeff + trailing_ones
const COEFF_TOKEN: CodeTable = {
  lengths: [
    1, 0, 0, 0, 6, 2, 0, 0, 8, 6, 3, 0, 9, 8, 7, 5, 10, 9, 8, 6, 11, 10, 9, 7, 13, 11, 10, 8, 13, 13, 11, 9, 13, 13, 13, 10,
    14, 14, 13, 11, 14, 14, 14, 13, 15, 15, 14, 14, 15, 15, 15, 14, 16, 15, 15, 15, 16, 16, 16, 15, 16, 16, 16, 16, 16, 16, 16, 16,
  ],
  bits: [
    1, 0, 0, 0, 5, 1, 0, 0, 7, 4, 1, 0, 7, 6, 5, 3, 7, 6, 5, 3, 7, 6, 5, 4, 15, 6, 5, 4, 11, 14, 5, 4, 8, 10, 13, 4,
    15, 14, 9, 4, 11, 10, 13, 12, 15, 14, 9, 12, 11, 10, 13, 8, 15, 1, 9, 12, 11, 14, 13, 8, 7, 10, 9, 12, 4, 6, 5, 8,
  ],
};

// Table 9-5, column nC = -1.
const CHROMA_COEFF_TOKEN: CodeTable = {
  lengths: [2, 0, 0, 0, 6, 1, 0, 0, 6, 6, 3, 0, 6, 7, 7, 6, 6, 8, 8, 7],
  bits: [1, 0, 0, 0, 7, 1, 0, 0, 4, 6, 1, 0, 3, 3, 2, 5, 2, 3, 2, 0],
};

// Tables 9-7 and 9-8: one row per total_coeff from 1, one column per total_zeros.
const TOTAL_ZEROS: readonly CodeTable[] = [
  { lengths: [1, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9], bits: [1, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 1] },
  { lengths: [3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 6], bits: [7, 6, 5, 4, 3, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0] },
  { lengths: [4, 3, 3, 3, 4, 4, 3, 3, 4, 5, 5, 6, 5, 6], bits: [5, 7, 6, 5, 4, 3, 4, 3, 2, 3, 2, 1, 1, 0] },
  { lengths: [5, 3, 4, 4, 3, 3, 3, 4, 3, 4, 5, 5, 5], bits: [3, 7, 5, 4, 6, 5, 4, 3, 3, 2, 2, 1, 0] },
  { lengths: [4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 4, 5], bits: [5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 1, 0] },
  { lengths: [6, 5, 3, 3, 3, 3, 3, 3, 4, 3, 6], bits: [1, 1, 7, 6, 5, 4, 3, 2, 1, 1, 0] },
  { lengths: [6, 5, 3, 3, 3, 2, 3, 4, 3, 6], bits: [1, 1, 5, 4, 3, 3, 2, 1, 1, 0] },
  { lengths: [6, 4, 5, 3, 2, 2, 3, 3, 6], bits: [1, 1, 1, 3, 3, 2, 2, 1, 0] },
  { lengths: [6, 6, 4, 2, 2, 3, 2, 5], bits: [1, 0, 1, 3, 2, 1, 1, 1] },
  { lengths: [5, 5, 3, 2, 2, 2, 4], bits: [1, 0, 1, 3, 2, 1, 1] },
  { lengths: [4, 4, 3, 3, 1, 3], bits: [0, 1, 1, 2, 1, 3] },
  { lengths: [4, 4, 2, 1, 3], bits: [0, 1, 1, 1, 1] },
  { lengths: [3, 3, 1, 2], bits: [0, 1, 1, 1] },
  { lengths: [2, 2, 1], bits: [0, 1, 1] },
  { lengths: [1, 1], bits: [0, 1] },
];

// Table 9-9 (a).
const CHROMA_TOTAL_ZEROS: readonly CodeTable[] = [
  { lengths: [1, 2, 3, 3], bits: [1, 1, 1, 0] },
  { lengths: [1, 2, 2], bits: [1, 1, 0] },
  { lengths: [1, 1], bits: [1, 0] },
];

// Table 9-10: one row per zeros_left from 1 (the last for more than 6), one column per run_before.
const RUN_BEFORE: readonly CodeTable[] = [
  { lengths: [1, 1], bits: [1, 0] },
  { lengths: [1, 2, 2], bits: [1, 1, 0] },
  { lengths: [2, 2, 2, 2], bits: [3, 2, 1, 0] },
  { lengths: [2, 2, 2, 3, 3], bits: [3, 2, 1, 1, 0] },
  { lengths: [2, 2, 3, 3, 3, 3], bits: [3, 2, 3, 2, 1, 0] },
  { lengths: [2, 3, 3, 3, 3, 3, 3], bits: [3, 0, 1, 3, 2, 5, 4] },
  { lengths: [3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11], bits: [7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1] },
];

/**
 * Writes a block of transform levels in scan order (H.264 §7.3.5.3.2): 16 luma DC levels whose neighbours have no
 * coefficients, or 4 chroma DC levels.
 */
export function writeLevels(out: BitWriter, levels: Int32Array): void {
  const chroma = levels.length === 4;
  let total = 0;
  let last = -1;
  for (let at = 0; at < levels.length; at++) {
    if (levels[at] === 0) continue;
    total++;
    last = at;
  }
  const ones = trailingOnes(levels, last);
  put(out, chroma ? CHROMA_COEFF_TOKEN : COEFF_TOKEN, 4 * total + ones);
  if (total === 0) return;
  let seen = 0;
  let suffixLength = total > 10 && ones < 3 ? 1 : 0;
  for (let at = last; at >= 0; at--) {
    const level = levels[at]!;
    if (level === 0) continue;
    if (seen < ones) out.bits(level < 0 ? 1 : 0, 1);
    else {
      writeLevel(out, level, suffixLength, seen === ones && ones < 3);
      if (suffixLength === 0) suffixLength = 1;
      if (Math.abs(level) > 3 << (suffixLength - 1) && suffixLength < 6) suffixLength++;
    }
    seen++;
  }
  let zeros = last + 1 - total;
  if (total < levels.length) put(out, (chroma ? CHROMA_TOTAL_ZEROS : TOTAL_ZEROS)[total - 1]!, zeros);
  for (let at = last, coded = 0; zeros > 0 && coded < total - 1; coded++) {
    let run = 0;
    for (at--; levels[at] === 0; at--) run++;
    put(out, RUN_BEFORE[Math.min(zeros, 7) - 1]!, run);
    zeros -= run;
  }
}

function trailingOnes(levels: Int32Array, last: number): number {
  let ones = 0;
  for (let at = last; at >= 0 && ones < 3; at--) {
    if (levels[at] === 0) continue;
    if (Math.abs(levels[at]!) !== 1) break;
    ones++;
  }
  return ones;
}

/** One level_prefix and level_suffix (§9.2.2.1); the first level after fewer than three ones cannot be ±1. */
function writeLevel(out: BitWriter, level: number, suffixLength: number, cannotBeOne: boolean): void {
  let code = level > 0 ? 2 * level - 2 : -2 * level - 1;
  if (cannotBeOne) code -= 2;
  const escapeFrom = suffixLength === 0 ? 30 : 15 << suffixLength;
  if (suffixLength === 0 && code < 14) {
    out.bits(1, code + 1);
  } else if (suffixLength === 0 && code < escapeFrom) {
    out.bits(1, 15);
    out.bits(code - 14, 4);
  } else if (suffixLength > 0 && code < escapeFrom) {
    out.bits(1, (code >> suffixLength) + 1);
    out.bits(code, suffixLength);
  } else {
    out.bits(1, 16);
    out.bits(Math.min(code - escapeFrom, 0xfff), 12);
  }
}

function put(out: BitWriter, table: CodeTable, index: number): void {
  out.bits(table.bits[index]!, table.lengths[index]!);
}
