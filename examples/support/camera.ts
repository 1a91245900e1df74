import { CameraEmulator, type CameraEmulatorOptions, paddedPictures } from '@towpath/camera/emulator';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { exampleArguments, portNumber } from './failure.ts';

/** The camera that an example talks to. */
export interface ExampleCamera extends AsyncDisposable {
  readonly address: string;
  /** Ports that were given on the command line, where the example takes one. */
  readonly ports: readonly number[] | undefined;
  /** The emulator that stands in for a camera; undefined when an address was given. */
  readonly emulator: CameraEmulator | undefined;
}

/**
 * Returns the camera whose address is given on the command line, else starts an emulated one on this machine, at the
 * usual ports.
 * @param more an argument that may follow the address
 */
export async function exampleCamera(init: CameraEmulatorOptions = {}, more?: 'PORT'): Promise<ExampleCamera> {
  const [given, port] = exampleArguments(['ADDRESS'], more);
  if (given !== undefined) {
    const ports = port === undefined ? undefined : [portNumber(port)];
    return { address: given, ports, emulator: undefined, [Symbol.asyncDispose]: async () => {} };
  }
  const address = ownLoopbackAddress();
  const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
  const emulator = new CameraEmulator(components, { address, itemCount: 5, pictures: paddedPictures(), ...init });
  await emulator.start();
  return { address, ports: undefined, emulator, [Symbol.asyncDispose]: () => emulator.close() };
}

/** On Linux every address of 127.0.0.0/8 can be used, so that several examples can run at the same time. */
function ownLoopbackAddress(): string {
  if (process.platform !== 'linux') return '127.0.0.1';
  const random = new SystemRandom();
  const part = () => random.integer(1, 254);
  return `127.${part()}.${part()}.${part()}`;
}
