import { type Frame, FRAME_HEADER_BYTES, type FrameHandlers, FrameStream } from '../artemis/frame.ts';

/** The payload of one DRW. */
export interface Fragment {
  /** As on the wire, 16 bits. */
  readonly index: number;
  readonly record: number;
  readonly data: Uint8Array;
  /** Set when it was reported as an orphan, which happens once. */
  orphan: boolean;
}

export interface RunHandlers {
  onFrame(frame: Frame, first: Fragment, last: Fragment): void;
  onOrphan(fragment: Fragment): void;
  onIncomplete(header: Uint8Array, first: Fragment, last: Fragment, haveBytes: number): void;
}

const MAGIC_BYTES = 7;

/**
 * Consecutive fragments of a channel, and the frames cut from them. Bytes before the first frame
 * (the lead) are kept: they may be the end of a frame whose beginning arrives later.
 */
export class FragmentRun implements FrameHandlers {
  start: number;
  end: number;
  #lead: Fragment[] = [];
  #leadBytes = 0;
  /** Bytes of lead that were prepended; the offsets below do not count them. */
  #base = 0;
  /** The lead is complete: a frame was found, or another run was prepended. */
  #leadOver = false;
  readonly #cutter: FrameStream = new FrameStream(this);
  readonly #handlers: RunHandlers;
  /** Fragments that contain bytes from `#consumed` on, and the offset in the run at which each begins. */
  #recent: Fragment[] = [];
  #starts: number[] = [];
  #pushed = 0;
  #consumed = 0;

  /** @param start index of its first fragment, counted beyond 65,535 */
  constructor(start: number, handlers: RunHandlers) {
    this.start = start;
    this.end = start;
    this.#handlers = handlers;
  }

  /** Fragments kept because they may end a frame that began in a fragment not seen yet. */
  get leadCount(): number {
    return this.#lead.length;
  }

  /** True while a frame has begun and not ended. */
  get open(): boolean {
    return this.#cutter.pendingBytes >= FRAME_HEADER_BYTES;
  }

  /** True when later fragments cannot change the result: there is neither a lead nor a beginning. */
  get settled(): boolean {
    return this.#lead.length === 0 && this.#cutter.pendingBytes === 0;
  }

  /** True when no frame was found in it, so that all of it is lead. */
  get #allLead(): boolean {
    return !this.#leadOver && this.#cutter.pendingBytes < MAGIC_BYTES;
  }

  /** Appends the next fragment. */
  append(fragment: Fragment): void {
    this.end++;
    this.#push(fragment, fragment.data);
  }

  /** Appends a fragment that is a message without a frame header. False while a frame is incomplete. */
  appendWhole(fragment: Fragment): boolean {
    if (this.#cutter.pendingBytes > 0) return false;
    this.end++;
    this.#pushed += fragment.data.length;
    this.#consumed = this.#pushed;
    this.#forget();
    this.#endLead();
    return true;
  }

  /**
   * Appends this run to `earlier`, whose end is its start: the lead may end a frame that began there. Returns the
   * whole.
   */
  joinTo(earlier: FragmentRun): FragmentRun {
    const { length: leadCount } = earlier.#lead;
    const earlierBytes = earlier.#base + earlier.#pushed;
    const allLead = this.#allLead;
    let left = allLead ? this.#base + this.#pushed : this.#leadBytes;
    let resumes = earlier.#allLead && earlier.#cutter.pendingBytes === 0;
    for (let i = 0; i < this.#lead.length && left > 0 && !resumes; i++) {
      const fragment = this.#lead[i]!;
      const bytes = fragment.data.subarray(0, left);
      left -= bytes.length;
      earlier.#push(fragment, bytes);
      // When only this fragment matters for what follows, it was read correctly without the earlier ones.
      resumes = earlier.#allLead && earlier.#cutter.pendingBytes <= bytes.length;
    }
    if (resumes) {
      earlier.#lead.length = leadCount;
      this.#lead = joinLists(earlier.#lead, this.#lead);
      this.#base += earlierBytes;
      this.#leadBytes += earlierBytes;
      this.start = earlier.start;
      return this;
    }
    if (allLead) {
      earlier.end = this.end;
      return earlier;
    }
    if (earlier.#allLead) {
      this.#leadBytes = earlier.#base + earlier.#pushed;
    } else {
      earlier.#abandonFrame();
      this.#leadBytes = earlier.#leadBytes;
    }
    this.#lead = earlier.#lead;
    this.#leadOver = true;
    this.start = earlier.start;
    return this;
  }

  /** Reports the rest: the lead and the beginning of a frame. Nothing may be appended afterwards. */
  settle(): void {
    this.#abandonFrame();
    for (const fragment of this.#lead) this.#orphan(fragment);
    this.#lead = [];
  }

  /** Reports a frame that has begun as incomplete; a rest shorter than a frame header belongs to no frame. */
  #abandonFrame(): void {
    const { pendingBytes } = this.#cutter;
    if (pendingBytes >= FRAME_HEADER_BYTES && this.#recent.length > 0) {
      const header = this.#bytesAt(this.#consumed, FRAME_HEADER_BYTES);
      const last = this.#recent[this.#recent.length - 1]!;
      this.#handlers.onIncomplete(header, this.#recent[0]!, last, pendingBytes - FRAME_HEADER_BYTES);
    } else if (pendingBytes > 0) {
      for (const fragment of this.#recent) this.#orphan(fragment);
    }
    this.#cutter.reset();
    this.#endLead();
  }

  onSkipped(bytes: Uint8Array): void {
    const end = this.#consumed + bytes.length;
    if (this.#leadOver) {
      for (let i = 0; i < this.#recent.length && this.#starts[i]! < end; i++) this.#orphan(this.#recent[i]!);
    } else {
      this.#leadBytes = this.#base + end;
    }
    this.#consumed = end;
    this.#forget();
  }

  onFrame(frame: Frame): void {
    const end = this.#consumed + FRAME_HEADER_BYTES + frame.body.length;
    let last = this.#recent.length - 1;
    while (last > 0 && this.#starts[last]! >= end) last--;
    const first = this.#recent[0];
    const lastFragment = this.#recent[last];
    this.#endLead();
    this.#consumed = end;
    this.#forget();
    if (first !== undefined && lastFragment !== undefined) this.#handlers.onFrame(frame, first, lastFragment);
  }

  #push(fragment: Fragment, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#recent.push(fragment);
    this.#starts.push(this.#pushed);
    this.#pushed += bytes.length;
    if (!this.#leadOver) this.#lead.push(fragment);
    this.#cutter.push(bytes);
  }

  #endLead(): void {
    if (this.#leadOver) return;
    this.#trimLead();
    this.#leadOver = true;
  }

  /** Keeps of the lead only the part before the first frame. */
  #trimLead(): void {
    let count = 0;
    for (let at = 0; count < this.#lead.length && at < this.#leadBytes; count++) at += this.#lead[count]!.data.length;
    this.#lead.length = count;
  }

  /** Drops the fragments that lie before `#consumed`. */
  #forget(): void {
    let count = 0;
    while (count < this.#recent.length && this.#endOf(count) <= this.#consumed) count++;
    if (count === 0) return;
    if (count === this.#recent.length) {
      this.#recent = [];
      this.#starts = [];
      return;
    }
    this.#recent.splice(0, count);
    this.#starts.splice(0, count);
  }

  #endOf(at: number): number {
    return at + 1 < this.#starts.length ? this.#starts[at + 1]! : this.#pushed;
  }

  /** Copies bytes of the run that lie in the recent fragments. */
  #bytesAt(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < this.#recent.length; i++) {
      const begin = offset - this.#starts[i]!;
      const part = this.#recent[i]!.data.subarray(Math.max(0, begin), Math.max(0, begin + length));
      if (part.length > 0) out.set(part, Math.max(0, -begin));
    }
    return out;
  }

  #orphan(fragment: Fragment): void {
    if (fragment.orphan) return;
    fragment.orphan = true;
    this.#handlers.onOrphan(fragment);
  }
}

/** Joins two lists into the longer one: fragments may arrive one by one from the end. */
function joinLists(front: Fragment[], back: Fragment[]): Fragment[] {
  if (front.length < back.length) {
    for (let i = front.length - 1; i >= 0; i--) back.unshift(front[i]!);
    return back;
  }
  for (const fragment of back) front.push(fragment);
  return front;
}
