/** A value with its D-Bus type, where the type cannot be derived from the value: inside of `v`. */
export class Typed {
  readonly signature: string;
  readonly value: unknown;

  constructor(signature: string, value: unknown) {
    this.signature = signature;
    this.value = value;
  }
}

/** What a D-Bus dictionary became. */
export type Dictionary = Readonly<Record<string, unknown>>;

/** Replaces {@link Typed} values by what `wrap` makes of them, at any depth. */
export function wrapped(value: unknown, wrap: (signature: string, value: unknown) => unknown): unknown {
  if (value instanceof Typed) return wrap(value.signature, wrapped(value.value, wrap));
  if (Array.isArray(value)) return value.map((item) => wrapped(item, wrap));
  if (isPlain(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wrapped(item, wrap)]));
  }
  return value;
}

/** Replaces variants (objects with a signature and a value) by their values, at any depth. */
export function unwrapped(value: unknown): unknown {
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== 'object' || value === null) return value;
  if ('signature' in value && 'value' in value) return unwrapped(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unwrapped(item)]));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Readers of values that a service sent: undefined for a value of another type. */
export const as = {
  text: (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined),
  number: (value: unknown): number | undefined =>
    typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : undefined,
  flag: (value: unknown): boolean | undefined => (typeof value === 'boolean' ? value : undefined),
  list: (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []),
  texts: (value: unknown): readonly string[] => as.list(value).filter((item) => typeof item === 'string'),
  dictionary: (value: unknown): Dictionary =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
      ? (value as Dictionary)
      : {},
  bytes: (value: unknown): Uint8Array | undefined => {
    if (value instanceof Uint8Array) return Uint8Array.from(value);
    if (!Array.isArray(value)) return undefined;
    const isByte = (item: unknown) => typeof item === 'number' && item >= 0 && item <= 255;
    return value.every(isByte) ? Uint8Array.from(value as number[]) : undefined;
  },
} as const;
