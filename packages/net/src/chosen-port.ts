import { errorCode } from '@towpath/core';

/** Ports that the system may choose before one must have been free with all that follows from it. */
const TRIES = 16;

/**
 * Calls `open` until it succeeds, at most 16 times: the system chooses a free UDP port and does not look whether the ports
 * that follow from its number are free too, such as the TCP port.
 *
 * @param chosen whether the system chooses; otherwise `open` is called once
 * @param open when it throws, it has released what it opened
 */
export async function openOnChosenPort<Opened>(chosen: boolean, open: () => Promise<Opened>): Promise<Opened> {
  for (let left = chosen ? TRIES : 1; ; left--) {
    try {
      return await open();
    } catch (error) {
      if (left <= 1 || errorCode(error) !== 'address-in-use') throw error;
    }
  }
}
