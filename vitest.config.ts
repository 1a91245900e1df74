import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Files of the system layer that may run two at a time: they measure neither rates nor outages, and wait more than they work. */
const CONCURRENT = [
  'camera-*',
  'control-*',
  'daemon-kills',
  'dashboard*',
  'deb',
  'documented-deployments',
  'fake-*',
  'host-splice',
  'live-*',
  'member-relay',
  'mesh-grid',
  'mesh-lan',
  'mesh-mtu',
  'mesh-up',
  'mesh-wireguard',
  'nat-kinds',
  'netcheck*',
  'network-changes',
  'packages',
  'party*',
  'pcap',
  'port-mapping',
  'pppp-kernel',
  'relay-deployments',
  'rtsp',
  'small-disk',
  'three-way',
  'turn-chromium',
  'turn-kernel',
  'two-parties',
  'units',
  'wake*',
].map((name) => `test/system/${name}.test.ts`);

const config: ViteUserConfig = defineConfig({
  test: {
    // Node loads the sources itself, so an enum or a missing extension fails here as it would in use.
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    // The files of tests, and the programs that they start, load the same sources hundreds of times.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compiled/', import.meta.url)) },
    // Limits only end what hangs: on a loaded machine everything takes longer, and that is no failure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'packages',
          include: ['packages/*/test/**/*.test.ts', 'bench/test/**/*.test.ts'],
          // Without this it is one less than there are cores, which on two cores is one.
          maxWorkers: '100%',
        },
      },
      {
        extends: true,
        test: {
          name: 'system-concurrent',
          include: CONCURRENT,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          exclude: CONCURRENT,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

export default config;
