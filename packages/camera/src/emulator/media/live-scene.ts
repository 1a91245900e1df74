import { ANIMAL_NAMES, drawAnimal } from './animals.ts';
import { type Canvas, createCanvas, drawText, fillRect, textWidth } from './canvas.ts';
import { type CoarsePicture, H264Encoder } from './h264-encoder.ts';
import { animalColour, paintScene } from './scene.ts';
import { drawTimeCode } from './time-code.ts';

/** Size of the pictures in a live stream, in pixels. */
export const LIVE_WIDTH = 1280;
export const LIVE_HEIGHT = 720;
/** Frames per second of a live stream and of a recording. */
export const FRAMES_PER_SECOND = 15;
/** Distance of key frames in frames: two seconds. */
const KEY_FRAME_INTERVAL = 2 * FRAMES_PER_SECOND;

// The encoder codes one sample per 4×4 pixels, so the scene is painted at that size.
const WIDTH = LIVE_WIDTH / 4;
const HEIGHT = LIVE_HEIGHT / 4;
const BAR_HEIGHT = 13;
const QP = 21;

/** One picture of a stream. */
export interface VideoFrame {
  /** Annex-B access unit. */
  readonly data: Uint8Array;
  readonly keyFrame: boolean;
}

/** The scene of live video: a forest edge, an animal that walks to and fro, and a running clock. */
export class LiveScene {
  readonly #seed: number;
  readonly #hour: number;
  readonly #background: Canvas;
  readonly #canvas: Canvas = createCanvas(WIDTH, HEIGHT);
  readonly #picture: CoarsePicture = {
    luma: new Uint8Array(WIDTH * HEIGHT),
    cb: new Uint8Array((WIDTH * HEIGHT) / 4),
    cr: new Uint8Array((WIDTH * HEIGHT) / 4),
  };
  readonly #encoder: H264Encoder;
  #count = 0;

  /** `clockSeconds` is the camera's clock at the start; it decides between daylight and infrared. */
  constructor(seed: number, title: string, clockSeconds: number) {
    this.#seed = seed;
    this.#hour = new Date(clockSeconds * 1000).getUTCHours();
    this.#background = createCanvas(WIDTH, HEIGHT);
    paintScene(this.#background, { seed, title, caption: [title, ''], hour: this.#hour, noise: 3, empty: true });
    this.#encoder = new H264Encoder({
      width: LIVE_WIDTH,
      height: LIVE_HEIGHT,
      framesPerSecond: FRAMES_PER_SECOND,
      qp: QP,
    });
  }

  /** Returns the next frame; the first and then every 30th is a key frame. @param timeCodeMs is drawn as a time code */
  next(clockSeconds: number, timeCodeMs?: number): VideoFrame {
    const keyFrame = this.#count % KEY_FRAME_INTERVAL === 0;
    this.#paint(clockSeconds);
    if (timeCodeMs !== undefined) drawTimeCode(this.#canvas, timeCodeMs);
    this.#count++;
    toCoarse(this.#canvas, this.#picture);
    return { data: this.#encoder.encode(this.#picture, keyFrame), keyFrame };
  }

  #paint(clockSeconds: number): void {
    this.#canvas.data.set(this.#background.data);
    const size = 78;
    const way = WIDTH - size;
    const at = (this.#count * 1.5) % (2 * way);
    const name = ANIMAL_NAMES[this.#seed % ANIMAL_NAMES.length]!;
    const hop = Math.abs(Math.sin(this.#count / 4)) * 3;
    const x = at < way ? at : 2 * way - at;
    drawAnimal(this.#canvas, name, x, HEIGHT - BAR_HEIGHT - 6 - hop, size, at >= way, animalColour(this.#hour));
    const text = new Date(clockSeconds * 1000).toISOString().slice(11, 19);
    fillRect(this.#canvas, WIDTH / 2, HEIGHT - BAR_HEIGHT, WIDTH / 2, BAR_HEIGHT, [12, 12, 12]);
    drawText(this.#canvas, WIDTH - 8 - textWidth(text, 1), HEIGHT - BAR_HEIGHT + 3, 1, text, [255, 255, 255]);
  }
}

/** RGB to studio-range BT.601, chroma averaged over 2×2. */
function toCoarse(canvas: Canvas, picture: CoarsePicture): void {
  const { width, height, data } = canvas;
  for (let row = 0; row < height; row += 2) {
    for (let column = 0; column < width; column += 2) {
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let k = 0; k < 4; k++) {
        const pixel = (row + (k >> 1)) * width + column + (k & 1);
        const [r, g, b] = [data[4 * pixel]!, data[4 * pixel + 1]!, data[4 * pixel + 2]!];
        picture.luma[pixel] = 16.5 + 0.257 * r + 0.504 * g + 0.098 * b;
        red += r;
        green += g;
        blue += b;
      }
      const at = (row / 2) * (width / 2) + column / 2;
      picture.cb[at] = 128.5 + (-0.148 * red - 0.291 * green + 0.439 * blue) / 4;
      picture.cr[at] = 128.5 + (0.439 * red - 0.368 * green - 0.071 * blue) / 4;
    }
  }
}
