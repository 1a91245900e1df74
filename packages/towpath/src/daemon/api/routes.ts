import type { DaemonHealth } from '@towpath/dashboard/api';
import { newCameraSchema, newInviteSchema, routes } from '@towpath/dashboard/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { PathReason, TowpathError } from '@towpath/core';
import { z } from 'zod';
import type { Daemon } from '../daemon.ts';
import type { PeerRecord } from '../parties/peer-record.ts';
import { type PartyRunner, requireNode } from '../parties/party-runner.ts';
import { issueInvite, listInvites, revokeInviteOf } from '../parties/invites.ts';

/** Parts of a path, which Fastify has decoded. */
export function part(request: FastifyRequest, name: string): string {
  return z
    .string()
    .min(1)
    .max(300)
    .parse((request.params as Record<string, unknown>)[name]);
}

/** Answers about parties, peers, cameras and the daemon itself. */
export function addRoutes(app: FastifyInstance, daemon: Daemon): void {
  const party = (request: FastifyRequest) => daemon.party(part(request, 'party'));
  app.get(routes.status.path, () => daemon.status());
  app.get(routes.parties.path, () => daemon.describeParties());
  app.get(routes.party.path, (request) => party(request).describe());
  app.get(routes.peers.path, (request) => party(request).peers());
  app.get(routes.peer.path, (request) => {
    const runner = party(request);
    return findPeer(runner, part(request, 'peer')).detail(runner.party.id);
  });
  app.post(routes.ping.path, async (request) => {
    const runner = party(request);
    const { connection } = findPeer(runner, part(request, 'peer'));
    const rttMs = await requireNode(runner).manager.ping(connection.peerId);
    return { rttMs: rttMs ?? null };
  });
  app.post(routes.refreshPeer.path, (request, reply) => {
    findPeer(party(request), part(request, 'peer')).connection.refresh(PathReason.requested);
    return reply.status(202).send({});
  });
  app.get(routes.invites.path, (request) => listInvites(daemon.runtime, party(request)));
  app.post(routes.createInvite.path, async (request, reply) => {
    const invite = await issueInvite(daemon.runtime, party(request), newInviteSchema.parse(request.body ?? {}));
    return reply.status(201).send(invite);
  });
  app.delete(routes.revokeInvite.path, async (request, reply) => {
    await revokeInviteOf(party(request), part(request, 'invite'));
    return reply.status(204).send();
  });
  app.get(routes.relays.path, () => [...daemon.parties.values()].flatMap((runner) => runner.relays()));
  app.get(routes.netcheck.path, () => daemon.checks.state);
  app.post(routes.runNetcheck.path, (_request, reply) => reply.status(202).send(daemon.checks.start()));
  app.get(routes.cameras.path, () => daemon.describeCameras());
  app.get(routes.camera.path, (request) => daemon.camera(part(request, 'camera')).describe());
  app.post(routes.addCamera.path, async (request, reply) =>
    reply.status(201).send(await daemon.addCamera(newCameraSchema.parse(request.body))),
  );
  app.delete(routes.removeCamera.path, async (request, reply) => {
    await daemon.removeCamera(part(request, 'camera'));
    return reply.status(204).send();
  });
  app.get(routes.metrics.path, async (_request, reply) =>
    reply.type(daemon.metrics.contentType).send(await daemon.metrics.page()),
  );
}

/** The state of the daemon without any detail: it is answered to everybody on this machine. */
export function healthOf(daemon: Daemon): DaemonHealth {
  const problems = [...new Set(daemon.problems().map(({ code }) => code))];
  return { status: problems.length === 0 ? 'ok' : 'degraded', problems };
}

/** A peer by id, name, virtual address, or the beginning of its id. @throws TowpathError `not-found`, `conflict`. */
export function findPeer({ records, party }: PartyRunner, wanted: string): PeerRecord {
  const exact = records.get(wanted);
  if (exact !== undefined) return exact;
  const meant = [...records.values()].filter(
    ({ connection: { peerId, virtualIp, peerInfo } }) =>
      peerInfo.name.toLowerCase() === wanted.toLowerCase() ||
      virtualIp === wanted ||
      (wanted.length >= 4 && peerId.startsWith(wanted.toLowerCase())),
  );
  const [only] = meant;
  if (only !== undefined && meant.length === 1) return only;
  const names = [...records.values()].map(({ connection }) => connection.peerInfo.name).join(', ') || 'none';
  throw meant.length > 1
    ? new TowpathError('conflict', `Several members match "${wanted}". Next: give the address.`, { kind: 'usage' })
    : new TowpathError('not-found', `No member ${wanted} in ${party.name}. Members: ${names}.`, { kind: 'usage' });
}
