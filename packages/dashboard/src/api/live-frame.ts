/** Binary messages of the live WebSocket: this header, then one H.264 access unit in Annex B. */
export const LIVE_HEADER_BYTES = 9;

/** Decodes a binary message; undefined when it is too short. */
export function decodeLiveFrame(
  message: Uint8Array,
): { keyFrame: boolean; timestampUs: number; data: Uint8Array } | undefined {
  if (message.length < LIVE_HEADER_BYTES) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  return {
    keyFrame: view.getUint8(0) === 1,
    timestampUs: view.getFloat64(1),
    data: message.subarray(LIVE_HEADER_BYTES),
  };
}

/** Encodes a binary message of the live WebSocket. */
export function encodeLiveFrame(frame: { keyFrame: boolean; timestampUs: number; data: Uint8Array }): Uint8Array {
  const message = new Uint8Array(LIVE_HEADER_BYTES + frame.data.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, frame.keyFrame ? 1 : 0);
  view.setFloat64(1, frame.timestampUs);
  message.set(frame.data, LIVE_HEADER_BYTES);
  return message;
}
