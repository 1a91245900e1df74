import { type Command, InvalidArgumentError } from 'commander';
import type { Endpoint } from '@towpath/net';
import { parseEndpoint } from '@towpath/net';
import type { Runtime } from '../../cli/runtime.ts';
import { duration, number } from '../../cli/values.ts';
import { parseListen } from '../../daemon/config/quantities.ts';

/** `8554`, `0.0.0.0:8554`; loopback when no address is given. */
function listenEndpoint(defaultPort: number): (text: string) => Endpoint {
  return (text) => {
    const endpoint = parseListen(text) ?? withPort(text, defaultPort);
    if (endpoint === undefined) throw new InvalidArgumentError('Expected PORT or ADDRESS:PORT.');
    return endpoint;
  };
}

function withPort(text: string, port: number): Endpoint | undefined {
  const parsed = parseEndpoint(text, port);
  return parsed.ok ? parsed.endpoint : undefined;
}

/** `camera outputs`. @param withTarget adds the options of commands that connect */
export function registerOutputs(camera: Command, runtime: Runtime, withTarget: (command: Command) => Command): void {
  withTarget(camera.command('outputs'))
    .description('hand live video and new pictures on: RTSP, HTTP, MQTT (Home Assistant), webhook')
    .option(
      '--rtsp <port>',
      'serve live video by RTSP on PORT or ADDRESS:PORT (address 127.0.0.1)',
      listenEndpoint(8_554),
    )
    .option(
      '--http <port>',
      'serve snapshot.jpg, live.mjpeg and live.mp4 on PORT or ADDRESS:PORT',
      listenEndpoint(8_088),
    )
    .option('--mqtt <url>', 'publish to this MQTT broker, with discovery for Home Assistant')
    .option('--webhook <url>', 'post each new picture to this URL, signed')
    .option(
      '--password-file <file>',
      'password of RTSP and HTTP and key of the webhook, mode 0600 (default: made once)',
    )
    .option('--mqtt-user <name>', 'user at the broker')
    .option('--mqtt-password-file <file>', 'file with the password at the broker, mode 0600')
    .option(
      '--mqtt-ca <file>',
      "PEM file of the authority of the broker's certificate, if the system does not trust it",
    )
    .option('--allow-host <name...>', 'more names by which the HTTP server may be called')
    .option('--every <time>', 'how often to check for new pictures, as 10, 30m or 2h', duration(1, 86_400), 10)
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .addHelpText(
      'after',
      `
Everything is off unless it is named. The user is towpath; without --password-file the password is made once and kept in
outputs-password in the configuration folder.

Examples:
  towpath camera outputs --rtsp 8554 --http 8088
  towpath camera outputs --mqtt mqtt://192.168.1.2 --mqtt-user camera \\
      --mqtt-password-file broker.password
  towpath camera outputs --mqtt mqtts://broker.lan --mqtt-ca authority.pem
  towpath camera outputs --webhook https://example.org/hook --password-file key
`,
    )
    .action(async (host, options) => (await import('./outputs.ts')).outputs(runtime, host, options));
}
