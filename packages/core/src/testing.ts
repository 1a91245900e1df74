/** For tests of code that takes a `Clock`. */
export { VirtualClock } from './virtual-clock.ts';
