import type { Endpoint } from '@towpath/net';
import {
  type AddressErrorCodeValue,
  type Attribute,
  addressAttribute,
  addressErrorCodeAttribute,
  bytesAttribute,
  type ChangeRequestValue,
  changeRequestAttribute,
  type ErrorCodeValue,
  errorCodeAttribute,
  familyAttribute,
  flagAttribute,
  type IcmpValue,
  icmpAttribute,
  leadingUintAttribute,
  MAX_TEXT_BYTES,
  type PasswordAlgorithmValue,
  passwordAlgorithmsAttribute,
  textAttribute,
  topBitAttribute,
  typeListAttribute,
  uint32Attribute,
  uint64Attribute,
} from './attribute.ts';

/** USERNAME is at most 508 bytes (RFC 8489 §14.3). */
export const MAX_USERNAME_BYTES = 508;

/** Types of this value and above may be ignored by receivers that do not know them (RFC 8489 §14). */
export const COMPREHENSION_OPTIONAL = 0x8000;

// RFC 8489 §14, and the ones older servers still send.
export const mappedAddress: Attribute<Endpoint> = addressAttribute(0x0001, 'MAPPED-ADDRESS', false);
export const username: Attribute<string> = textAttribute(0x0006, 'USERNAME', MAX_USERNAME_BYTES);
export const messageIntegrity: Attribute<Uint8Array> = bytesAttribute(0x0008, 'MESSAGE-INTEGRITY', 20, 20);
export const errorCode: Attribute<ErrorCodeValue> = errorCodeAttribute(0x0009, 'ERROR-CODE');
export const unknownAttributes: Attribute<readonly number[]> = typeListAttribute(0x000a, 'UNKNOWN-ATTRIBUTES');
export const realm: Attribute<string> = textAttribute(0x0014, 'REALM', MAX_TEXT_BYTES);
export const nonce: Attribute<string> = textAttribute(0x0015, 'NONCE', MAX_TEXT_BYTES);
export const messageIntegritySha256: Attribute<Uint8Array> = bytesAttribute(0x001c, 'MESSAGE-INTEGRITY-SHA256', 16, 32);
export const passwordAlgorithm: Attribute<readonly PasswordAlgorithmValue[]> = passwordAlgorithmsAttribute(
  0x001d,
  'PASSWORD-ALGORITHM',
);
export const userhash: Attribute<Uint8Array> = bytesAttribute(0x001e, 'USERHASH', 32, 32);
export const xorMappedAddress: Attribute<Endpoint> = addressAttribute(0x0020, 'XOR-MAPPED-ADDRESS', true);
export const passwordAlgorithms: Attribute<readonly PasswordAlgorithmValue[]> = passwordAlgorithmsAttribute(
  0x8002,
  'PASSWORD-ALGORITHMS',
);
export const alternateDomain: Attribute<string> = textAttribute(0x8003, 'ALTERNATE-DOMAIN', 255);
export const software: Attribute<string> = textAttribute(0x8022, 'SOFTWARE', MAX_TEXT_BYTES);
export const alternateServer: Attribute<Endpoint> = addressAttribute(0x8023, 'ALTERNATE-SERVER', false);
export const fingerprint: Attribute<number> = uint32Attribute(0x8028, 'FINGERPRINT');

// ICE: RFC 8445 §16.1.
export const priority: Attribute<number> = uint32Attribute(0x0024, 'PRIORITY');
export const useCandidate: Attribute<true> = flagAttribute(0x0025, 'USE-CANDIDATE');
export const iceControlled: Attribute<bigint> = uint64Attribute(0x8029, 'ICE-CONTROLLED');
export const iceControlling: Attribute<bigint> = uint64Attribute(0x802a, 'ICE-CONTROLLING');

// NAT behaviour: RFC 5780 §7.
export const changeRequest: Attribute<ChangeRequestValue> = changeRequestAttribute(0x0003, 'CHANGE-REQUEST');
export const padding: Attribute<Uint8Array> = bytesAttribute(0x0026, 'PADDING');
export const responsePort: Attribute<number> = leadingUintAttribute(0x0027, 'RESPONSE-PORT', 2);
export const cacheTimeout: Attribute<number> = uint32Attribute(0x8027, 'CACHE-TIMEOUT');
export const responseOrigin: Attribute<Endpoint> = addressAttribute(0x802b, 'RESPONSE-ORIGIN', false);
export const otherAddress: Attribute<Endpoint> = addressAttribute(0x802c, 'OTHER-ADDRESS', false);

// TURN: RFC 8656 §18.
export const channelNumber: Attribute<number> = leadingUintAttribute(0x000c, 'CHANNEL-NUMBER', 2);
export const lifetime: Attribute<number> = uint32Attribute(0x000d, 'LIFETIME');
export const xorPeerAddress: Attribute<Endpoint> = addressAttribute(0x0012, 'XOR-PEER-ADDRESS', true);
export const data: Attribute<Uint8Array> = bytesAttribute(0x0013, 'DATA');
export const xorRelayedAddress: Attribute<Endpoint> = addressAttribute(0x0016, 'XOR-RELAYED-ADDRESS', true);
export const requestedAddressFamily: Attribute<4 | 6> = familyAttribute(0x0017, 'REQUESTED-ADDRESS-FAMILY');
export const evenPort: Attribute<boolean> = topBitAttribute(0x0018, 'EVEN-PORT');
export const requestedTransport: Attribute<number> = leadingUintAttribute(0x0019, 'REQUESTED-TRANSPORT', 1);
export const dontFragment: Attribute<true> = flagAttribute(0x001a, 'DONT-FRAGMENT');
export const reservationToken: Attribute<Uint8Array> = bytesAttribute(0x0022, 'RESERVATION-TOKEN', 8, 8);
export const additionalAddressFamily: Attribute<4 | 6> = familyAttribute(0x8000, 'ADDITIONAL-ADDRESS-FAMILY');
export const addressErrorCode: Attribute<AddressErrorCodeValue> = addressErrorCodeAttribute(
  0x8001,
  'ADDRESS-ERROR-CODE',
);
export const icmp: Attribute<IcmpValue> = icmpAttribute(0x8004, 'ICMP');

// Plain relaying: docs/protocol/turn-plain.md.
export const plainRelay: Attribute<true> = flagAttribute(0xc7a0, 'PLAIN-RELAY');
/** docs/protocol/connectivity.md, "Suspicion": for how long nothing was heard although data was sent, ms. */
export const unheardFor: Attribute<number> = uint32Attribute(0xc7a2, 'UNHEARD-FOR');
export const xorPlainAddress: Attribute<Endpoint> = addressAttribute(0xc7a1, 'XOR-PLAIN-ADDRESS', true);

// TURN over TCP: RFC 6062 §6.2.
export const connectionId: Attribute<number> = uint32Attribute(0x002a, 'CONNECTION-ID');
