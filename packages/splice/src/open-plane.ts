import { errorMessage } from '@towpath/core';
import type { TablesComponents } from './owned-tables.ts';
import { probeKernel } from './probe-kernel.ts';
import { RelayPlane, type RelayPlaneOptions } from './relay-plane.ts';

/** The data plane that a server uses, and why. */
export interface ChosenPlane {
  /** Undefined: every packet goes through this process. */
  readonly plane: RelayPlane | undefined;
  /** One or two sentences. */
  readonly reason: string;
}

/**
 * Finds out whether the kernel can forward for a relay, and opens its tables if so. Does not throw.
 * @param options of the tables; `addresses` are the relay's own
 */
export async function openRelayPlane(
  components: TablesComponents,
  options: Omit<RelayPlaneOptions, 'form'>,
): Promise<ChosenPlane> {
  const support = await probeKernel(components, options.addresses);
  if (!support.usable) return { plane: undefined, reason: support.reason };
  try {
    return { plane: await RelayPlane.open(components, { ...options, form: support.form }), reason: support.reason };
  } catch (error) {
    return { plane: undefined, reason: errorMessage(error) };
  }
}
