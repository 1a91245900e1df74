export { type NetcheckComponents, type NetcheckOptions, netcheck } from './netcheck.ts';
export type { PortMappingCheck } from './port-mapping.ts';
export type { PortalCheck } from './portal.ts';
export { type NatFacts, type Prospect, prospectsOf, type Way, wayBetween } from './prospects.ts';
export type { FamilyReport, LocalAddress, NetcheckReport, Transport } from './report.ts';
export type { ServerCheck, ServerToCheck, WayCheck } from './server-check.ts';
export { describeNetcheck } from './words.ts';
