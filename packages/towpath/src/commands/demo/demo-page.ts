import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pageFolder } from '@towpath/dashboard/page';
import type { Runtime } from '../../cli/runtime.ts';
import { ApiServer } from '../../daemon/api/api-server.ts';
import { ApiToken } from '../../daemon/api/token.ts';
import { withDefaults } from '../../daemon/config/config.ts';
import { Daemon } from '../../daemon/daemon.ts';
import { StateFolder } from '../../daemon/state/state-folder.ts';
import { pageLink } from '../daemon/dashboard.ts';
import type { MeshNodeOptions } from '../mesh/mesh-node.ts';
import { demoParty } from './demo-party.ts';

/** Where the emulated cameras are. */
export interface DemoCamera {
  readonly name: string;
  readonly port: number;
  readonly searchPort: number;
}

/** A daemon with emulated cameras and a simulated party, which leaves nothing behind. */
export interface DemoPage extends AsyncDisposable {
  readonly daemon: Daemon;
  readonly address: string;
  /** With its token. */
  readonly link: string;
}

const CHECK_EVERY = '5 s';

/** Nothing of this machine takes part in a simulated party. */
const SIMULATED: MeshNodeOptions = {
  splice: false,
  names: false,
  lan: false,
  offers: [],
  accept: [],
  policy: 'auto',
  redundancy: 1,
  network: '10.66.0.0/16',
  networkHere: '10.66.0.0/16',
  otherNetworks: [],
  domain: undefined,
  port: 0,
  mtuBytes: 1_420,
  birthday: false,
  portMapping: false,
  backend: 'auto',
  relay: undefined,
};

/** Starts the daemon of the demo in a temporary folder. */
export async function openDemoPage(runtime: Runtime, cameras: readonly DemoCamera[]): Promise<DemoPage> {
  const { clock, random } = runtime;
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'towpath-demo-state-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await buildPage();
  const state = StateFolder.open(folder, { nowMs: clock.wallTime() });
  const config = withDefaults(
    {
      pictures: { 'check-every': CHECK_EVERY, reserve: '1 MB' },
      cameras: Object.fromEntries(
        cameras.map(({ name, port, searchPort }) => [
          name,
          { target: '127.0.0.1', ports: [port], 'search-port': searchPort },
        ]),
      ),
    },
    folder,
  );
  const own = { ...runtime, configFolder: folder };
  const { party, mesh } = stack.use(await demoParty(runtime));
  const daemon = stack.use(
    new Daemon(own, { config, state, given: {}, parties: [{ party, options: SIMULATED, open: async () => mesh }] }),
  );
  const token = ApiToken.load(folder, random);
  const server = stack.use(await ApiServer.onLoopback(daemon, { port: 0, token }));
  await daemon.start();
  const all = stack.move();
  const { address } = server;
  return {
    daemon,
    address,
    link: pageLink(address, token.text),
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

/** In a clone the page is built when it is shown for the first time. */
async function buildPage(): Promise<void> {
  const root = fileURLToPath(new URL('../../../../../', import.meta.url));
  const isClone = existsSync(join(root, 'packages/dashboard/vite.config.ts'));
  if (!isClone || pageFolder() !== undefined) return;
  await promisify(execFile)('npm', ['run', '--silent', 'build', '-w', '@towpath/dashboard'], { cwd: root }).catch(
    () => {
      // Without it the page says how to build it.
    },
  );
}
