import {
  ARTEMIS_DISCOVERY_TIMEOUT,
  CameraClient,
  MAX_CONNECTION_RETRIES,
  MAX_TOTAL_CONNECTION_TIME,
  RETRY_BACKOFF_SEQUENCE,
} from '@towpath/camera/compat';
import { exampleArguments } from '../support/failure.ts';

exampleArguments();
console.log(`At most ${MAX_CONNECTION_RETRIES} attempts in ${MAX_TOTAL_CONNECTION_TIME} s`);
console.log(`Waits between them: ${RETRY_BACKOFF_SEQUENCE.join(', ')} s`);
console.log(`Time limit of one search: ${ARTEMIS_DISCOVERY_TIMEOUT} s`);

// Nobody answers at this address (RFC 5737), so all attempts fail.
await using client = new CameraClient('192.0.2.1', {
  config: {
    MAX_CONNECTION_RETRIES: 2,
    RETRY_BACKOFF_SEQUENCE: [0.2],
    ARTEMIS_DISCOVERY_TIMEOUT: 0.5,
  },
});
console.log(`Connected: ${await client.connectWithRetries()}`);
console.log(`State: ${client.state}`);
console.log(client.lastError?.message);
