/** Emulated cameras in a process of their own, or bare PPPP devices that only hold sessions. */
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { DEFAULT_UID } from '@towpath/camera';
import { PpppDevice } from '@towpath/pppp/device';
import { HERE, realComponents } from '../support/loopback.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface EmulatorsTask {
  kind: 'camera' | 'device';
  count: number;
  items: number;
  photoBytes: number;
}

/** Its message when all of them listen. */
export interface EmulatorsReady {
  ports: number[];
}

const { kind, count, items, photoBytes } = workerTask<EmulatorsTask>();
const components = realComponents();
const pictures = paddedPictures({ photoBytes, cacheBytes: 2 * items * photoBytes });
const open = kind === 'camera' ? camera : device;
const devices = await Promise.all(Array.from({ length: count }, (_, n) => open(n)));
const ready: EmulatorsReady = { ports: devices.map(({ listen }) => listen.port) };
tell(ready);
await parentLeft();
await Promise.all(devices.map((each) => each.close()));

async function camera(n: number): Promise<CameraEmulator> {
  const place = { address: HERE, listenPort: 0, searchPort: false } as const;
  const emulator = new CameraEmulator(components, { ...place, seed: n + 1, itemCount: items, pictures });
  await emulator.start();
  return emulator;
}

function device(): Promise<PpppDevice> {
  const { network, clock } = components;
  const onSession = (session: { attach(handlers: { onData(): void }): void }) => session.attach({ onData() {} });
  return PpppDevice.open({ network, clock }, { uid: DEFAULT_UID, address: HERE, searchPort: false, onSession });
}
