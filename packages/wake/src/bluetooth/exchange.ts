import { abortable, type Clock, deadline, type Log, silentLog } from '@towpath/core';
import type { Bus } from '../dbus/bus.ts';
import { as, Typed } from '../dbus/values.ts';
import { WakeError, type WakeErrorCode } from '../wake-error.ts';
import { at, BLUEZ, bluezError, CHARACTERISTIC, DEVICE, managedObjects, poweredAdapter } from './bluez.ts';
import { type DeviceMatch, type FoundDevice, scan } from './scan.ts';

/** The phases of an exchange, in their order. */
export type ExchangePhase = 'adapter' | 'scan' | 'connect' | 'services' | 'subscribe' | 'write' | 'answer';

/** Time limit of each phase, ms. */
export type ExchangeLimits = Readonly<Record<ExchangePhase, number>>;

/** Observed: connect 0.9–3.2 s, services 0.4–0.6 s, answer 4.3–4.5 s after the write (docs/protocol/artemis.md, "Bluetooth"). */
const LIMITS: ExchangeLimits = {
  adapter: 3_000,
  scan: 20_000,
  connect: 15_000,
  services: 10_000,
  subscribe: 5_000,
  write: 5_000,
  answer: 15_000,
};

/** Disconnecting may not delay the caller for longer, ms. */
const GOODBYE_MS = 3_000;

export interface ExchangeOptions<Answer> {
  readonly device: DeviceMatch;
  /** Adapter, `hci0`. @default the first one that is on */
  readonly adapter?: string | undefined;
  /** UUID of the characteristic to write, and what to write. */
  readonly write: { readonly uuid: string; readonly value: Uint8Array };
  /** UUID of the characteristic that notifies of the answer. */
  readonly notify: string;
  /** Takes each notification; returns the answer when it is complete, undefined while more is needed. May throw. */
  onValue(value: Uint8Array): Answer | undefined;
  readonly limits?: Partial<ExchangeLimits>;
  /** Called when a phase begins; with the device once it was found. */
  onPhase?(phase: ExchangePhase, device: FoundDevice | undefined): void;
  readonly signal?: AbortSignal | undefined;
}

interface Components {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log?: Log;
}

/**
 * Finds a Bluetooth LE device, writes one value and collects the answer from its notifications; then disconnects.
 * Discovery, subscription and connection are ended before it settles, also after a failure.
 *
 * @returns the answer, and the device that gave it
 * @throws WakeError `no-bluetooth`, `no-adapter`, `adapter-off`, `access-denied`, `device-not-found`, `device-refused`,
 *   `device-lost`, `characteristic-missing`, `no-answer`; what `onValue` throws; the signal's reason
 */
export async function exchange<Answer>(
  components: Components,
  options: ExchangeOptions<Answer>,
): Promise<{ answer: Answer; device: FoundDevice }> {
  const run = new Exchange(components, options);
  const adapter = await run.phase('adapter', 'no-bluetooth', 'Bluetooth did not answer', (signal) =>
    poweredAdapter(components.bus, options.adapter, signal),
  );
  const device = await run.phase(
    'scan',
    'device-not-found',
    `${described(options.device)} was not found. Next: move closer and check its batteries`,
    (signal) => scan(components, adapter, options.device, signal),
  );
  run.found = device;
  return { answer: await run.with(device), device };
}

class Exchange<Answer> {
  found: FoundDevice | undefined;
  readonly #components: Components;
  readonly #options: ExchangeOptions<Answer>;
  readonly #limits: ExchangeLimits;
  readonly #log: Log;

  constructor(components: Components, options: ExchangeOptions<Answer>) {
    this.#components = components;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#log = (components.log ?? silentLog).child('BLUETOOTH');
  }

  /** Runs one phase within its time limit; every failure becomes a sentence. */
  async phase<Result>(
    name: ExchangePhase,
    code: WakeErrorCode,
    what: string,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const { clock } = this.#components;
    const { signal, onPhase } = this.#options;
    const limitMs = this.#limits[name];
    onPhase?.(name, this.found);
    this.#log.debug(`${name} begins`, { device: this.found?.address });
    using limit = deadline(
      clock,
      limitMs,
      signal,
      () => new WakeError(code, `${what} (time limit ${(limitMs / 1_000).toFixed(1)} s).`),
    );
    try {
      return await work(limit.signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw bluezError(error, code, what);
    }
  }

  async with({ path, address, name }: FoundDevice): Promise<Answer> {
    const { bus, clock } = this.#components;
    const { write, notify, onValue } = this.#options;
    const device = at(path, DEVICE);
    const who = name === '' ? address : `${name} (${address})`;
    const { promise: lost, reject: lose } = Promise.withResolvers<never>();
    lost.catch(() => {});
    const { promise: resolved, resolve: resolveServices } = Promise.withResolvers<void>();
    await using _changes = await bus.subscribe(
      { service: BLUEZ, interface: 'org.freedesktop.DBus.Properties', member: 'PropertiesChanged', path },
      ({ body: [, changes] }) => {
        const { Connected, ServicesResolved } = as.dictionary(changes);
        if (ServicesResolved === true) resolveServices();
        if (Connected === false) lose(new WakeError('device-lost', `${who} ended the connection. Next: try again.`));
      },
      this.#options.signal,
    );
    try {
      await this.phase('connect', 'device-refused', `${who} did not accept the connection. Next: try again`, (signal) =>
        this.#connect(path, signal),
      );
      await this.phase(
        'services',
        'device-lost',
        `${who} did not list its services. Next: try again`,
        async (signal) => {
          if ((await bus.get(device, 'ServicesResolved', signal)) === true) return;
          await abortable(Promise.race([resolved, lost]), signal);
        },
      );
      const [target, source] = await Promise.all([this.#find(path, who, write.uuid), this.#find(path, who, notify)]);
      const { promise: answer, resolve, reject } = Promise.withResolvers<Answer>();
      answer.catch(() => {});
      await using _values = await bus.subscribe(
        { service: BLUEZ, interface: 'org.freedesktop.DBus.Properties', member: 'PropertiesChanged', path: source },
        ({ body: [, changes] }) => {
          const value = as.bytes(as.dictionary(changes).Value);
          if (value === undefined) return;
          try {
            const complete = onValue(value);
            if (complete !== undefined) resolve(complete);
          } catch (error) {
            reject(error);
          }
        },
        this.#options.signal,
      );
      await this.phase('subscribe', 'device-refused', `${who} did not accept the subscription`, (signal) =>
        abortable(Promise.race([bus.call(at(source, CHARACTERISTIC), 'StartNotify', '', [], signal), lost]), signal),
      );
      try {
        await this.phase('write', 'device-refused', `${who} did not accept the message`, (signal) =>
          abortable(
            Promise.race([
              bus.call(
                at(target, CHARACTERISTIC),
                'WriteValue',
                'aya{sv}',
                [Buffer.from(write.value), { type: new Typed('s', 'request') }],
                signal,
              ),
              lost,
            ]),
            signal,
          ),
        );
        return await this.phase('answer', 'no-answer', `${who} did not answer. Next: try again`, (signal) =>
          abortable(Promise.race([answer, lost]), signal),
        );
      } finally {
        await this.#quietly(bus.call(at(source, CHARACTERISTIC), 'StopNotify'));
      }
    } finally {
      using limit = deadline(clock, GOODBYE_MS);
      await this.#quietly(bus.call(device, 'Disconnect', '', [], limit.signal));
    }
  }

  async #connect(path: string, signal: AbortSignal): Promise<void> {
    const { bus } = this.#components;
    if ((await bus.get(at(path, DEVICE), 'Connected', signal)) === true) return;
    await bus.call(at(path, DEVICE), 'Connect', '', [], signal);
  }

  /** Returns the path of a characteristic of the device. */
  async #find(device: string, who: string, uuid: string): Promise<string> {
    const objects = await managedObjects(this.#components.bus, this.#options.signal);
    const found = objects.find(
      ({ path, interfaces }) =>
        path.startsWith(`${device}/`) &&
        as.text(as.dictionary(interfaces[CHARACTERISTIC]).UUID)?.toLowerCase() === uuid.toLowerCase(),
    );
    if (found !== undefined) return found.path;
    throw new WakeError(
      'characteristic-missing',
      `${who} does not have the characteristic ${uuid}. Next: check that it is a camera of this family.`,
    );
  }

  /** Clean-up whose failure has no effect: the device or the adapter is gone, and with it what was to be ended. */
  async #quietly(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#log.debug(`Clean-up failed: ${error instanceof Error ? error.message : error}`);
    }
  }
}

function described({ address, namePrefix }: DeviceMatch): string {
  if (address !== undefined) return `The Bluetooth device ${address}`;
  return namePrefix ? `A Bluetooth device named ${namePrefix}…` : 'A Bluetooth device';
}
