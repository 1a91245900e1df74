import { TowpathError, type TowpathErrorOptions } from '@towpath/core';

export type SpliceErrorCode =
  /** The program `nft` is not installed. */
  | 'nft-missing'
  /** The process may not change the packet filter. */
  | 'not-permitted'
  /** The kernel or nft lacks something that the rules need. */
  | 'not-supported'
  /** nft answered with an error. */
  | 'nft-rejected'
  /** nft did not answer in time. */
  | 'nft-timeout'
  /** nft ended. */
  | 'nft-ended'
  /** A value that is no address, port or count. */
  | 'invalid-value'
  /** The kernel has no usable route to an address. */
  | 'no-route'
  /** No more sessions fit. */
  | 'full'
  /** The object was closed. */
  | 'closed';

/** An error of a kernel data plane. */
export class SpliceError extends TowpathError<SpliceErrorCode> {
  constructor(code: SpliceErrorCode, message: string, options?: TowpathErrorOptions) {
    super(code, message, options);
  }
}

/** How an error of nft begins; commands of a file have a place before it. */
export const NFT_ERROR: RegExp = /^(?:\S+:\d+:[\d-]+: )?(?:netlink: )?Error:\s*/m;

/** Returns the error for what nft printed, by the kernel's words in it. */
export function rejection(output: string, context: string): SpliceError {
  const line = output.split('\n').find((each) => NFT_ERROR.test(each)) ?? output.trim();
  const message = `nft rejected ${context}: ${line.replace(NFT_ERROR, '').slice(0, 300)}`;
  if (/Operation not permitted|must be root/i.test(output)) {
    return new SpliceError('not-permitted', `${message}. Next: run as root or grant CAP_NET_ADMIN.`);
  }
  if (/Operation not supported|Protocol not supported|Address family not supported/i.test(output)) {
    return new SpliceError('not-supported', `${message}. Next: use a kernel with nf_tables and its fwd expression.`);
  }
  return new SpliceError('nft-rejected', message);
}
