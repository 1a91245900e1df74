import assert from 'node:assert/strict';
import {
  ARTEMIS_KEEPALIVE_INTERVAL,
  CMD_DEVICE_INFO,
  CMD_HEARTBEAT,
  CMD_LOGIN,
  CMD_MEDIA_LIST,
  CMD_START_AV,
  CMD_STOP_AV,
  DEFAULT_LAN_PORTS,
  HEARTBEAT_INTERVAL_SEC,
  wrapHeartbeat,
} from '@towpath/camera/compat';
import { exampleArguments } from '../support/failure.ts';

exampleArguments();
assert.deepEqual(
  [CMD_LOGIN, CMD_START_AV, CMD_STOP_AV, CMD_DEVICE_INFO, CMD_HEARTBEAT, CMD_MEDIA_LIST],
  [0, 258, 259, 512, 525, 768],
);
assert.equal(HEARTBEAT_INTERVAL_SEC, 3);
assert.equal(ARTEMIS_KEEPALIVE_INTERVAL, 3);
console.log(`Port that is tried first: ${DEFAULT_LAN_PORTS[0]}`);

// A heartbeat as it is sent: a data packet with the sub-header 0xD1.
const packet = wrapHeartbeat(65_537, 0);
console.log(`Heartbeat: ${packet.length} bytes, ${Buffer.from(packet.subarray(0, 8)).toString('hex')}…`);
