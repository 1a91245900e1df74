export { defaultGateway } from './default-gateway.ts';
export type { GrantedMapping, MappingProtocolName, MappingRequest } from './mapping.ts';
export {
  type MappedPort,
  type MappedPortEvents,
  PortMapper,
  type PortMapperComponents,
  type PortMapperInit,
} from './port-mapper.ts';
export { PortmapError, type PortmapErrorCode } from './portmap-error.ts';
