export type {
  CloseReason,
  PpppSession,
  SessionHandlers,
  SessionMode,
  SessionRole,
  SessionStats,
} from './session-types.ts';
