export type {
  CapturedEndpoint,
  CapturedPacket,
  CaptureDirection,
  CaptureFormat,
  CaptureProblem,
  CaptureProblemCode,
} from './captured-packet.ts';
export {
  CaptureError,
  type CaptureErrorCode,
  type PcapPacket,
  PcapWriter,
  type PcapWriterOptions,
} from './pcap-writer.ts';
export {
  type CaptureReport,
  detectCaptureFormat,
  type ReadCaptureOptions,
  readCapture,
} from './read-capture.ts';
