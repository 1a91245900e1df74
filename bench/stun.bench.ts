import { createHmac, createSecretKey } from 'node:crypto';
import { decodeStun, integrityKey, MessageClass, Method, StunWriter, stunAttributes } from '@towpath/stun/message';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';
import { BindingLoad } from './support/binding-load.ts';
import { Worker } from './support/worker.ts';
import type { ResponderReady, ResponderTask, ResponderUsage } from './workers/responder.ts';

const ANSWERS_GOAL = 60_000;
const CHECK_GOAL_US = 6;

/** Messages between two readings of the clock. */
const BATCH = 500;
const CHECK_ROUNDS = 9;
const KEY_BYTES = 16;
const SHA1_ATTRIBUTE_BYTES = 24;
const SHA256_ATTRIBUTE_BYTES = 36;
const FINGERPRINT_ATTRIBUTE_BYTES = 8;

/** Binding answers per second of a server on one core, and what a check of an authenticated message costs. */
export const bench: Bench = {
  about:
    'binding answers of a server in a process of its own, beside a bare dgram echo under the same load; decoding with integrity check, beside one HMAC over the same bytes',
  async run({ quick, print }) {
    const rows = [...(await answers(quick ? 3 : 11, quick ? 400 : 1_000)), ...checks(quick ? 50 : 300)];
    for (const { case: name, metric, value, unit } of rows) print(`  ${name}: ${metric} ${value} ${unit}`);
    return rows;
  },
};

interface Rate {
  perSecond: number;
  /** Per second of the responder's processor time. */
  perCpuSecond: number;
}

/** Both alternate, so that other load affects them equally; medians. The first round is a warm-up. */
async function answers(rounds: number, forMs: number): Promise<BenchRow[]> {
  const ours: Rate[] = [];
  const theirs: Rate[] = [];
  await using stun = await Responder.start('stun');
  await using echo = await Responder.start('echo');
  for (let round = 0; round <= rounds; round++) {
    ours.push(await stun.rate(forMs));
    theirs.push(await echo.rate(forMs));
  }
  const value = median(ours.slice(1));
  const baseline = median(theirs.slice(1));
  const goal = `≥ ${ANSWERS_GOAL}/s on one core`;
  const met = value.perCpuSecond >= ANSWERS_GOAL;
  return [
    row({
      case: 'per second of the server’s processor time, which is one core of its own',
      metric: 'binding answers',
      value: value.perCpuSecond,
      baseline: baseline.perCpuSecond,
      unit: '/s',
      goal,
      met,
    }),
    row({
      case: 'per second of the wall clock; one process asks as fast as it can on the same machine',
      metric: 'binding answers',
      value: value.perSecond,
      baseline: baseline.perSecond,
      unit: '/s',
    }),
  ];
}

function median(rates: readonly Rate[]): Rate {
  const of = (pick: (rate: Rate) => number) => percentile(rates.map(pick), 0.5);
  return { perSecond: of((rate) => rate.perSecond), perCpuSecond: of((rate) => rate.perCpuSecond) };
}

/** A responder in a process of its own, and its clients in this one. */
class Responder implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #load: BindingLoad;

  private constructor(worker: Worker, load: BindingLoad) {
    this.#worker = worker;
    this.#load = load;
  }

  static async start(kind: ResponderTask['kind']): Promise<Responder> {
    const task: ResponderTask = { kind };
    const { worker, first } = await Worker.start<ResponderReady>('responder', task);
    return new Responder(worker, await BindingLoad.open(first.port));
  }

  async rate(forMs: number): Promise<Rate> {
    const before = await this.#worker.ask<ResponderUsage>({});
    const { answers: count, elapsedMs } = await this.#load.run(forMs);
    const after = await this.#worker.ask<ResponderUsage>({});
    return { perSecond: (1e3 * count) / elapsedMs, perCpuSecond: (1e6 * count) / (after.cpuUs - before.cpuUs) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#load[Symbol.asyncDispose]();
    await this.#worker[Symbol.asyncDispose]();
  }
}

interface Checked {
  name: string;
  algorithm: 'sha1' | 'sha256';
  message: Uint8Array;
  /** Input of the HMAC. */
  covered: Uint8Array;
}

function checks(stretchMs: number): BenchRow[] {
  const secret = Buffer.alloc(KEY_BYTES, 0x5a);
  const key = integrityKey(secret);
  const bareKey = createSecretKey(secret);
  return messages(key).map(({ name, algorithm, message, covered }) => {
    const checked: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round <= CHECK_ROUNDS; round++) {
      checked.push(
        microseconds(stretchMs, () => {
          const result = decodeStun(message);
          if (!result.ok || result.message.checkIntegrity(key) !== 'valid') throw new Error(`${name}: not valid`);
        }),
      );
      bare.push(microseconds(stretchMs, () => createHmac(algorithm, bareKey).update(covered).digest()));
    }
    const value = percentile(checked.slice(1), 0.5);
    const baseline = percentile(bare.slice(1), 0.5);
    const fields = {
      case: `${name}, ${message.length} bytes`,
      metric: 'decode and integrity check, processor time',
      unit: 'µs',
    };
    return row({ ...fields, value, baseline, goal: `≤ ${CHECK_GOAL_US} µs`, met: value <= CHECK_GOAL_US });
  });
}

/** A connectivity check between peers, and the request by which a TURN client keeps its allocation. */
function messages(key: ReturnType<typeof integrityKey>): Checked[] {
  const id = new Uint8Array(12).fill(7);
  const request = (method: number) => new StunWriter(MessageClass.Request, method, id);
  const check = request(Method.Binding)
    .add(stunAttributes.username, 'alice-north:bob-south')
    .add(stunAttributes.priority, 1_845_501_695)
    .integrity(key)
    .fingerprint()
    .finish();
  const refresh = (algorithm: 'sha1' | 'sha256') =>
    request(Method.Refresh)
      .add(stunAttributes.lifetime, 600)
      .add(stunAttributes.username, '1800000000:alice')
      .add(stunAttributes.realm, 'towpath')
      .add(stunAttributes.nonce, '0123456789abcdef0123456789abcdef')
      .integrity(key, algorithm)
      .finish();
  const sha1 = refresh('sha1');
  const sha256 = refresh('sha256');
  const sealBytes = SHA1_ATTRIBUTE_BYTES + FINGERPRINT_ATTRIBUTE_BYTES;
  return [
    {
      name: 'connectivity check, SHA-1 and fingerprint',
      algorithm: 'sha1',
      message: check,
      covered: cut(check, sealBytes),
    },
    { name: 'TURN refresh, SHA-1', algorithm: 'sha1', message: sha1, covered: cut(sha1, SHA1_ATTRIBUTE_BYTES) },
    {
      name: 'TURN refresh, SHA-256',
      algorithm: 'sha256',
      message: sha256,
      covered: cut(sha256, SHA256_ATTRIBUTE_BYTES),
    },
  ];
}

function cut(message: Uint8Array, seal: number): Uint8Array {
  return message.subarray(0, message.length - seal);
}

/** Processor time that `work` takes, from about `forMs` of it: other work on the machine does not count. */
function microseconds(forMs: number, work: () => unknown): number {
  const cpu = process.cpuUsage();
  let done = 0;
  let spentUs = 0;
  while (spentUs < 1_000 * forMs) {
    for (let n = 0; n < BATCH; n++) work();
    done += BATCH;
    const { user, system } = process.cpuUsage(cpu);
    spentUs = user + system;
  }
  return spentUs / done;
}
