import { type Canvas, type Colour, fillEllipse, fillPolygon, type Point } from './canvas.ts';

type Shape =
  | { readonly oval: readonly [cx: number, cy: number, rx: number, ry: number] }
  | { readonly area: readonly Point[] };

const leg = (x: number, top: number, width = 0.035): Shape => ({
  area: [
    [x, top],
    [x + width, top],
    [x + width * 0.75, 1],
    [x + width * 0.1, 1],
  ],
});

// Silhouettes in a unit square, standing on its lower edge and looking to the right.
const ANIMALS: Readonly<Record<string, readonly Shape[]>> = {
  DEER: [
    { oval: [0.42, 0.55, 0.24, 0.12] },
    {
      area: [
        [0.55, 0.5],
        [0.72, 0.24],
        [0.8, 0.28],
        [0.66, 0.6],
      ],
    },
    { oval: [0.8, 0.26, 0.08, 0.045] },
    {
      area: [
        [0.18, 0.5],
        [0.13, 0.44],
        [0.15, 0.6],
      ],
    },
    {
      area: [
        [0.75, 0.23],
        [0.7, 0.05],
        [0.72, 0.05],
        [0.77, 0.22],
      ],
    },
    {
      area: [
        [0.71, 0.12],
        [0.62, 0.06],
        [0.63, 0.05],
        [0.72, 0.1],
      ],
    },
    {
      area: [
        [0.78, 0.23],
        [0.84, 0.03],
        [0.86, 0.04],
        [0.8, 0.23],
      ],
    },
    {
      area: [
        [0.82, 0.13],
        [0.92, 0.06],
        [0.92, 0.08],
        [0.82, 0.15],
      ],
    },
    leg(0.22, 0.58),
    leg(0.3, 0.6),
    leg(0.52, 0.6),
    leg(0.6, 0.58),
  ],
  BOAR: [
    { oval: [0.45, 0.6, 0.32, 0.22] },
    { oval: [0.72, 0.62, 0.16, 0.14] },
    {
      area: [
        [0.8, 0.55],
        [0.96, 0.66],
        [0.94, 0.74],
        [0.78, 0.74],
      ],
    },
    {
      area: [
        [0.68, 0.5],
        [0.72, 0.38],
        [0.78, 0.52],
      ],
    },
    {
      area: [
        [0.14, 0.55],
        [0.06, 0.62],
        [0.07, 0.7],
        [0.15, 0.62],
      ],
    },
    leg(0.24, 0.72, 0.07),
    leg(0.36, 0.76, 0.07),
    leg(0.56, 0.76, 0.07),
    leg(0.66, 0.72, 0.07),
  ],
  FOX: [
    { oval: [0.45, 0.66, 0.2, 0.1] },
    { oval: [0.68, 0.56, 0.09, 0.075] },
    {
      area: [
        [0.6, 0.56],
        [0.56, 0.7],
        [0.48, 0.6],
      ],
    },
    {
      area: [
        [0.72, 0.53],
        [0.84, 0.6],
        [0.7, 0.63],
      ],
    },
    {
      area: [
        [0.61, 0.52],
        [0.62, 0.41],
        [0.67, 0.5],
      ],
    },
    {
      area: [
        [0.67, 0.5],
        [0.71, 0.41],
        [0.73, 0.53],
      ],
    },
    {
      area: [
        [0.28, 0.62],
        [0.1, 0.66],
        [0.02, 0.8],
        [0.14, 0.8],
        [0.3, 0.7],
      ],
    },
    leg(0.29, 0.7),
    leg(0.36, 0.72),
    leg(0.53, 0.72),
    leg(0.59, 0.7),
  ],
  HARE: [
    { oval: [0.42, 0.76, 0.2, 0.17] },
    { oval: [0.3, 0.84, 0.14, 0.13] },
    { oval: [0.64, 0.6, 0.1, 0.09] },
    {
      area: [
        [0.5, 0.72],
        [0.58, 0.6],
        [0.68, 0.66],
        [0.58, 0.82],
      ],
    },
    { oval: [0.59, 0.38, 0.028, 0.16] },
    { oval: [0.66, 0.4, 0.028, 0.15] },
    { oval: [0.19, 0.78, 0.05, 0.05] },
    { oval: [0.32, 0.96, 0.16, 0.04] },
    leg(0.52, 0.78, 0.05),
    leg(0.58, 0.78, 0.05),
  ],
  HERON: [
    { oval: [0.42, 0.48, 0.2, 0.09] },
    {
      area: [
        [0.24, 0.46],
        [0.1, 0.58],
        [0.3, 0.56],
      ],
    },
    {
      area: [
        [0.54, 0.5],
        [0.62, 0.3],
        [0.58, 0.16],
        [0.63, 0.15],
        [0.68, 0.3],
        [0.6, 0.54],
      ],
    },
    { oval: [0.62, 0.13, 0.055, 0.035] },
    {
      area: [
        [0.65, 0.11],
        [0.84, 0.14],
        [0.65, 0.16],
      ],
    },
    {
      area: [
        [0.6, 0.12],
        [0.48, 0.15],
        [0.58, 0.14],
      ],
    },
    leg(0.4, 0.55, 0.016),
    leg(0.46, 0.55, 0.016),
  ],
};

/** Names of the animals that {@link drawAnimal} knows. */
export const ANIMAL_NAMES: readonly string[] = Object.keys(ANIMALS);

/** Draws an animal's silhouette into the square of `size` pixels whose lower left corner is (x, y). */
export function drawAnimal(
  canvas: Canvas,
  name: string,
  x: number,
  y: number,
  size: number,
  facingLeft: boolean,
  colour: Colour,
): void {
  const across = (at: number) => x + (facingLeft ? 1 - at : at) * size;
  const down = (at: number) => y + (at - 1) * size;
  for (const shape of ANIMALS[name] ?? []) {
    if ('oval' in shape) {
      const [cx, cy, rx, ry] = shape.oval;
      fillEllipse(canvas, across(cx), down(cy), rx * size, ry * size, colour);
    } else {
      const points = shape.area.map((point): Point => [across(point[0]), down(point[1])]);
      fillPolygon(canvas, points, colour);
    }
  }
}
