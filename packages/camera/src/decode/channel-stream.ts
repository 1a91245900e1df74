import type { CaptureDirection } from '@towpath/net/capture';
import { Channel, type Frame, GREETING } from '../artemis/frame.ts';
import { type Fragment, FragmentRun, type RunHandlers } from './fragment-run.ts';
import { IndexSet, type PageBudget, Seen } from './index-set.ts';
import type { RunKeeper } from './run-keeper.ts';

/** Identifies a stream. */
export interface StreamId {
  readonly connection: number;
  readonly localPort: number | undefined;
  readonly direction: CaptureDirection;
  readonly channel: number;
}

export interface StreamHandlers {
  onGreeting(stream: ChannelStream, fragment: Fragment): void;
  onFrame(stream: ChannelStream, frame: Frame, first: Fragment, last: Fragment): void;
  onOrphan(stream: ChannelStream, fragment: Fragment): void;
  onIncomplete(stream: ChannelStream, header: Uint8Array, first: Fragment, last: Fragment, haveBytes: number): void;
}

/**
 * One channel of one connection in one direction: orders DRW payloads by index, drops duplicates, tolerates
 * gaps. Each result is reported with the packet that makes it certain; the rest when the stream is settled.
 */
export class ChannelStream implements RunHandlers {
  readonly id: StreamId;
  readonly seen: IndexSet;
  duplicates = 0;
  payloadBytes = 0;
  readonly #handlers: StreamHandlers;
  readonly #keeper: RunKeeper;
  readonly #byStart = new Map<number, FragmentRun>();
  readonly #byEnd = new Map<number, FragmentRun>();
  /** The run that grew last: the next packet usually continues it. */
  #current: FragmentRun | undefined;

  constructor(id: StreamId, handlers: StreamHandlers, keeper: RunKeeper, budget: PageBudget) {
    this.id = id;
    this.#handlers = handlers;
    this.#keeper = keeper;
    this.seen = new IndexSet(budget);
  }

  /** Takes the payload of one DRW. `other`: not taken, because its index had other data before. */
  push(index: number, data: Uint8Array, record: number): Seen {
    const at = this.seen.unwrap(index);
    const seen = this.seen.add(at, fingerprint(data));
    if (seen === Seen.again) this.duplicates++;
    if (seen !== Seen.first) return seen;
    this.payloadBytes += data.length;
    this.#place(at, { index, record, data, orphan: false });
    return seen;
  }

  /** Counts a packet that {@link push} did not take as a retransmission. */
  countDuplicate(): void {
    this.duplicates++;
  }

  /** Reports everything that is left. Nothing may be pushed afterwards. */
  settle(): void {
    for (const run of this.#runs()) {
      run.settle();
      this.#keeper.drop(run);
    }
    this.#byStart.clear();
    this.#byEnd.clear();
    this.#current = undefined;
    this.seen.clear();
  }

  /** Settles one run early, because too much is stored. */
  release(run: FragmentRun): void {
    this.#remove(run);
    if (this.#current === run) this.#current = undefined;
    run.settle();
  }

  onFrame(frame: Frame, first: Fragment, last: Fragment): void {
    this.#handlers.onFrame(this, frame, first, last);
  }

  onOrphan(fragment: Fragment): void {
    this.#handlers.onOrphan(this, fragment);
  }

  onIncomplete(header: Uint8Array, first: Fragment, last: Fragment, haveBytes: number): void {
    this.#handlers.onIncomplete(this, header, first, last, haveBytes);
  }

  #place(at: number, fragment: Fragment): void {
    let run = this.#current?.end === at ? this.#current : this.#byEnd.get(at);
    if (run === undefined) run = new FragmentRun(at, this);
    else this.#remove(run);
    if (this.#current !== undefined && this.#current !== run) this.#keep(this.#current);
    if (this.id.channel === Channel.command && isGreeting(fragment.data) && run.appendWhole(fragment)) {
      this.#handlers.onGreeting(this, fragment);
    } else {
      run.append(fragment);
    }
    const later = this.#byStart.get(run.end);
    if (later !== undefined) {
      this.#remove(later);
      this.#keeper.drop(later);
      this.#keeper.drop(run);
      run = later.joinTo(run);
    }
    this.#current = run;
    this.#keeper.update(this, run);
  }

  /** Keeps a run that is no longer the current one, if it may still be completed. */
  #keep(run: FragmentRun): void {
    if (run.settled) {
      this.#keeper.drop(run);
      return;
    }
    this.#byStart.set(run.start, run);
    this.#byEnd.set(run.end, run);
  }

  #remove(run: FragmentRun): void {
    if (this.#byStart.get(run.start) === run) this.#byStart.delete(run.start);
    if (this.#byEnd.get(run.end) === run) this.#byEnd.delete(run.end);
  }

  #runs(): FragmentRun[] {
    const runs = [...this.#byStart.values()];
    if (this.#current !== undefined && !runs.includes(this.#current)) runs.push(this.#current);
    return runs.sort((a, b) => a.start - b.start);
  }
}

function isGreeting(data: Uint8Array): boolean {
  return data.length === GREETING.length && data.every((byte, at) => byte === GREETING[at]);
}

/** Fingerprint that distinguishes the data of one index in two sessions: length, first and last bytes. Never 0. */
function fingerprint(data: Uint8Array): number {
  let hash = data.length;
  const head = Math.min(40, data.length);
  for (let at = 0; at < head; at++) hash = (Math.imul(hash, 31) + data[at]!) | 0;
  for (let at = Math.max(head, data.length - 8); at < data.length; at++) hash = (Math.imul(hash, 31) + data[at]!) | 0;
  return hash === 0 ? 1 : hash;
}
