import { BleReassembler, type CameraClient, decodeHotspotCredentials, encodeWakeValue } from '@towpath/camera';
import type { Bus, ExchangePhase, JoinPhase, WifiJoin } from '@towpath/wake';
import { type Hotspot, Hotspots } from '../../config/hotspots.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { type CameraRuntime, openCamera, type RaceWatch, type TargetOptions } from './target.ts';

/** Options of commands that wake a camera. */
export interface WakeOptions {
  /** Address of the camera in Bluetooth, or how its name begins. */
  bluetooth?: string;
  /** `hci0` */
  bluetoothAdapter?: string;
}

/** Options of commands that join a hotspot. */
export interface JoinOptions {
  /** `wlan0` */
  wifiDevice?: string;
}

/** Told about each phase: `wake`/`scan`, a sentence without its full stop. */
export type TellPhase = (step: 'wake' | 'join', phase: string, text: string) => void;

/** Names of this family begin so. */
const DEFAULT_NAME = 'TC100_';

/** Characteristics of the camera: docs/protocol/artemis.md, "Bluetooth". */
const WRITE = '00000002-0000-1000-8000-00805f9b34fb';
const NOTIFY = '00000003-0000-1000-8000-00805f9b34fb';

/** The vendor's application waits so long after the answer before it joins. */
const PAUSE_MS = 3_000;

/** Opens the system's message bus. The library is loaded only now. Throws as `openSystemBus`. */
export async function openBus(runtime: Runtime): Promise<Bus> {
  if (runtime.openBus !== undefined) return await runtime.openBus();
  const { io, signal } = runtime;
  const { openSystemBus } = await import('@towpath/wake');
  return openSystemBus({ address: io.env.DBUS_SYSTEM_BUS_ADDRESS, signal });
}

/**
 * Wakes a camera over Bluetooth and remembers the hotspot that it opens.
 * @throws WakeError as `exchange`, and `bad-answer`
 */
export async function wakeCamera(
  runtime: Runtime,
  bus: Bus,
  options: WakeOptions,
  tell: TellPhase,
  signal: AbortSignal = runtime.signal,
): Promise<Hotspot> {
  const { exchange, WakeError } = await import('@towpath/wake');
  const { clock, log, configFolder } = runtime;
  const wanted = options.bluetooth ?? DEFAULT_NAME;
  const isAddress = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(wanted);
  const reassembler = new BleReassembler();
  const { answer, device } = await exchange(
    { bus, clock, log },
    {
      device: isAddress ? { address: wanted } : { namePrefix: wanted },
      adapter: options.bluetoothAdapter,
      write: { uuid: WRITE, value: encodeWakeValue() },
      notify: NOTIFY,
      onPhase: (phase, found) => tell('wake', phase, wakeText(phase, found?.name || found?.address || wanted)),
      onValue: (value) => {
        const message = reassembler.push(value);
        if (message === undefined) return undefined;
        const credentials = message.ok ? decodeHotspotCredentials(message.value) : message;
        if (!credentials.ok) {
          throw new WakeError(
            'bad-answer',
            `The camera's answer is not usable: ${credentials.message} Next: try again.`,
          );
        }
        return credentials.value;
      },
      signal,
    },
  );
  const hotspot = { ...answer, device: device.address, name: device.name };
  new Hotspots(configFolder).add(hotspot);
  return hotspot;
}

/** Joins a camera's hotspot. The caller leaves it. Throws as `joinWifi`. */
export async function joinHotspot(
  { clock, log, signal }: Runtime,
  bus: Bus,
  { ssid, password }: Pick<Hotspot, 'ssid' | 'password'>,
  options: JoinOptions,
  tell: TellPhase,
  until: AbortSignal = signal,
): Promise<WifiJoin> {
  const { joinWifi } = await import('@towpath/wake');
  return joinWifi(
    { bus, clock, log },
    {
      ssid,
      password,
      device: options.wifiDevice,
      onPhase: (phase) => tell('join', phase, joinText(phase, ssid)),
      signal: until,
    },
  );
}

/** A camera that is awake and whose hotspot this machine is in. Dispose of it to leave. */
export interface OpenHotspot extends AsyncDisposable {
  readonly hotspot: Hotspot;
  readonly join: WifiJoin;
}

/** Wakes a camera and joins its hotspot. Throws as {@link wakeCamera} and {@link joinHotspot}. */
export async function openHotspot(
  runtime: Runtime,
  options: WakeOptions & JoinOptions,
  tell: TellPhase,
  signal: AbortSignal = runtime.signal,
): Promise<OpenHotspot> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await openBus(runtime));
  const hotspot = await wakeCamera(runtime, bus, options, tell, signal);
  tell('wake', 'pause', `${hotspot.name || hotspot.device} opens the hotspot ${hotspot.ssid}`);
  await runtime.clock.sleep(PAUSE_MS, signal);
  const join = stack.use(await joinHotspot(runtime, bus, hotspot, options, tell, signal));
  const kept = stack.move();
  return { hotspot, join, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** What happens during a visit. */
export interface VisitHooks {
  readonly tell: TellPhase;
  /** Called with the client before it connects. */
  onClient?(client: CameraClient): void;
  readonly race?: RaceWatch;
  readonly signal: AbortSignal;
}

/**
 * Wakes a camera, joins its hotspot, connects, and lets `use` do its work; then closes the connection and leaves. The camera
 * falls asleep by itself.
 * @param use gets a signal that also aborts when the hotspot ends
 * @throws as {@link openHotspot}, `CameraClient.connectWithRetries`, and what `use` throws
 */
export async function visitCamera<Result>(
  runtime: CameraRuntime,
  host: string,
  options: TargetOptions & WakeOptions & JoinOptions,
  { tell, onClient, race, signal }: VisitHooks,
  use: (camera: CameraClient, until: AbortSignal) => Promise<Result>,
): Promise<Result> {
  await using hotspot = await openHotspot(runtime, options, tell, signal);
  const { lost, address } = hotspot.join;
  const until = AbortSignal.any([signal, lost]);
  const target = { ...options, localAddress: options.localAddress ?? address };
  await using camera = openCamera(runtime, host, target, race);
  onClient?.(camera);
  await camera.connectWithRetries({ signal: until });
  return await use(camera, until);
}

function wakeText(phase: ExchangePhase, name: string): string {
  switch (phase) {
    case 'adapter':
      return 'looking for a Bluetooth adapter';
    case 'scan':
      return `looking for ${name} over Bluetooth`;
    case 'connect':
      return `connecting to ${name}`;
    case 'services':
      return `reading the services of ${name}`;
    case 'subscribe':
      return `subscribing to the answers of ${name}`;
    case 'write':
      return `asking ${name} to open its hotspot`;
    case 'answer':
      return `waiting for the answer of ${name}`;
    default:
      return phase satisfies never;
  }
}

function joinText(phase: JoinPhase, ssid: string): string {
  switch (phase) {
    case 'device':
      return 'looking for a Wi-Fi adapter';
    case 'scan':
      return `looking for the network ${ssid}`;
    case 'associate':
      return `joining ${ssid}`;
    case 'address':
      return `waiting for an address in ${ssid}`;
    default:
      return phase satisfies never;
  }
}
