import { errorMessage } from '@towpath/core';
import { KernelRelay } from './kernel-relay.ts';
import type { TablesComponents } from './owned-tables.ts';
import { type RelayForm, STUN_PATTERN } from './relay-rules.ts';
import { SpliceError } from './splice-error.ts';
import type { System } from './system.ts';

/** Whether a relay's data can go through the kernel. */
export type KernelSupport =
  | { usable: true; form: RelayForm /** One sentence. */; reason: string }
  | { usable: false /** Why not, and what to do. */; reason: string };

/**
 * Finds out by trying whether the kernel can forward for a relay with the given local addresses, and in which form.
 * Leaves nothing behind. Does not throw.
 */
export async function probeKernel(components: TablesComponents, addresses: readonly string[]): Promise<KernelSupport> {
  const { system } = components;
  const netdev = await attempt(components, 'netdev', addresses);
  if (netdev === undefined) {
    return { usable: true, form: 'netdev', reason: 'Packets are forwarded where they arrive, past the FORWARD rules.' };
  }
  if (netdev.code !== 'nft-rejected' && netdev.code !== 'not-supported') {
    return { usable: false, reason: await explain(netdev, system) };
  }
  const inet = await attempt(components, 'inet', addresses);
  if (inet !== undefined) return { usable: false, reason: await explain(inet, system) };
  const obstacle = await forwardingObstacle(system, addresses);
  if (obstacle !== undefined) return { usable: false, reason: obstacle };
  return { usable: true, form: 'inet', reason: 'Packets are forwarded by routing (the kernel has no ingress form).' };
}

async function attempt(
  components: TablesComponents,
  form: RelayForm,
  addresses: readonly string[],
): Promise<SpliceError | undefined> {
  try {
    const relay = await KernelRelay.open(components, { form, addresses, control: [STUN_PATTERN], maxSessions: 1 });
    relay.dispose();
    return undefined;
  } catch (error) {
    return error instanceof SpliceError ? error : new SpliceError('not-supported', errorMessage(error));
  }
}

async function explain(error: SpliceError, system: System): Promise<string> {
  if (error.code !== 'not-permitted') return error.message;
  const groups = (await system.readFile('/proc/1/cgroup')) ?? '';
  const environment = await system.readFile('/run/.containerenv');
  return /docker|lxc|kubepods|containerd/.test(groups) || environment !== undefined
    ? 'This container may not change the packet filter. Next: give it the capability NET_ADMIN.'
    : 'This process may not change the packet filter. Next: run as root or grant CAP_NET_ADMIN.';
}

/** Returns why the host does not forward; undefined when nothing is in the way. */
export async function forwardingObstacle(system: System, addresses: readonly string[]): Promise<string | undefined> {
  const switches = [
    ...(addresses.some((each) => !each.includes(':')) ? ['net/ipv4/ip_forward'] : []),
    ...(addresses.some((each) => each.includes(':')) ? ['net/ipv6/conf/all/forwarding'] : []),
  ];
  for (const path of switches) {
    if ((await system.readFile(`/proc/sys/${path}`))?.trim() === '1') continue;
    return `The host does not forward. Next: set ${path.replaceAll('/', '.')}=1.`;
  }
  const { code, stdout } = await system.run('nft', ['-j', 'list', 'chains']);
  if (code === 0 && dropsForwarded(stdout)) {
    return 'The host drops forwarded packets (policy drop of a FORWARD chain). Next: accept them, or use a kernel with nf_tables fwd.';
  }
  return undefined;
}

/** Tells from `nft -j list chains` whether a chain of the host drops what it does not accept of forwarded packets. */
export function dropsForwarded(json: string): boolean {
  try {
    const { nftables } = JSON.parse(json) as { nftables: { chain?: { hook?: string; policy?: string } }[] };
    return nftables.some(({ chain }) => chain?.hook === 'forward' && chain.policy === 'drop');
  } catch {
    return false;
  }
}
