import type { Clock, Log, Random } from '@towpath/core';
import type { ControlStore } from '../store/store.ts';
import type { ControlServer, ControlServerOptions } from './control-server.ts';

/**
 * Starts a control server. The caller closes the store. Server modules are loaded here,
 * because most programs that use this package only connect to one.
 * @throws ControlError `store-failed`; a system error (`EADDRINUSE`) when the address cannot be used.
 */
export async function startControlServer(
  components: { store: ControlStore; clock: Clock; random: Random; log?: Log | undefined },
  options: ControlServerOptions = {},
): Promise<ControlServer> {
  const { ControlServer: Server } = await import('./control-server.ts');
  return Server.start(components, options);
}
