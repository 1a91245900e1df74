/** Joins the camera's hotspot on a bus and holds it until it is killed. Arguments: the address of the bus. */
import { SystemClock } from '@towpath/core';
import { joinWifi, openSystemBus } from '@towpath/wake';

const bus = await openSystemBus({ address: process.argv[2] });
const join = await joinWifi({ bus, clock: new SystemClock() }, { ssid: 'KJK_5301', password: '24681357' });
console.log(join.address);
setInterval(() => {}, 1_000);
