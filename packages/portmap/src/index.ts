export { defaultGateway } from './default-gateway.ts';
export {
  type GatewayProbeOptions,
  type GatewayServices,
  probeGateway,
  type ServiceProbe,
  type UpnpProbe,
} from './gateway-probe.ts';
export type { GrantedMapping, MappingProtocolName, MappingRequest } from './mapping.ts';
export {
  type MappedPort,
  type MappedPortEvents,
  PortMapper,
  type PortMapperComponents,
  type PortMapperInit,
} from './port-mapper.ts';
export { PortmapError, type PortmapErrorCode } from './portmap-error.ts';
