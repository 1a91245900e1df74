/** Reads the messages and files of a camera out of captured traffic. */
export { ConversationDecoder, type ConversationDecoderOptions } from './conversation-decoder.ts';
export { captureJsonLines, conversationDocument, type DecodedCapture, decodeCapture } from './decode-capture.ts';
export type { ConversationSummary, DecodedMessage, MessageJson } from './decoded-message.ts';
export { type ExtractedFile, MediaExtractor, type MediaTarget } from './media-extractor.ts';
export { summaryLines, transcriptLine } from './transcript.ts';
