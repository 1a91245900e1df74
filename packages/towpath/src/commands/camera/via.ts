import { TowpathError } from '@towpath/core';
import { inSubnet, isIpAddress, parseSubnet } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { askStatus } from '../../daemon/api/ask-status.ts';

/**
 * Checks that this machine reaches an address through a member of a party.
 * @throws UsageError for a host that is no address or is not routed there; TowpathError `not-running`, `bad-answer`, `not-reached`.
 */
export async function requireRoute(
  runtime: Pick<Runtime, 'configFolder' | 'signal' | 'clock' | 'io'>,
  host: string,
  via: string,
): Promise<void> {
  if (!isIpAddress(host)) throw new UsageError(`--via needs the camera's IP address, not ${host}.`);
  const { parties } = await askStatus(runtime);
  const party = parties.find(({ peers }) => peers.some(({ name, id }) => name === via || id === via));
  const member = party?.peers.find(({ name, id }) => name === via || id === via);
  if (party === undefined || member === undefined) {
    const names = parties.flatMap(({ peers }) => peers.map(({ name }) => name)).join(', ') || 'none';
    throw new UsageError(`No member ${via}. Members: ${names}.`);
  }
  const isRouted = party.accepts.some(({ peer, network }) => {
    const subnet = peer === member.name || peer === member.id ? parseSubnet(network) : undefined;
    return subnet !== undefined && inSubnet(host, subnet);
  });
  if (!isRouted) {
    throw new UsageError(
      `${host} is not routed through ${via}. Next: towpath camera add NAME ${host} --via ${via}, or towpath up --accept ${via}=${host}/32`,
    );
  }
  if (member.status !== 'connected' && member.status !== 'degraded') {
    throw new TowpathError('not-reached', `${via} is not reached: ${member.reason.text}. Next: towpath why ${via}`, {
      target: via,
      kind: 'unreachable',
    });
  }
}
