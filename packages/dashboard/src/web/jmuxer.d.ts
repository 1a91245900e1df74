/** What of jmuxer is used; the package has no types. */
declare module 'jmuxer' {
  export default class JMuxer {
    constructor(options: {
      node: HTMLVideoElement;
      mode: 'video';
      flushingTime?: number;
      clearBuffer?: boolean;
      fps?: number;
      debug?: boolean;
    });
    feed(data: { video: Uint8Array; duration?: number }): void;
    destroy(): void;
  }
}
