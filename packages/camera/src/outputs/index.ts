/** What a camera's pictures and video can be handed on to. */
export { LiveMp4, type LiveMp4Components, type LiveMp4Options, type LiveMp4Summary } from './live-mp4.ts';
export { runVisits, type VisitsComponents, type VisitsOptions } from './visits.ts';
export type { VisitTimes } from './visit-times.ts';
export type { LiveSource } from './live-source.ts';
export type { RtspUser } from './rtsp/digest.ts';
export { RtspServer, type RtspServerComponents, type RtspServerOptions } from './rtsp/rtsp-server.ts';
export { type CameraReadings, topicId } from './mqtt/discovery.ts';
export { AnnouncedItems } from './events/announced-items.ts';
export {
  Delivery,
  type Deliver,
  type DeliveryComponents,
  type DeliveryOptions,
  type Refusal,
} from './events/delivery.ts';
export { EventQueue, type EventQueueOptions } from './events/event-queue.ts';
export {
  type ReceiverFailure,
  ReceiverHealth,
  type ReceiverHealthComponents,
  type ReceiverHealthOptions,
} from './events/receiver-health.ts';
export { MqttOutput, type MqttOutputComponents, type MqttOutputOptions } from './mqtt/mqtt-output.ts';
export type { PictureEvent } from './picture-event.ts';
export { Webhook, type WebhookComponents, type WebhookOptions } from './webhook.ts';
export { HttpOutputs, type HttpOutputsComponents, type HttpOutputsOptions } from './http/http-outputs.ts';
export { NewestPicture } from './newest-picture.ts';
export {
  exportFile,
  type ExportFileOptions,
  exportFolder,
  type ExportOptions,
  type ExportSummary,
} from './export/export-folder.ts';
