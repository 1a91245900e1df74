export { type NetcheckComponents, type NetcheckOptions, netcheck } from './netcheck.ts';
export type { PortMappingCheck } from './port-mapping.ts';
export type { PortalCheck } from './portal.ts';
export type { LookUpFailure } from './look-ups.ts';
export type {
  BeyondGateway,
  FamilyReport,
  FamilyVerdict,
  LocalAddress,
  NetcheckReport,
  Transport,
  Unmeasured,
} from './report.ts';
export type { ServerCheck, ServerToCheck, TransportCheck } from './server-check.ts';
export { describeNetcheck } from './words.ts';
