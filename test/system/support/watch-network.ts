/** Prints each report of `Network.changes` as one JSON line, until it is killed. */
import { NodeNetwork } from '@towpath/net';

const network = new NodeNetwork({}, { pollMs: Number(process.argv[2]) });
network.changes.subscribe((changes) => console.log(JSON.stringify(changes)));
console.log(JSON.stringify({ route: await network.defaultRoute() }));
