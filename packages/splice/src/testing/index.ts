/**
 * A host whose packet filter is simulated, for tests of what uses it.
 *
 * @packageDocumentation
 */
export { FakeChild, FakeKernel, type FakeDatagram } from './fake-kernel.ts';
