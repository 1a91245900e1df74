export { HostSplice, type HostSpliceOptions, type SplicedPeer } from './host-splice.ts';
export { KernelRelay, type KernelRelayOptions, type RelaySession, type SessionCounters } from './kernel-relay.ts';
export { type PlaneAccount, type PlaneStats, RelayPlane, type RelayPlaneOptions } from './relay-plane.ts';
export { NodeSystem } from './node-system.ts';
export { type Prefix, PrefixTranslation, type PrefixTranslationOptions } from './prefix-translation.ts';
export { type KernelSupport, probeKernel } from './probe-kernel.ts';
export { type PayloadPattern, type RelayForm, STUN_PATTERN } from './relay-rules.ts';
export { SpliceError, type SpliceErrorCode } from './splice-error.ts';
