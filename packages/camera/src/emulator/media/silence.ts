/** Length of one AAC frame of {@link SILENT_AAC_FRAME}: 1024 samples at 16 kHz. */
export const AAC_FRAME_MS = 64;

// ISO/IEC 14496-3: raw_data_block with one single_channel_element of no scale factor bands, then ID_END: 29 zeros, 111.
const RAW_DATA_BLOCK = [0x00, 0x00, 0x00, 0x07];

/** One AAC-LC frame of silence in ADTS, 16 kHz mono (docs/protocol/artemis.md, "Audio and video"). */
export const SILENT_AAC_FRAME: Uint8Array = new Uint8Array([
  0xff,
  0xf1, // MPEG-4, no CRC
  0x60, // AAC-LC, sampling frequency index 8 (16 kHz)
  0x40, // one channel
  (7 + RAW_DATA_BLOCK.length) >> 3,
  (((7 + RAW_DATA_BLOCK.length) & 7) << 5) | 0x1f,
  0xfc, // variable bit rate, one block
  ...RAW_DATA_BLOCK,
]);
