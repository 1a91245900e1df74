import { BitWriter } from './h264-bits.ts';
import { writeLevels } from './h264-cavlc.ts';
import { quantizeChroma, quantizeLuma } from './h264-transform.ts';

/** Sample planes at the resolution that the encoder codes: one luma value per 4×4, one chroma value per 8×8 pixels. */
export interface CoarsePicture {
  readonly luma: Uint8Array;
  readonly cb: Uint8Array;
  readonly cr: Uint8Array;
}

export interface H264EncoderOptions {
  /** Picture size in pixels; multiples of 16. */
  readonly width: number;
  readonly height: number;
  readonly framesPerSecond: number;
  /** Quantiser, 0–51: larger is coarser and smaller. */
  readonly qp: number;
}

const NAL_SLICE = 0x41;
const NAL_IDR = 0x65;
const NAL_SPS = 0x67;
const NAL_PPS = 0x68;

/** I_16x16 prediction modes (H.264 table 8-4). */
const PREDICT_VERTICAL = 0;
const PREDICT_HORIZONTAL = 1;
const PREDICT_DC = 2;

/**
 * A small H.264 constrained-baseline encoder. Key frames are I_16x16 macroblocks with DC coefficients only, which codes a
 * picture of a quarter of the size in each direction and leaves the smoothing to the decoder's deblocking filter; other
 * frames skip every macroblock that did not change. Constrained intra prediction keeps intra macroblocks independent of
 * the skipped ones, so no reference picture has to be reconstructed here.
 */
export class H264Encoder {
  readonly #options: H264EncoderOptions;
  readonly #columns: number;
  readonly #rows: number;
  readonly #target: CoarsePicture;
  readonly #decoded: CoarsePicture;
  readonly #coded: Uint8Array;
  readonly #lumaLevels: Int32Array = new Int32Array(16);
  readonly #cbLevels: Int32Array = new Int32Array(4);
  readonly #crLevels: Int32Array = new Int32Array(4);
  readonly #prediction: Int32Array = new Int32Array(16);
  #frameNumber = 0;
  #idrNumber = 0;

  constructor(options: H264EncoderOptions) {
    this.#options = options;
    this.#columns = options.width / 16;
    this.#rows = options.height / 16;
    const macroblocks = this.#columns * this.#rows;
    this.#target = emptyPicture(macroblocks);
    this.#decoded = emptyPicture(macroblocks);
    this.#coded = new Uint8Array(macroblocks);
  }

  /** One access unit in Annex-B form; a key frame carries its parameter sets. The first must be a key frame. */
  encode(picture: CoarsePicture, keyFrame: boolean): Uint8Array {
    const out = new BitWriter();
    this.#frameNumber = keyFrame ? 0 : (this.#frameNumber + 1) & 15;
    this.#writeSliceHeader(out, keyFrame);
    this.#coded.fill(0);
    let skipped = 0;
    for (let at = 0; at < this.#coded.length; at++) {
      if (!keyFrame && !this.#changed(picture, at)) {
        skipped++;
        continue;
      }
      if (!keyFrame) out.ue(skipped);
      skipped = 0;
      this.#writeMacroblock(out, picture, at, keyFrame);
    }
    if (skipped > 0) out.ue(skipped);
    const slice = out.toNalUnit(keyFrame ? NAL_IDR : NAL_SLICE);
    if (!keyFrame) return slice;
    this.#idrNumber = (this.#idrNumber + 1) & 0xff;
    return concat([this.#sequenceParameters(), this.#pictureParameters(), slice]);
  }

  #sequenceParameters(): Uint8Array {
    const out = new BitWriter();
    out.bits(66, 8); // baseline
    out.bits(0xc0, 8); // obeys the constraints of baseline and main
    out.bits(31, 8); // level 3.1: up to 1280×720 at 30 frames per second
    out.ue(0); // seq_parameter_set_id
    out.ue(0); // log2_max_frame_num_minus4
    out.ue(2); // pic_order_cnt_type: output order is decoding order
    out.ue(1); // max_num_ref_frames
    out.bits(0, 1); // no gaps in frame_num
    out.ue(this.#columns - 1);
    out.ue(this.#rows - 1);
    out.bits(0b1101, 4); // frame_mbs_only, direct_8x8_inference, no cropping, VUI follows
    out.bits(0b00001, 5); // of the VUI only the timing
    out.bits(0, 24);
    out.bits(1, 8); // num_units_in_tick = 1
    out.bits(0, 16);
    out.bits(2 * this.#options.framesPerSecond, 16); // time_scale, in fields
    out.bits(0b10000, 5); // fixed frame rate; no HRD, no pic_struct, no restrictions
    return out.toNalUnit(NAL_SPS);
  }

  #pictureParameters(): Uint8Array {
    const out = new BitWriter();
    out.ue(0); // pic_parameter_set_id
    out.ue(0); // seq_parameter_set_id
    out.bits(0, 2); // CAVLC, no field order counts
    out.ue(0); // one slice group
    out.ue(0); // one reference picture
    out.ue(0);
    out.bits(0, 3); // no weighted prediction
    out.se(this.#options.qp - 26);
    out.se(0); // pic_init_qs
    out.se(0); // chroma_qp_index_offset
    out.bits(0b110, 3); // deblocking control present, constrained_intra_pred, no redundant pictures
    return out.toNalUnit(NAL_PPS);
  }

  #writeSliceHeader(out: BitWriter, keyFrame: boolean): void {
    out.ue(0); // first_mb_in_slice
    out.ue(keyFrame ? 7 : 5); // all slices of the picture are I or P
    out.ue(0); // pic_parameter_set_id
    out.bits(this.#frameNumber, 4);
    if (keyFrame) {
      out.ue(this.#idrNumber);
      out.bits(0, 2); // no_output_of_prior_pics, not long-term
    } else out.bits(0, 3); // default reference list, sliding window
    out.se(0); // slice_qp_delta
    out.ue(0); // deblocking on
    out.se(3); // stronger than usual: it hides the 4×4 grid
    out.se(3);
  }

  #changed(picture: CoarsePicture, at: number): boolean {
    const column = at % this.#columns;
    const row = (at - column) / this.#columns;
    return (
      differs(picture.luma, this.#target.luma, this.#columns * 4, column * 4, row * 4, 4) ||
      differs(picture.cb, this.#target.cb, this.#columns * 2, column * 2, row * 2, 2) ||
      differs(picture.cr, this.#target.cr, this.#columns * 2, column * 2, row * 2, 2)
    );
  }

  #writeMacroblock(out: BitWriter, picture: CoarsePicture, at: number, keyFrame: boolean): void {
    const column = at % this.#columns;
    const row = (at - column) / this.#columns;
    const left = column > 0 && this.#coded[at - 1] === 1;
    const above = row > 0 && this.#coded[at - this.#columns] === 1;
    this.#coded[at] = 1;
    const { qp } = this.#options;
    const mode = this.#predictLuma(picture.luma, column, row, left, above);
    quantizeLuma(plane(picture.luma, this.#decoded.luma, this.#target.luma, this.#columns * 4, column * 4, row * 4), {
      prediction: this.#prediction,
      levels: this.#lumaLevels,
      qp,
    });
    let chroma = 0;
    for (const name of ['cb', 'cr'] as const) {
      const levels = name === 'cb' ? this.#cbLevels : this.#crLevels;
      this.#predictChroma(this.#decoded[name], column, row, left, above);
      const samples = plane(
        picture[name],
        this.#decoded[name],
        this.#target[name],
        this.#columns * 2,
        column * 2,
        row * 2,
      );
      if (quantizeChroma(samples, { prediction: this.#prediction, levels, qp })) chroma = 1;
    }
    out.ue((keyFrame ? 0 : 5) + 1 + mode + 4 * chroma); // mb_type I_16x16_mode_chroma_0
    out.ue(0); // intra_chroma_pred_mode: DC
    out.se(0); // mb_qp_delta
    writeLevels(out, this.#lumaLevels);
    if (chroma === 0) return;
    writeLevels(out, this.#cbLevels);
    writeLevels(out, this.#crLevels);
  }

  /** Fills the prediction with that of the best of three modes (§8.3.3) and returns the mode. */
  #predictLuma(target: Uint8Array, column: number, row: number, left: boolean, above: boolean): number {
    const { luma } = this.#decoded;
    const width = this.#columns * 4;
    const from = row * 4 * width + column * 4;
    let sum = 0;
    for (let k = 0; k < 4; k++) {
      if (left) sum += 4 * luma[from - 1 + k * width]!;
      if (above) sum += 4 * luma[from - width + k]!;
    }
    const flat = left && above ? (sum + 16) >> 5 : left || above ? (sum + 8) >> 4 : 128;
    const costs = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
    if (above) costs[PREDICT_VERTICAL] = 0;
    if (left) costs[PREDICT_HORIZONTAL] = 0;
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        const want = target[from + y * width + x]!;
        if (above) costs[PREDICT_VERTICAL]! += Math.abs(want - luma[from - width + x]!);
        if (left) costs[PREDICT_HORIZONTAL]! += Math.abs(want - luma[from + y * width - 1]!);
        costs[PREDICT_DC]! += Math.abs(want - flat);
      }
    }
    const mode = costs.indexOf(Math.min(...costs));
    for (let k = 0; k < 16; k++) {
      const [x, y] = [k & 3, k >> 2];
      const side = mode === PREDICT_VERTICAL ? luma[from - width + x]! : luma[from + y * width - 1]!;
      this.#prediction[k] = mode === PREDICT_DC ? flat : side;
    }
    return mode;
  }

  /** Chroma DC prediction of the four 4×4 blocks (§8.3.4). */
  #predictChroma(decoded: Uint8Array, column: number, row: number, left: boolean, above: boolean): void {
    const width = this.#columns * 2;
    const from = row * 2 * width + column * 2;
    for (let k = 0; k < 4; k++) {
      const [x, y] = [k & 1, k >> 1];
      const side = left ? decoded[from - 1 + y * width]! : -1;
      const top = above ? decoded[from - width + x]! : -1;
      const [first, second] = x === 0 && y === 1 ? [side, top] : [top, side];
      const both = x === y && side >= 0 && top >= 0;
      this.#prediction[k] = both ? (4 * side + 4 * top + 4) >> 3 : first >= 0 ? first : second >= 0 ? second : 128;
    }
  }
}

/** Where one macroblock lies in the three versions of a plane. */
function plane(source: Uint8Array, decoded: Uint8Array, target: Uint8Array, width: number, x: number, y: number) {
  return { source, decoded, target, width, from: y * width + x };
}

function emptyPicture(macroblocks: number): CoarsePicture {
  return {
    luma: new Uint8Array(16 * macroblocks),
    cb: new Uint8Array(4 * macroblocks),
    cr: new Uint8Array(4 * macroblocks),
  };
}

function differs(a: Uint8Array, b: Uint8Array, width: number, x: number, y: number, size: number): boolean {
  for (let row = 0; row < size; row++) {
    for (let at = (y + row) * width + x, end = at + size; at < end; at++) if (a[at] !== b[at]) return true;
  }
  return false;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
