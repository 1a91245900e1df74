export { type EndpointTextFailure, type EndpointTextResult, parseEndpoint } from './endpoint-text.ts';
export { addressFamily, isIpAddress } from './ip.ts';
