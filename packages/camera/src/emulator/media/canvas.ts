import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphPixel } from './font.ts';

/** Red, green, blue, 0–255 each. */
export type Colour = readonly [red: number, green: number, blue: number];

/** A point in fractions of the picture's width and height. */
export type Point = readonly [x: number, y: number];

/** A small RGBA picture to draw on. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
  /** Rows from the top, four bytes per pixel. */
  readonly data: Uint8Array;
}

export function createCanvas(width: number, height: number): Canvas {
  return { width, height, data: new Uint8Array(width * height * 4).fill(255) };
}

/** Mixes `a` and `b`; `share` is the part of `b`, 0–1. */
export function mix(a: Colour, b: Colour, share: number): Colour {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}

/** Fills a rectangle given in pixels; parts outside the picture are ignored. */
export function fillRect(canvas: Canvas, x: number, y: number, width: number, height: number, colour: Colour): void {
  const left = Math.max(0, Math.floor(x));
  const right = Math.min(canvas.width, Math.floor(x + width));
  const bottom = Math.min(canvas.height, Math.floor(y + height));
  for (let row = Math.max(0, Math.floor(y)); row < bottom; row++) {
    for (let at = (row * canvas.width + left) * 4, end = (row * canvas.width + right) * 4; at < end; at += 4) {
      canvas.data[at] = colour[0];
      canvas.data[at + 1] = colour[1];
      canvas.data[at + 2] = colour[2];
    }
  }
}

/** Fills an ellipse given in pixels. */
export function fillEllipse(canvas: Canvas, cx: number, cy: number, rx: number, ry: number, colour: Colour): void {
  for (let row = Math.ceil(cy - ry); row <= cy + ry; row++) {
    const reach = rx * Math.sqrt(Math.max(0, 1 - ((row - cy) / ry) ** 2));
    fillRect(canvas, cx - reach, row, 2 * reach, 1, colour);
  }
}

/** Fills a polygon given in pixels (even-odd rule). */
export function fillPolygon(canvas: Canvas, points: readonly Point[], colour: Colour): void {
  const rows = points.map((point) => point[1]);
  for (let row = Math.floor(Math.min(...rows)); row <= Math.max(...rows); row++) {
    const y = row + 0.5;
    const crossings: number[] = [];
    for (let at = 0; at < points.length; at++) {
      const [x1, y1] = points[at]!;
      const [x2, y2] = points[(at + 1) % points.length]!;
      if (y1 <= y !== y2 <= y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
    }
    crossings.sort((a, b) => a - b);
    for (let at = 0; at + 1 < crossings.length; at += 2) {
      fillRect(canvas, Math.round(crossings[at]!), row, Math.round(crossings[at + 1]! - crossings[at]!), 1, colour);
    }
  }
}

/** Draws text with its top left corner at (x, y) pixels; each glyph pixel becomes a square of `scale` pixels. */
export function drawText(canvas: Canvas, x: number, y: number, scale: number, text: string, colour: Colour): void {
  [...text].forEach((character, index) => {
    const left = x + index * (GLYPH_WIDTH + 1) * scale;
    for (let row = 0; row < GLYPH_HEIGHT; row++) {
      for (let column = 0; column < GLYPH_WIDTH; column++) {
        if (!glyphPixel(character, column, row)) continue;
        fillRect(canvas, left + column * scale, y + row * scale, scale, scale, colour);
      }
    }
  });
}

/** Returns the width of {@link drawText} in pixels. */
export function textWidth(text: string, scale: number): number {
  return Math.max(0, [...text].length * (GLYPH_WIDTH + 1) - 1) * scale;
}
