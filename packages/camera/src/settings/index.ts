/** A camera's settings in words. */
export { type ChangeSettingOptions, changeSetting, type SettingChange } from './change-setting.ts';
export { type Parsed, type Setting, SETTINGS } from './settings.ts';
