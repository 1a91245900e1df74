/**
 * Makes a WireGuard interface with peers, names and a route, says "up" and stays until it is ended.
 * Argument: JSON, see {@link WireGuardNodeOptions}.
 */
import { SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { Ledger, SystemCommands, WireGuardInterface } from '../../../packages/mesh/src/index.ts';
import { FilterControl } from '../../../packages/mesh/src/filter/filter-control.ts';
import { Gateway, parseRoutedNetwork } from '../../../packages/mesh/src/gateway/gateway.ts';
import { LanForwarder } from '../../../packages/mesh/src/lan/lan-forwarder.ts';
import { PartyNames } from '../../../packages/mesh/src/names/names.ts';
import { PartyRoutes } from '../../../packages/mesh/src/wireguard/party-routes.ts';

export interface WireGuardNodeOptions {
  name: string;
  stateFolder: string;
  hostsPath: string;
  /** Hex. */
  privateKey: string;
  address: string;
  listenPort: number;
  lan?: boolean;
  offers?: string[];
  /** Does not route the peer's network into the tunnel. */
  noRoute?: boolean;
  peer: { publicKey: string; address: string; endpoint: { address: string; port: number } };
}

const options: WireGuardNodeOptions = JSON.parse(process.argv[2]!);
const components = { commands: new SystemCommands(), log: silentLog };
const clock = new SystemClock();
const ledger = await Ledger.open(components, { folder: options.stateFolder, name: options.name });
const names = new PartyNames({ ledger }, { marker: options.name, hostsPath: options.hostsPath });
const alice = { id: '0'.repeat(32), name: 'alice', joinedAtSequence: 0 };
names.update('home', [{ ...alice, virtualAddress: options.peer.address }]);
const wireguard = await WireGuardInterface.open(
  { ...components, ledger, clock, random: new SystemRandom() },
  {
    name: options.name,
    privateKey: Buffer.from(options.privateKey, 'hex'),
    address: options.address,
    listenPort: options.listenPort,
  },
);
await wireguard.setPeer({
  publicKey: Buffer.from(options.peer.publicKey, 'hex'),
  endpoint: options.peer.endpoint,
  allowedIps: [`${options.peer.address}/32`, '192.168.43.0/24'],
});
if (!options.noRoute) await new PartyRoutes(components, { interfaceName: options.name }).add('192.168.43.0/24');
if (options.lan) {
  const forwarder = new LanForwarder(
    { ...components, ledger, network: new NodeNetwork() },
    { interfaceName: options.name, address: options.address, broadcast: '10.66.255.255' },
  );
  await forwarder.update([options.peer.address]);
}
if (options.offers) {
  const { name, address, offers } = options;
  await FilterControl.open(
    { ...components, clock, random: new SystemRandom() },
    {
      interfaceName: name,
      address,
      network: parseRoutedNetwork('10.66.0.0/16'),
      offers: offers.map(parseRoutedNetwork),
    },
  );
  await Gateway.open({ ...components, ledger }, { interfaceName: name, offers });
}
console.log('up');
process.on('SIGTERM', () => {
  void ledger.close().then(() => process.exit(0));
});
process.on('SIGUSR2', () => {
  void wireguard.read().then((device) => console.log(JSON.stringify({ ...device, listenPort: wireguard.listenPort })));
});
setInterval(() => {}, 60_000);
