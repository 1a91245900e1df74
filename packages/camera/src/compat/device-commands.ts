import { encodeMessage } from '@towpath/pppp/codec';
import { encodeRequestText } from '../artemis/cipher.ts';
import { CommandId } from '../artemis/command-id.ts';
import { requestText } from '../artemis/commands.ts';
import type { DeviceInfo } from '../artemis/device-info.ts';
import { Channel, encodeFrame, MessageType } from '../artemis/frame.ts';
import type { JsonObject } from '../artemis/json.ts';
import type { MediaItem } from '../artemis/media-item.ts';
import { type CameraHandle, engineOf } from './camera-handle.ts';

interface Cancellable {
  signal?: AbortSignal | undefined;
}

/**
 * The commands of the documents by name.
 *
 * @example
 * const commands = new DeviceCommands(client);
 * const { batPercent } = await commands.getDeviceInfo();
 */
export class DeviceCommands {
  readonly #camera: CameraHandle;

  constructor(camera: CameraHandle) {
    this.#camera = camera;
  }

  /** Command 0: connects and logs in. @throws CameraError as `CameraClient.connectWithRetries` of this package. */
  login(options: Cancellable = {}): Promise<void> {
    return engineOf(this.#camera).connectWithRetries(options);
  }

  /** Command 258. The camera then sends live video and audio. @throws CameraError as {@link sendCommand} */
  startAv(options: Cancellable = {}): Promise<JsonObject> {
    return this.sendCommand(CommandId.startAv, {}, options);
  }

  /** Command 259. @throws CameraError as {@link sendCommand} */
  stopAv(options: Cancellable = {}): Promise<JsonObject> {
    return this.sendCommand(CommandId.stopAv, {}, options);
  }

  /** Command 512. @throws CameraError as {@link sendCommand} */
  getDeviceInfo(options: Cancellable = {}): Promise<DeviceInfo> {
    return engineOf(this.#camera).deviceInfo(options);
  }

  /** Command 768, all pages: the items on the card, newest first. @throws CameraError as {@link sendCommand} */
  async getMediaList(options: Cancellable = {}): Promise<MediaItem[]> {
    return await Array.fromAsync(engineOf(this.#camera).mediaList(options));
  }

  /**
   * Sends a command by its number and returns the fields of the response.
   * @throws CameraError `command-timeout`, `command-refused`, `bad-response`, `not-logged-in`, `session-closed`; the
   * signal's reason when it aborts.
   */
  sendCommand(id: number, fields: object = {}, options: Cancellable = {}): Promise<JsonObject> {
    return engineOf(this.#camera).command(id, fields, options);
  }
}

/**
 * Returns a heartbeat as it is sent: a data packet (DRW, 0xF1 0xD0, sub-header 0xD1) for the command channel with
 * command 525. docs/protocol/artemis.md, "Requests and responses".
 *
 * @param sequence sequence number of the request, from 65537
 * @param index index of the data packet on its channel, 0 to 65535
 */
export function wrapHeartbeat(sequence: number, index: number): Uint8Array {
  const text = encodeRequestText(requestText(CommandId.heartbeat, {}));
  const data = encodeFrame(MessageType.request, sequence, text);
  return encodeMessage({ type: 'DRW', channel: Channel.command, index, data });
}
