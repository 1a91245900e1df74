/** Opens a relay in the kernel and one session, prints so, and waits to be killed. Arguments: address, form. */
import { SystemClock, SystemRandom } from '@towpath/core';
import { KernelRelay, NodeSystem, type RelayForm } from '@towpath/splice';

const [, , address = '', form = 'netdev'] = process.argv;
const components = { system: new NodeSystem(), clock: new SystemClock(), random: new SystemRandom() };
const relay = await KernelRelay.open(components, { form: form as RelayForm, addresses: [address] });
await relay.open('one', {
  a: { remote: { address: '203.0.113.30', port: 5000 }, local: { address, port: 7001 } },
  b: { remote: { address: '203.0.113.31', port: 5000 }, local: { address, port: 7002 } },
});
console.log('open');
