import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '../src/simulated/index.ts';
import { networkSuite, streamSuite, type World } from './network-suite.ts';

function simulatedLan(): World {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(1) });
  const lan = internet.lan();
  const [here, there] = [lan.host(), lan.host()];
  return {
    here: here.network,
    there: there.network,
    hereAddress: here.address,
    thereAddress: there.address,
    broadcastAddress: lan.broadcastAddress!,
    run: (promise) => clock.runUntil(promise),
    [Symbol.asyncDispose]: async () => {},
  };
}

networkSuite('simulated', simulatedLan);
streamSuite('TLS on the simulated network', () => ({
  ...simulatedLan(),
  tls: { server: { cert: '', key: '' }, client: {} },
}));
networkSuite('simulated loopback', () => {
  const world = simulatedLan();
  return {
    ...world,
    there: world.here,
    hereAddress: '127.0.0.1',
    thereAddress: '127.0.0.1',
    broadcastAddress: '127.255.255.255',
  };
});
