import { AudioType, type AvFrame, VideoType } from '../../artemis/av.ts';
import { CameraError } from '../../artemis/camera-error.ts';
import { adtsFormat } from '../adts.ts';
import { AUDIO_PAYLOAD_TYPE, parameterSets, VIDEO_CLOCK_HZ, VIDEO_PAYLOAD_TYPE } from './rtp.ts';

/** What a live stream consists of. */
export interface StreamDescription {
  /** RFC 4566, with track 0 for pictures and 1 for sound. */
  readonly sdp: string;
  /** Sampling rate of the sound, Hz; undefined without sound. */
  readonly soundHz: number | undefined;
}

/** Sound comes within this time after the first picture, or there is none, ms. */
const SOUND_WAIT_MS = 500;

/**
 * Reads the start of a live stream: parameter sets, and whether there is sound.
 * @throws CameraError `bad-response` when it is not H.264; as `CameraClient.live`
 */
export async function describeStream(frames: AsyncIterable<AvFrame>): Promise<StreamDescription> {
  let picture: { frame: AvFrame; sets: { sps: Uint8Array; pps: Uint8Array } } | undefined;
  for await (const frame of frames) {
    if (picture === undefined) {
      if (frame.video.length === 0 || !frame.keyFrame) continue;
      const sets = frame.videoType === VideoType.h264 ? parameterSets(frame.video) : undefined;
      if (sets === undefined) {
        throw new CameraError(
          'bad-response',
          'The live video is not H.264, and RTSP serves nothing else. Next: use --http.',
        );
      }
      picture = { frame, sets };
      continue;
    }
    const isSound = frame.video.length === 0 && frame.audio.length > 0;
    if (isSound && frame.audioType === AudioType.aac) return describe(picture.sets, frame.audio);
    if (isSound || frame.timestamp - picture.frame.timestamp > SOUND_WAIT_MS * 1_000) break;
  }
  if (picture === undefined) throw new CameraError('bad-response', 'The live stream ended before its first picture.');
  return describe(picture.sets, undefined);
}

function describe(
  { sps, pps }: { sps: Uint8Array; pps: Uint8Array },
  sound: Uint8Array | undefined,
): StreamDescription {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const profile = Buffer.from(sps.subarray(1, 4)).toString('hex');
  const lines = [
    'v=0',
    'o=- 0 0 IN IP4 0.0.0.0',
    's=Towpath camera',
    'c=IN IP4 0.0.0.0',
    't=0 0',
    'a=control:*',
    'a=range:npt=now-',
    `m=video 0 RTP/AVP ${VIDEO_PAYLOAD_TYPE}`,
    `a=rtpmap:${VIDEO_PAYLOAD_TYPE} H264/${VIDEO_CLOCK_HZ}`,
    `a=fmtp:${VIDEO_PAYLOAD_TYPE} packetization-mode=1;profile-level-id=${profile};sprop-parameter-sets=${base64(sps)},${base64(pps)}`,
    'a=control:track=0',
  ];
  if (sound === undefined) return { sdp: `${lines.join('\r\n')}\r\n`, soundHz: undefined };
  const { sampleRate, channels, frequencyIndex } = adtsFormat(sound);
  // AudioSpecificConfig: AAC-LC, index of the rate, channels.
  const config = ((2 << 11) | (frequencyIndex << 7) | (channels << 3)).toString(16).padStart(4, '0');
  lines.push(
    `m=audio 0 RTP/AVP ${AUDIO_PAYLOAD_TYPE}`,
    `a=rtpmap:${AUDIO_PAYLOAD_TYPE} MPEG4-GENERIC/${sampleRate}/${channels}`,
    `a=fmtp:${AUDIO_PAYLOAD_TYPE} profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=${config}`,
    'a=control:track=1',
  );
  return { sdp: `${lines.join('\r\n')}\r\n`, soundHz: sampleRate };
}
