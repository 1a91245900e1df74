export { SimulatedWireGuard, type SimulatedWireGuardComponents } from './simulated-wireguard.ts';
