import { CANDIDATE_SIGNAL } from './candidate-signal.ts';
import { PUNCH_SIGNAL } from './punch-signal.ts';
import { RELAY_SIGNALS } from '../relays/relay-signal.ts';

/** Kind and version of a signal: its first two bytes. */
export interface SignalForm {
  readonly kind: number;
  readonly version: number;
}

const KNOWN: readonly SignalForm[] = [CANDIDATE_SIGNAL, PUNCH_SIGNAL, ...RELAY_SIGNALS];

/** Returns the form of a signal whose kind is known, and its version is not; undefined for every other one. */
export function foreignSignal(bytes: Uint8Array): (SignalForm & { readonly known: number }) | undefined {
  const [kind, version] = bytes;
  const own = KNOWN.find((one) => one.kind === kind);
  if (own === undefined || version === undefined || version === own.version) return undefined;
  return { kind: own.kind, version, known: own.version };
}
