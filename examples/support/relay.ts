import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { RelayServer, RendezvousServer } from '@towpath/pppp/server';
import { exampleArguments } from './failure.ts';

/** A relay server, and a camera that has logged in there. */
export interface ExampleRelay extends AsyncDisposable {
  /** Host name or address of the server. */
  readonly relayServer: string;
  /** UDP port of its rendezvous service. */
  readonly relayPort: number;
  /** UID of the camera. */
  readonly uid: string;
}

/** Returns the server given as `SERVER UID` on the command line, else starts both on this machine. */
export async function exampleRelay(): Promise<ExampleRelay> {
  const [server, cameraUid] = exampleArguments(['SERVER', 'UID']);
  if (server !== undefined && cameraUid !== undefined) {
    return { relayServer: server, relayPort: 32_100, uid: cameraUid, [Symbol.asyncDispose]: async () => {} };
  }
  const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
  const address = '127.0.0.1';
  const uid = 'TEST-000001-BCDEF';
  const relay = await RelayServer.listen(components, { address, port: 0 });
  const rendezvous = await RendezvousServer.listen(components, { address, ports: [0], relays: [relay.endpoint] });
  const [service = { address, port: 0 }] = rendezvous.endpoints;
  const camera = new CameraEmulator(components, {
    address,
    listenPort: 0,
    searchPort: false,
    uid,
    servers: [service],
    pictures: paddedPictures(),
  });
  await camera.start();
  await rendezvous.events.once('online');
  return {
    relayServer: address,
    relayPort: service.port,
    uid,
    [Symbol.asyncDispose]: async () => {
      await camera.close();
      await rendezvous.close();
      await relay.close();
    },
  };
}
