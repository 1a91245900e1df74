import { type Canvas, fillRect } from './canvas.ts';

/** Cells in a row at the top left: two for the recognition, 32 of the time, 4 of its check sum. */
const TIME_BITS = 32;
const CHECK_BITS = 4;
/** Side of a cell in the coarse picture of live video, whose samples are 4×4 pixels. */
const CELL = 4;
const MODULUS = 2 ** TIME_BITS;

/** Draws a time as black and white cells, from which a program reads how old a picture is. @param epochMs of the machine */
export function drawTimeCode(canvas: Canvas, epochMs: number): void {
  const time = Math.floor(epochMs) % MODULUS;
  const bits = [1, 0, ...bitsOf(time, TIME_BITS), ...bitsOf(checkSum(time), CHECK_BITS)];
  for (const [n, bit] of bits.entries()) {
    fillRect(canvas, n * CELL, 0, CELL, CELL, bit === 1 ? [255, 255, 255] : [0, 0, 0]);
  }
}

function bitsOf(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => Math.floor(value / 2 ** (count - 1 - n)) % 2);
}

function checkSum(time: number): number {
  let sum = 5;
  for (let rest = time; rest > 0; rest = Math.floor(rest / 16)) sum += rest % 16;
  return sum % 16;
}

/**
 * Reads a time from a picture of 1280×720, scaled or not. It refers to nothing outside of itself, so that it can be run in a web
 * page.
 *
 * @param luma returns the brightness at a place, in pixels of 1280×720; 0–255
 * @returns the time modulo 2³², ms; undefined when the picture has none
 */
export function readTimeCode(luma: (x: number, y: number) => number): number | undefined {
  const bit = (n: number) => (luma(n * 16 + 8, 8) > 128 ? 1 : 0);
  if (bit(0) !== 1 || bit(1) !== 0) return undefined;
  let time = 0;
  for (let n = 0; n < 32; n++) time = time * 2 + bit(2 + n);
  let check = 0;
  for (let n = 0; n < 4; n++) check = check * 2 + bit(34 + n);
  let sum = 5;
  for (let rest = time; rest > 0; rest = Math.floor(rest / 16)) sum += rest % 16;
  return sum % 16 === check ? time : undefined;
}
