import { SeededRandom } from '@towpath/core';
import { ANIMAL_NAMES, drawAnimal } from './animals.ts';
import { type Canvas, type Colour, drawText, fillEllipse, fillPolygon, fillRect, mix, textWidth } from './canvas.ts';

/** What distinguishes pictures. */
export interface SceneOptions {
  /** Determines hills, trees, animal and light. */
  readonly seed: number;
  /** Shown at the top in large letters: `100-0318`. */
  readonly title: string;
  /** Shown in the strip at the bottom, left and right. */
  readonly caption: readonly [left: string, right: string];
  /** Hour of the day, 0–23: daylight or infrared. */
  readonly hour: number;
  /** Strength of the sensor noise, in steps of brightness. */
  readonly noise: number;
  /** Draw no animal (a live picture draws its own). */
  readonly empty?: boolean;
}

interface Light {
  readonly skyTop: Colour;
  readonly skyLow: Colour;
  readonly far: Colour;
  readonly ground: Colour;
  readonly tree: Colour;
  readonly leaf: Colour;
  readonly animal: Colour;
}

const DAY: Light = {
  skyTop: [92, 148, 206],
  skyLow: [222, 232, 236],
  far: [116, 146, 132],
  ground: [112, 128, 62],
  tree: [58, 52, 36],
  leaf: [44, 90, 32],
  animal: [66, 44, 28],
};
const DUSK: Light = {
  skyTop: [66, 70, 124],
  skyLow: [240, 168, 112],
  far: [96, 84, 106],
  ground: [86, 74, 54],
  tree: [40, 30, 36],
  leaf: [30, 62, 40],
  animal: [34, 24, 26],
};
const INFRARED: Light = {
  skyTop: [18, 20, 20],
  skyLow: [50, 54, 52],
  far: [74, 78, 76],
  ground: [128, 132, 130],
  tree: [168, 172, 170],
  leaf: [196, 202, 198],
  animal: [216, 220, 218],
};

function lightAt(hour: number): Light {
  if (hour < 6 || hour >= 21) return INFRARED;
  return hour < 8 || hour >= 19 ? DUSK : DAY;
}

/** Returns the colour of an animal at an hour of the day. */
export function animalColour(hour: number): Colour {
  return lightAt(hour).animal;
}

/** Paints a forest edge with an animal, as a trail camera sees it. The same options give the same pixels. */
export function paintScene(canvas: Canvas, options: SceneOptions): void {
  const random = new SeededRandom(options.seed);
  const light = lightAt(options.hour);
  const { width, height } = canvas;
  const horizon = height * (0.42 + 0.12 * random.next());
  for (let row = 0; row < height; row++) {
    const sky = mix(light.skyTop, light.skyLow, Math.min(1, row / horizon));
    const near = Math.max(0, (row - horizon) / (height - horizon));
    fillRect(
      canvas,
      0,
      row,
      width,
      1,
      row < horizon ? sky : mix(mix(light.far, light.ground, 0.6), light.ground, near),
    );
  }
  fillEllipse(
    canvas,
    width * random.next(),
    horizon * 0.35,
    height * 0.05,
    height * 0.05,
    mix(light.skyLow, [255, 250, 230], 0.7),
  );
  paintHills(canvas, random, horizon, light);
  for (let count = random.integer(5, 9); count > 0; count--) paintTree(canvas, random, horizon, light);
  paintGrass(canvas, random, horizon, light);
  if (!options.empty) {
    const name = ANIMAL_NAMES[options.seed % ANIMAL_NAMES.length]!;
    const size = height * (0.42 + 0.22 * random.next());
    const x = width * (0.08 + 0.45 * random.next());
    drawAnimal(canvas, name, x, height * (0.84 + 0.04 * random.next()), size, random.next() < 0.5, light.animal);
  }
  addNoise(canvas, options.seed, options.noise);
  paintText(canvas, options);
}

function paintHills(canvas: Canvas, random: SeededRandom, horizon: number, light: Light): void {
  const waves = [1, 2, 3, 5].map((cycles) => ({ cycles, phase: random.next() * 7, lift: random.next() / cycles }));
  for (let column = 0; column < canvas.width; column++) {
    const at = column / canvas.width;
    let rise = 0.5;
    for (const { cycles, phase, lift } of waves) rise += 0.5 * lift * Math.sin(cycles * 6.283 * at + phase);
    const top = horizon - Math.max(0, rise) * canvas.height * 0.13;
    fillRect(canvas, column, top, 1, horizon - top + 1, light.far);
  }
}

function paintTree(canvas: Canvas, random: SeededRandom, horizon: number, light: Light): void {
  const { width, height } = canvas;
  const x = random.next() * width;
  const depth = random.next();
  const foot = horizon + (height - horizon) * 0.35 * depth;
  const tall = height * (0.3 + 0.4 * depth);
  const trunk = Math.max(1, width * (0.006 + 0.016 * depth));
  const colour = mix(light.far, light.tree, 0.35 + 0.65 * depth);
  fillRect(canvas, x - trunk / 2, foot - tall, trunk, tall, colour);
  if (random.next() < 0.6) {
    for (let tier = 0; tier < 4; tier++) {
      const top = foot - tall + tall * 0.2 * tier - tall * 0.1;
      const reach = tall * (0.1 + 0.055 * tier);
      fillPolygon(
        canvas,
        [
          [x, top],
          [x - reach, top + tall * 0.3],
          [x + reach, top + tall * 0.3],
        ],
        mix(colour, light.leaf, 0.3),
      );
    }
    return;
  }
  for (let leaf = 0; leaf < 7; leaf++) {
    const cx = x + (random.next() - 0.5) * tall * 0.4;
    const cy = foot - tall * (0.75 + 0.3 * random.next());
    fillEllipse(canvas, cx, cy, tall * 0.12, tall * 0.09, mix(colour, light.leaf, 0.2 + 0.3 * random.next()));
  }
}

function paintGrass(canvas: Canvas, random: SeededRandom, horizon: number, light: Light): void {
  const { width, height } = canvas;
  for (let blade = 0; blade < 900; blade++) {
    const depth = random.next();
    const y = horizon + (height - horizon) * depth;
    const tall = height * (0.006 + 0.03 * depth * random.next());
    const colour = mix(light.ground, random.next() < 0.5 ? light.tree : light.skyLow, 0.25 * random.next());
    fillRect(canvas, random.next() * width, y - tall, Math.max(1, width * 0.0015), tall, colour);
  }
}

function addNoise(canvas: Canvas, seed: number, strength: number): void {
  if (strength === 0) return;
  let state = (seed ^ 0x9e3779b9) | 1;
  const { data } = canvas;
  for (let at = 0; at < data.length; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const grain = (((state & 0xff) + ((state >>> 8) & 0xff)) / 255 - 1) * strength;
    data[at] = clamp(data[at]! + grain);
    data[at + 1] = clamp(data[at + 1]! + grain);
    data[at + 2] = clamp(data[at + 2]! + grain);
  }
}

function clamp(value: number): number {
  return Math.max(0, Math.min(255, value));
}

function paintText(canvas: Canvas, options: SceneOptions): void {
  const { width, height } = canvas;
  const big = Math.max(2, Math.round(height / 90));
  const edge = Math.round(height * 0.04);
  drawText(canvas, edge + big / 2, edge + big / 2, big, options.title, [0, 0, 0]);
  drawText(canvas, edge, edge, big, options.title, [255, 255, 255]);
  const bar = Math.round(height * 0.075);
  fillRect(canvas, 0, height - bar, width, bar, [12, 12, 12]);
  const small = Math.max(1, Math.floor((bar * 0.66) / 7));
  const y = height - bar + Math.floor((bar - 7 * small) / 2);
  const [left, right] = options.caption;
  drawText(canvas, edge, y, small, left, [255, 255, 255]);
  drawText(canvas, width - edge - textWidth(right, small), y, small, right, [255, 255, 255]);
}
