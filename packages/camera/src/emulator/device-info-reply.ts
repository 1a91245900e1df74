import type { EmulatedCamera } from './emulated-camera.ts';

const CARD_MB = 30_196;
/** Space of one item on the card. */
const ITEM_MB = 2;

const LANGUAGES = ['en', 'de', 'fr', 'es', 'po', 'du', 'it', 'sv', 'pl', 'cn', 'jp'];
const IMAGE_RESOLUTIONS = [100, 0, 2, 3, 5, 6, 8, 9, 11, 12];
const VIDEO_RESOLUTIONS = [100, 1, 2, 4, 5, 7, 6];

/**
 * What a terminal must never be given as it is: clear the screen, set the title, write to the clipboard (OSC 52), return to
 * the start of the line, a C1 control, bidirectional marks, and a path out of a folder.
 */
export const HOSTILE_TEXT =
  '\x1b[2J\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\rroot# \x9b31m\u202etxt.exe\u2066/../../etc/passwd';

/** Size and free space of the emulated card. */
export function cardSpace({ card, hasCard }: EmulatedCamera): { sdTotalMB: number; sdFreeMB: number } {
  if (!hasCard) return { sdTotalMB: 0, sdFreeMB: 0 };
  return { sdTotalMB: CARD_MB, sdFreeMB: Math.max(0, CARD_MB - ITEM_MB * card.size) };
}

/**
 * The answer to 512 with the keys and their order as in docs/protocol/artemis.md, "Device info"; 3 × 1024 + 21 bytes on
 * the wire with a name of up to 13 letters.
 */
export function deviceInfoReply(camera: EmulatedCamera): Record<string, unknown> {
  const resolutions = (list: readonly number[]) => list.map((resolution) => ({ resolution }));
  const vertices = [0, 1, 2, 3].flatMap((k) => [`detectionAreaVertex${k}X`, `detectionAreaVertex${k}Y`]);
  const text = (said: string) => (camera.faults.hostileText ? `${said}${HOSTILE_TEXT}` : said);
  return {
    devId: camera.deviceId,
    fwVerName: text('2.3.0.4'),
    fwVerCode: 2304,
    bleVerName: '3.3.5',
    bleVerCode: 335,
    modelName: text('KJK230'),
    subModelName: 'KJKD',
    productId: 115,
    customName: text('Towpath Canal'),
    cameraNameOnOff: 1,
    cameraName: text(camera.name),
    longitude: '',
    latitude: '',
    pwrFreq: 0,
    infraRedLum: 3,
    timeUTC: Math.floor(camera.clock.seconds),
    timeZoneOffset: 0,
    timeDst: 0,
    screenType: 7,
    wifiSocType: 5,
    osdInfoEnable: true,
    WiFiLedEnable: true,
    batPercent: camera.batteryPercent,
    emergencyBatPercent: 0,
    batType: 1,
    curBatType: 1,
    isCharging: false,
    isSolarCharging: false,
    temperature: camera.temperature,
    workMode: 0,
    timelapseInterval: 3600,
    shootMode: 0,
    picResolution: 100,
    videoResolution: 100,
    continuousShootCnt: 1,
    recordDuration: 10,
    recordAudio: 1,
    dateFormat: 1,
    timeFormat: 0,
    languageCode: 'en',
    workTimeOnOff: 0,
    workTimeStartHour: 0,
    workTimeStartMin: 0,
    workTimeEndHour: 23,
    workTimeEndMin: 59,
    pirSens: 1,
    pirCoolingTime: 10,
    sidePirOnOff: 1,
    enableAiFilter: 0,
    ...Object.fromEntries(vertices.map((key) => [key, 0])),
    secureCodeOnOff: 0,
    secureCode0: 0,
    secureCode1: 0,
    secureCode2: 0,
    secureCode3: 0,
    defaultMicVolume: 80,
    defaultSpkVolume: 80,
    ...cardSpace(camera),
    recordMode: 0,
    sdCardFormatErr: 0,
    spkVol: 80,
    micVol: 80,
    lum: 0,
    capability: {
      platform: 'T23ZN',
      languages: LANGUAGES.map((langCode) => ({ langCode })),
      imgResolutions: resolutions(IMAGE_RESOLUTIONS),
      videoResolutions: resolutions(VIDEO_RESOLUTIONS),
      enableAiFilter: true,
      supportSidePir: false,
      dispDetailVideoResolution: false,
      supportScreen: true,
      supportLockScreen: true,
      supportMicVolume: true,
      supportSpkVolume: true,
      supportOsdInfo: true,
      supportWiFiLED: true,
      supportInfraRed: true,
      supportAutoInfraRed: false,
      supportOnlineService: true,
    },
    ...Object.fromEntries(camera.settings),
    errorMsg: 'Success',
    result: 0,
    cmdId: 512,
  };
}
