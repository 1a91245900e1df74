import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ControlError } from '../control-error.ts';
import {
  fromBase64,
  KEY_BYTES,
  type LogHead,
  MAX_SEALED_INVITE_BYTES,
  MAX_STATEMENT_BYTES,
  type PartyId,
  toBase64,
  toHex,
} from '@towpath/membership';
import type { AppendOutcome } from '../server/party-directory.ts';
import type { ControlService } from '../server/service.ts';
import { SETUP_PROOF_BYTES } from '../wire/setup-code.ts';
import { base64Text, idText, relaySchema, sequenceNumber } from '../wire/messages.ts';
import { NONCE_BYTES, type RequestClaims } from '../wire/request-signing.ts';
import { MAX_ASKED_MEMBERS } from '../wire/turn-user.ts';

/** Security requirement of signed requests in the OpenAPI document. */
const signed = [{ nodeSignature: [] }];

const headSchema = z.object({ sequence: sequenceNumber, hash: z.string().regex(/^[0-9a-f]{64}$/) });
const statementText = base64Text(MAX_STATEMENT_BYTES).describe('One statement, encoded and signed, as base64url.');
const errorSchema = z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()) });
const conflictSchema = errorSchema.extend({ head: headSchema.nullable(), statements: z.array(statementText) });
const partySchema = z.object({
  party: idText,
  name: z.string(),
  head: headSchema,
  members: z.array(
    z.object({
      id: idText,
      name: z.string(),
      role: z.enum(['founder', 'admin', 'member']),
      virtualAddress: z.string(),
      joinedAtMs: z.number(),
      online: z.boolean(),
      announcement: z.string().optional(),
    }),
  ),
});
const partyParams = z.object({ party: idText });
const errors = { '4xx': errorSchema, '5xx': errorSchema };
const appended = { 201: z.object({ party: idText, head: headSchema }), 409: conflictSchema, ...errors };

const ASKED_MEMBERS = new RegExp(
  `^[0-9a-f]{32}\\.[0-9a-f]{32}(,[0-9a-f]{32}\\.[0-9a-f]{32}){0,${MAX_ASKED_MEMBERS - 1}}$`,
);

/** What the routes need from their server. */
export interface RouteGuard {
  /** The verified claims of a request. */
  claimsOf(request: FastifyRequest): RequestClaims;
  /** @throws ControlError `limit-exceeded`. */
  admitCreation(request: FastifyRequest): void;
}

/** Registers the API for nodes. */
export function registerRoutes(instance: FastifyInstance, service: ControlService, guard: RouteGuard): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const by = (request: FastifyRequest) => guard.claimsOf(request).key;

  app.post(
    '/v1/parties',
    {
      config: { cost: 8 },
      schema: {
        summary: 'Create a party from its first statement',
        security: signed,
        body: z.object({ statement: statementText, setupProof: base64Text(SETUP_PROOF_BYTES).optional() }),
        response: appended,
      },
    },
    async (request, reply) => {
      guard.admitCreation(request);
      const outcome = await service.create(bytesOf(request.body.statement), by(request), request.body.setupProof);
      const answer = appendAnswer(outcome.party, outcome);
      return 'party' in answer ? reply.code(201).send(answer) : reply.code(409).send(answer);
    },
  );

  app.post(
    '/v1/parties/:party/statements',
    {
      schema: {
        summary: 'Append the next statement to the log of a party',
        security: signed,
        params: partyParams,
        body: z.object({ statement: statementText }),
        response: appended,
      },
    },
    async (request, reply) => {
      const { party } = request.params;
      const outcome = await service.append(party, bytesOf(request.body.statement), by(request));
      const answer = appendAnswer(party, outcome);
      return 'party' in answer ? reply.code(201).send(answer) : reply.code(409).send(answer);
    },
  );

  app.get(
    '/v1/parties/:party/statements',
    {
      config: { cost: 8 },
      schema: {
        summary: 'Read the log of a party; signed by a member, a former member, or the key of an invite',
        security: signed,
        params: partyParams,
        querystring: z.object({ from: z.coerce.number().int().min(0).max(0xffff_ffff).default(0) }),
        response: {
          200: z.object({ from: sequenceNumber, length: sequenceNumber, statements: z.array(statementText) }),
          ...errors,
        },
      },
    },
    async (request) => {
      const { from } = request.query;
      const { length, statements } = await service.read(request.params.party, from, by(request));
      return { from, length, statements: statements.map(toBase64) };
    },
  );

  app.get(
    '/v1/parties/:party',
    {
      config: { cost: 8 },
      schema: {
        summary: 'The server’s view of a party, with presence. Without proof: nodes verify the statements',
        security: signed,
        params: partyParams,
        response: { 200: partySchema, ...errors },
      },
    },
    async (request) => {
      const { state, presence } = await service.describe(request.params.party, by(request));
      const members = presence.map(({ peer, ...seen }) => {
        const { id, name, role, virtualAddress, joinedAtMs } = state.members.get(peer)!;
        return { id, name, role, virtualAddress, joinedAtMs, ...seen };
      });
      return { party: state.id, name: state.name, head: headOf(state.head!), members };
    },
  );

  app.put(
    '/v1/parties/:party/invites/:lookup',
    {
      config: { cost: 4 },
      schema: {
        summary: 'Store a sealed invite under the lookup value of its code',
        security: signed,
        params: partyParams.extend({ lookup: idText }),
        body: z.object({
          sealed: base64Text(MAX_SEALED_INVITE_BYTES).min(1),
          inviteKey: base64Text(KEY_BYTES).length(43),
        }),
        response: { 201: z.object({ lookup: idText }), ...errors },
      },
    },
    async (request, reply) => {
      const { party, lookup } = request.params;
      const { sealed, inviteKey } = request.body;
      const invite = { lookup, inviteKey: bytesOf(inviteKey), sealed: bytesOf(sealed) };
      await service.keepInvite(party, invite, by(request));
      return reply.code(201).send({ lookup });
    },
  );

  app.get(
    '/v1/invites/:lookup',
    {
      schema: {
        summary: 'Return a sealed invite; signed by any key',
        security: signed,
        params: z.object({ lookup: idText }),
        response: { 200: z.object({ sealed: z.string() }), ...errors },
      },
    },
    async (request) => ({ sealed: toBase64(await service.findInvite(request.params.lookup)) }),
  );

  app.post(
    '/v1/parties/:party/turn-credentials',
    {
      config: { cost: 2 },
      schema: {
        summary: 'Time-limited credentials for the relays',
        security: signed,
        params: partyParams,
        response: {
          200: z.object({
            username: z.string(),
            credential: z.string(),
            expiresAtMs: z.number(),
            urls: z.array(z.string()),
          }),
          ...errors,
        },
      },
    },
    async (request) => service.turnCredentials(request.params.party, by(request)),
  );

  app.get(
    '/v1/relays',
    {
      schema: {
        summary: 'The relays, healthy and idle ones first; signed by any key',
        security: signed,
        response: { 200: z.object({ relays: z.array(relaySchema) }), ...errors },
      },
    },
    async () => ({ relays: [...service.relays()] }),
  );

  app.put(
    '/v1/relays/:id',
    {
      schema: {
        summary: 'Report a relay, valid for 30 s; signed by one of the configured reporters',
        security: signed,
        params: z.object({ id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/) }),
        body: relaySchema,
        response: { 200: z.object({ id: z.string() }), ...errors },
      },
    },
    async (request) => {
      const { id } = request.params;
      if (request.body.id !== id) throw new ControlError('invalid-request', 'The ids in path and body differ.');
      await service.reportRelay(request.body, by(request));
      return { id };
    },
  );

  app.get(
    '/v1/removed-members',
    {
      config: { cost: 4 },
      schema: {
        summary: 'Which members are members no more; signed by a relay with the secret of TURN credentials',
        security: signed,
        querystring: z.object({
          members: z.string().regex(ASKED_MEMBERS).describe('MEMBER.PARTY, separated by commas, at most 64.'),
          challenge: base64Text(NONCE_BYTES).length(22),
        }),
        response: { 200: z.object({ removed: z.array(z.string()), proof: z.string() }), ...errors },
      },
    },
    async (request) => {
      const { members, challenge } = request.query;
      const asked = members.split(',').map((text) => {
        const [member = '', party = ''] = text.split('.');
        return { member, party };
      });
      return service.removedMembers(asked, challenge, by(request));
    },
  );

  app.get(
    '/v1/socket',
    {
      schema: {
        summary: 'The WebSocket of a node: signals and changes. Returns 426 without an upgrade',
        security: signed,
        response: { 101: z.null().describe('Upgraded.'), 426: errorSchema, ...errors },
      },
    },
    async (_, reply) =>
      reply
        .code(426)
        .header('upgrade', 'websocket')
        .send({ code: 'invalid-request', message: 'This route needs a WebSocket upgrade.', details: {} }),
  );
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromBase64(text);
  if (bytes === undefined) throw new ControlError('invalid-request', 'Invalid base64url: no padding allowed.');
  return bytes;
}

function headOf({ sequence, hash }: LogHead): { sequence: number; hash: string } {
  return { sequence, hash: toHex(hash) };
}

function appendAnswer(
  party: PartyId,
  outcome: AppendOutcome,
): { party: string; head: z.infer<typeof headSchema> } | z.infer<typeof conflictSchema> {
  if (outcome.ok)
    return { party, head: headOf({ sequence: outcome.statement.sequence, hash: outcome.statement.hash }) };
  return {
    code: 'conflict',
    message: 'Another statement was appended first. Next: sign again after these statements.',
    details: {},
    head: outcome.head === undefined ? null : headOf(outcome.head),
    statements: outcome.statements.map(toBase64),
  };
}
