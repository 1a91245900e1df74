/** Every known command number of the family. docs/protocol/artemis.md, "Commands". */
export const CommandId = {
  login: 0,
  logout: 1,
  openTalk: 256,
  closeTalk: 257,
  startAv: 258,
  stopAv: 259,
  startAudio: 260,
  stopAudio: 261,
  deviceInfo: 512,
  setDeviceInfo: 513,
  changePassword: 514,
  videoMirror: 515,
  videoFlip: 516,
  restoreFactoryDefaults: 517,
  formatSdCard: 518,
  redLamp: 522,
  changeStreamType: 523,
  heartbeat: 525,
  triggerSnapshot: 641,
  triggerRecording: 643,
  stopRecording: 644,
  mediaList: 768,
  startPlayback: 769,
  stopPlayback: 770,
  playbackControl: 771,
  thumbnails: 772,
  deleteItem: 773,
  deleteAll: 774,
  firmwareUpgrade: 1024,
  factoryData: 1280,
  sleep: 1281,
  logFileList: 1282,
  getLogConfig: 1283,
  setLogConfig: 1284,
  download: 1285,
  stopDownload: 1286,
  factoryTest1: 1288,
  factoryTest2: 1289,
  factoryTest3: 1290,
  factoryTest4: 1291,
  factoryTest5: 1292,
} as const;

/** Name of a command. */
export type CommandName = keyof typeof CommandId;

const NAMES: ReadonlyMap<number, CommandName> = new Map(
  Object.entries(CommandId).map(([name, id]) => [id, name as CommandName]),
);

/** Returns the name of a command number, or `command 4711` for an unknown one. */
export function commandName(id: number): string {
  return NAMES.get(id) ?? `command ${id}`;
}
