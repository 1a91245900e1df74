/** The sender of the bare loop in a process of its own. */
import { openBareSender } from '../support/bare-loop.ts';
import { parentLeft, tell } from '../support/worker.ts';

/** Its message when it listens. */
export interface BareSenderReady {
  port: number;
}

const sender = await openBareSender();
const ready: BareSenderReady = { port: sender.port };
tell(ready);
await parentLeft();
sender.close();
