import type { RememberedPath } from '../connect/candidates.ts';
import type { PathMemory } from '../connect/race-connector.ts';
import type { DeviceStore } from './device-store.ts';

/** Lets a connector remember local ports in a device store, so that another process leaves from the same one. */
export class StorePathMemory implements PathMemory {
  readonly #store: DeviceStore;

  constructor(store: DeviceStore) {
    this.#store = store;
  }

  async recall(cameraIp: string): Promise<RememberedPath | undefined> {
    const { localPort, mode, endpoint } = await this.#store.load(cameraIp);
    if (localPort === undefined || endpoint === undefined) return undefined;
    if (mode !== 'lan' && mode !== 'p2p' && mode !== 'relay') return undefined;
    return { mode, localPort, destinationPort: endpoint.port };
  }

  remember(cameraIp: string, { mode, localPort, destinationPort }: RememberedPath): Promise<void> {
    return this.#store.update(cameraIp, { mode, localPort, endpoint: { address: cameraIp, port: destinationPort } });
  }
}
