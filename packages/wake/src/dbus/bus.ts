import { abortable, errorCode, errorMessage } from '@towpath/core';
import type { Message } from '@jellybrick/dbus-next';
import { WakeError } from '../wake-error.ts';
import { as, unwrapped, wrapped } from './values.ts';

/** An interface of an object of a service. */
export interface BusTarget {
  /** Well-known name, `org.bluez`. */
  readonly service: string;
  readonly path: string;
  readonly interface: string;
}

/** Which signals to receive. A path in `path` is exact. */
export interface SignalMatch {
  readonly service: string;
  readonly interface: string;
  readonly member: string;
  readonly path?: string;
}

/** A signal of a service; variants are replaced by their values. */
export interface BusSignal {
  readonly path: string;
  readonly body: readonly unknown[];
}

/** A connection to a D-Bus message bus, as much of it as this package needs. */
export interface Bus extends AsyncDisposable {
  /**
   * Calls a method and resolves with the values that it returns; variants are replaced by their values.
   * @param signature types of `args`; values inside of variants are `Typed`
   * @throws BusError with the service's error name; the signal's reason
   */
  call(
    target: BusTarget,
    member: string,
    signature?: string,
    args?: readonly unknown[],
    signal?: AbortSignal,
  ): Promise<readonly unknown[]>;
  /** Reads a property. Throws as {@link call}. */
  get(target: BusTarget, property: string, signal?: AbortSignal): Promise<unknown>;
  /** Calls `handler` for each signal until the result is disposed of. */
  subscribe(match: SignalMatch, handler: (signal: BusSignal) => void, signal?: AbortSignal): Promise<AsyncDisposable>;
}

/** An error that a service answered with. */
export class BusError extends Error {
  /** `org.bluez.Error.NotReady` */
  readonly errorName: string;

  constructor(errorName: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'BusError';
    this.errorName = errorName;
  }
}

const DAEMON: BusTarget = {
  service: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};

/** Texts of errors may come from a device. */
const MAX_TEXT_CHARS = 200;

/**
 * Connects to the system bus, or to the bus at `address`.
 * @param options `address` as in the D-Bus specification. @default DBUS_SYSTEM_BUS_ADDRESS, or the usual socket
 * @throws WakeError `no-system-bus`; the signal's reason
 */
export async function openSystemBus(
  options: { address?: string | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Bus> {
  const { address, signal } = options;
  signal?.throwIfAborted();
  // Loaded only now: most commands never speak D-Bus.
  const { Message, sessionBus, systemBus, Variant } = await import('@jellybrick/dbus-next');
  // A session bus is any bus with an address of its own.
  const bus = address === undefined ? systemBus() : sessionBus({ busAddress: address });
  const handlers = new Set<(message: Message) => void>();
  let broken: Error | undefined;
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  failed.catch(() => {});
  // The library's event map leaves out that it emits errors.
  (bus as unknown as NodeJS.EventEmitter).on('error', (error: unknown) => {
    broken ??= error instanceof Error ? error : new Error(String(error));
    fail(broken);
  });
  bus.on('message', (message) => {
    for (const handler of [...handlers]) handler(message);
  });
  const close = async () => {
    handlers.clear();
    bus.disconnect();
  };
  const { promise: connected, resolve } = Promise.withResolvers<void>();
  bus.once('connect', resolve);
  try {
    await abortable(Promise.race([connected, failed]), signal);
  } catch (cause) {
    await close();
    if (signal?.aborted) throw cause;
    throw new WakeError(
      'no-system-bus',
      `The D-Bus system bus was not reached (${errorMessage(cause).slice(0, MAX_TEXT_CHARS) || errorCode(cause)}). Next: this works on Linux with D-Bus running.`,
      { cause },
    );
  }

  const call: Bus['call'] = async (target, member, signature = '', args = [], callSignal) => {
    callSignal?.throwIfAborted();
    if (broken) throw new BusError('org.freedesktop.DBus.Error.Disconnected', broken.message, broken);
    const message = new Message({
      destination: target.service,
      path: target.path,
      interface: target.interface,
      member,
      signature,
      body: args.map((value) => wrapped(value, (type, inner) => new Variant(type, inner))),
    });
    try {
      const reply = await abortable(Promise.race([bus.call(message), failed]), callSignal);
      return (reply?.body ?? []).map(unwrapped);
    } catch (cause) {
      if (callSignal?.aborted) throw cause;
      const type = cause instanceof Error && 'type' in cause ? String(cause.type) : 'org.freedesktop.DBus.Error.Failed';
      throw new BusError(type, errorMessage(cause).slice(0, MAX_TEXT_CHARS), cause);
    }
  };

  return {
    call,
    get: async (target, property, getSignal) => {
      const properties = { ...target, interface: 'org.freedesktop.DBus.Properties' };
      return (await call(properties, 'Get', 'ss', [target.interface, property], getSignal))[0];
    },
    subscribe: async (match, handler, subscribeSignal) => {
      const rule = [
        "type='signal'",
        `sender='${match.service}'`,
        `interface='${match.interface}'`,
        `member='${match.member}'`,
        ...(match.path === undefined ? [] : [`path='${match.path}'`]),
      ].join(',');
      // Any program on the bus can send a signal to one connection; only the owner of the name is believed.
      const owner = as.text((await call(DAEMON, 'GetNameOwner', 's', [match.service], subscribeSignal))[0]);
      const listener = (message: Message) => {
        if (message.sender !== owner || message.member !== match.member || message.interface !== match.interface)
          return;
        if (match.path !== undefined && message.path !== match.path) return;
        handler({ path: message.path, body: message.body.map(unwrapped) });
      };
      handlers.add(listener);
      try {
        await call(DAEMON, 'AddMatch', 's', [rule], subscribeSignal);
      } catch (error) {
        handlers.delete(listener);
        throw error;
      }
      return {
        [Symbol.asyncDispose]: async () => {
          if (!handlers.delete(listener) || broken) return;
          await call(DAEMON, 'RemoveMatch', 's', [rule]).catch(() => {});
        },
      };
    },
    [Symbol.asyncDispose]: close,
  };
}
