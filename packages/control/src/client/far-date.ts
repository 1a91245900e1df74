import { dateText, MAX_CLOCK_SKEW_MS } from '@towpath/membership';
import { ControlError } from '../control-error.ts';

/** The two clocks are too far apart for the server's date to be followed. @param nowMs by this machine's clock. */
export function farDate(server: string, serverTimeMs: number, nowMs: number): ControlError {
  return new ControlError(
    'clock-skew',
    `The control server ${server} says that it is ${dateText(serverTimeMs)}, this machine's clock says ${dateText(nowMs)}; ` +
      `${MAX_CLOCK_SKEW_MS / 60_000} minutes may lie between them. Next: compare with another clock. ` +
      "If this machine's is wrong, set it; if it is right, do not use that server.",
    { target: server, details: { serverTimeMs } },
  );
}
