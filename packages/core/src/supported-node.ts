import { TowpathError } from './errors.ts';

// Evaluated before everything else: otherwise the first call that misses a function of the platform fails, as a connection that failed.
if (!('withResolvers' in Promise)) {
  throw new TowpathError(
    'unsupported-node',
    `Towpath needs Node 22.16 or newer, and this is ${process.version}. Next: install it from your system or nodejs.org.`,
    { kind: 'local' },
  );
}
