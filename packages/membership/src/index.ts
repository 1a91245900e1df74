export { PartyDataError, type PartyDataErrorCode } from './party-data-error.ts';
export { fromBase32 } from './encoding/base32.ts';
export { ByteReader, ByteWriter, equalBytes, fromBase64, fromHex, toBase64, toHex } from './encoding/bytes.ts';
export {
  agree,
  generateSigningKey,
  generateWireGuardKey,
  ID_BYTES,
  KEY_BYTES,
  type PartyId,
  partyIdOf,
  type PeerId,
  peerIdOf,
  sha256,
  SIGNATURE_BYTES,
  type SignatureVerifier,
  type SigningKey,
  signingKeyFromSeed,
  verifySignature,
  verifySignatureInPool,
  type WireGuardKey,
  wireGuardKeyFromPrivate,
} from './identity/keys.ts';
export { VIRTUAL_NETWORK, virtualAddressFor } from './party/address.ts';
export {
  MAX_ANNOUNCEMENT_AGE_MS,
  MAX_ANNOUNCEMENT_BYTES,
  MAX_ANNOUNCEMENT_DATA_BYTES,
  foreignAnnouncementVersion,
  openAnnouncement,
  signAnnouncement,
} from './party/announcement.ts';
export {
  authorAppointment,
  authorByMember,
  authorFounderReplacement,
  authorGenesis,
  authorJoin,
  authorRotation,
  type MemberContent,
  type NodeKeys,
} from './party/author.ts';
export {
  formatInviteLink,
  generateInviteCode,
  type Invite,
  isInviteCode,
  MAX_SEALED_INVITE_BYTES,
  openInviteCode,
  parseInviteLink,
  sealInvite,
  unsealInvite,
} from './party/invite.ts';
export { type InviteRecord, type LogHead, type Member, PartyState } from './party/party-state.ts';
export { dateText, latestAcceptableMs, MAX_CLOCK_SKEW_MS } from './party/clock-skew.ts';
export {
  commitStatement,
  examineStatement,
  failureOf,
  inviteProblem,
  type StatementFailure,
  type StatementReason,
} from './party/rules.ts';
export { MAX_SIGNAL_BYTES, MAX_SIGNAL_DATA_BYTES, SignalChannel } from './party/signal-seal.ts';
export {
  decodeStatement,
  encodeBody,
  type InvitedRole,
  MAX_STATEMENT_BYTES,
  type Role,
  sealStatement,
  signedBytes,
  type SignedStatement,
  type Statement,
  type StatementContent,
} from './party/statement.ts';
export {
  extendLog,
  type LogEntry,
  type LogVerdict,
  replayLog,
  type VerifyOptions,
  verifyLog,
  verifyLogInPool,
} from './party/verify.ts';
