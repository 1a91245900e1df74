import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab, type LabHost, NAT_KINDS, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
const PORT = '40611';

interface Status {
  peers: { name: string; status: string }[];
  cameras: { name: string; state: string; via: string; pictures: { saved: number } }[];
}

/** A camera in the network of `pi`, which offers that network to `ann` only. */
describe.skipIf(!wireGuardAvailable())('a camera in the network of a member', () => {
  let lab: Lab;
  let folder: string;
  beforeEach(() => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-via-'));
  });
  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function member(name: string, host: LabHost, config: string): PartyHost {
    const hosts = join(folder, `hosts-${name}`);
    writeFileSync(hosts, '127.0.0.1\tlocalhost\n');
    mkdirSync(join(folder, name), { mode: 0o700 });
    writeFileSync(join(folder, name, 'config.yaml'), config, { mode: 0o600 });
    return new PartyHost(name, host, folder, { TOWPATH_HOSTS: hosts });
  }

  async function until<T>(read: () => Promise<T>, isSo: (value: T) => boolean): Promise<T> {
    for (let turn = 0; ; turn++) {
      const value = await read();
      if (isSo(value)) return value;
      if (turn === 80) throw new Error(`Not so: ${JSON.stringify(value)}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 500);
      });
    }
  }

  it('is held and downloaded by the member that may, and by no other (C14)', async () => {
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    await says(
      server.start('serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'),
      /serving/,
      60_000,
    );
    const home = lab.nat('nhome', '203.0.113.30', NAT_KINDS['port-restricted'], [SERVER]);
    const piHost = home.host('pi');
    const camHost = home.host('cam');
    const network = `${camHost.address.split('.').slice(0, 3).join('.')}.0/24`;
    const fast = 'pictures: { check-every: 1 s, reserve: 1 MB }\n';
    const barn = `cameras: { barn: { target: ${camHost.address}, via: pi, ports: [${PORT}] } }\n`;
    const pi = member('pi', piHost, `parties: [{ party: camp, offer: [{ network: ${network}, members: [ann] }] }]\n`);
    const annHost = lab.host('ann', '203.0.113.21');
    const ann = member('ann', annHost, fast);
    const ben = member('ben', lab.host('ben', '203.0.113.22'), fast + barn);
    await pi.told('party', 'create', 'camp', '--server', SERVER, '--as', 'pi');
    const { code } = await pi.told<{ code: string }>('party', 'invite', '--uses', '5');
    for (const each of [ann, ben]) await each.told('party', 'join', code, '--server', SERVER, '--as', each.name);

    const emulate = [
      'camera',
      'emulate',
      '--address',
      camHost.address,
      '--port',
      PORT,
      '--search-port',
      '0',
      '--items',
      '4',
    ];
    await says(new PartyHost('cam', camHost, folder).start(...emulate), new RegExp(PORT), 60_000);
    for (const each of [pi, ann, ben]) await says(each.start('up'), / is up: /, 60_000);

    const status = (of: PartyHost) => () => of.told<Status>('status');
    // Added while the daemon runs and is connected to pi: no restart is needed.
    await until(status(ann), ({ peers }) => peers.find(({ name }) => name === 'pi')?.status === 'connected');
    await ann.told('camera', 'add', 'barn', camHost.address, '--via', 'pi', '--ports', PORT);
    const held = await until(status(ann), ({ cameras }) => cameras[0]?.pictures.saved === 4);
    expect(held.cameras).toMatchObject([{ name: 'barn', state: 'connected', via: 'pi' }]);
    expect((await ann.run('why', 'barn')).stdout).toContain('behind pi is reached directly');
    const info = await ann.run('camera', 'info', camHost.address, '--via', 'pi', '--ports', PORT);
    expect([info.code, info.stdout]).toEqual([0, expect.stringContaining('KJK230')]);

    const routes = async () => (await annHost.run('ip', ['route', 'show', camHost.address])).stdout;
    expect(await routes()).toContain(camHost.address);
    await ann.told('camera', 'remove', 'barn');
    expect(await routes()).toBe('');

    await until(status(ben), ({ peers }) => peers.find(({ name }) => name === 'pi')?.status === 'connected');
    const refused = await ben.run('camera', 'info', camHost.address, '--via', 'pi', '--ports', PORT, '--timeout', '4');
    expect(refused.code).toBe(3);
    expect((await ben.told<Status>('status')).cameras[0]?.state).not.toBe('connected');
  });
});
