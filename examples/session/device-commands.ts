import { CameraClient, DeviceCommands } from '@towpath/camera/compat';
import { exampleCamera } from '../support/camera.ts';

await using target = await exampleCamera();
await using camera = new CameraClient(target.address);
const commands = new DeviceCommands(camera);

await commands.login();
const { modelName, fwVerName, batPercent } = await commands.getDeviceInfo();
console.log(`${modelName}, firmware ${fwVerName}, battery ${batPercent} %`);

const items = await commands.getMediaList();
console.log(`${items.length} items on the card`);

await commands.startAv();
await commands.stopAv();
console.log('Live video started and stopped');

// Any other command, by its number.
console.log('Command 512:', (await commands.sendCommand(512)).result);
