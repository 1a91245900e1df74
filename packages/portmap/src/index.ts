export {
  type GatewayProbeOptions,
  type GatewayServices,
  probeGateway,
  type ServiceProbe,
  type UpnpProbe,
} from './gateway-probe.ts';
export type {
  GrantedMapping,
  MappedPort,
  MappedPortEvents,
  MappingProtocolName,
  MappingRequest,
} from './mapping.ts';
export {
  PortMapper,
  type PortMapperComponents,
  type PortMapperOptions,
} from './port-mapper.ts';
export { PortmapError, type PortmapErrorCode } from './portmap-error.ts';
