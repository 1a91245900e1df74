import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { documentedCommand, documentedCommands } from './support/documented.ts';
import { Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';
import { Machine } from './support/machine.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';
import type { RelayPairResult } from './support/relay-pair.ts';

const TOOLS = ['openssl', 'turnserver', 'nats-server', 'runuser', 'systemd-sysusers', 'curl'];
const missing = TOOLS.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
// In CI what is missing is a failure, which the tests themselves then are.
const skip = (!labAvailable() || missing.length > 0) && process.env.CI !== 'true';
const reason = labAvailable() ? `${missing.join(', ')} not installed` : 'root, ip or nft missing';

const OPERATIONS = 'docs/operations.md';
/** The public address of the server in all documents. */
const PUBLIC = '198.51.100.7';
const NAME = 'towpath.example.org';
const [RELAY_1, RELAY_2] = ['198.51.100.9', '198.51.100.10'];
const NAMES = [`${PUBLIC} ${NAME}`, `${RELAY_1} relay1.example.org`, `${RELAY_2} relay2.example.org`];

describe.skipIf(skip)(`documented deployments${skip ? ` (skipped: ${reason})` : ''}`, () => {
  let lab: Lab;
  let machines: Machine[];
  beforeEach(() => {
    lab = new Lab();
    machines = [];
  });
  afterEach(async () => {
    await lab.close();
    for (const each of machines) each[Symbol.dispose]();
  });

  function machine(name: string, address: string, ...more: string[]): Machine {
    return machineOn(lab.host(name, address, ...more));
  }

  function machineOn(host: LabHost): Machine {
    const made = new Machine(host, NAMES);
    machines.push(made);
    return made;
  }

  /** Gives machines one certificate for all names, which is its own authority: `cert.pem`, `key.pem`, `ca.pem`. */
  function certify(...to: Machine[]): void {
    const [first, ...others] = to;
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => first!.path(`/srv/${name}`));
    const names = NAMES.map((line) => `DNS:${line.split(' ')[1]}`).join(',');
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
    const about = ['-subj', `/CN=${NAME}`, '-addext', `subjectAltName=${names}`];
    execFileSync('openssl', ['req', '-x509', ...kind, ...about, '-keyout', key!, '-out', cert!], { stdio: 'ignore' });
    first!.write('ca.pem', readFileSync(cert!, 'utf8'));
    for (const each of others) {
      each.write('key.pem', readFileSync(key!, 'utf8'));
      for (const name of ['cert.pem', 'ca.pem']) each.write(name, readFileSync(cert!, 'utf8'));
    }
  }

  interface Asked {
    readonly transport?: 'udp' | 'tcp' | 'tls';
    readonly port?: number;
    readonly secret: string;
  }

  /** Two clients on one machine ask a relay for addresses and send to each other. @throws when one hears nothing. */
  async function relays(on: Machine, server: string, asked: Asked): Promise<void> {
    const { transport = 'udp', port = 3_478 } = asked;
    // As the control server makes them.
    const user = ['a', 'b', 'c'].map((digit) => digit.repeat(32)).join('.');
    const [secret = ''] = asked.secret.split('\n');
    const { username, password } = timeLimitedCredentials(secret, user, 600_000, new SystemClock().wallTime());
    const args = [server, port, transport, username, password].map((each) => `'${each}'`).join(' ');
    const line = `node /opt/towpath/test/system/support/relay-pair.ts ${args}`;
    const told = await on.run(line, { NODE_EXTRA_CA_CERTS: '/srv/ca.pem' });
    const { relayed, heardFrom } = JSON.parse(told) as RelayPairResult;
    expect([server, transport, heardFrom]).toEqual([server, transport, relayed.toReversed()]);
  }

  /** Founds a party by the line and the code that the server printed. */
  async function found(on: Machine, said: string, more = ''): Promise<void> {
    const [, code = ''] = /setup code (\S+):/.exec(said) ?? [];
    const [, command = ''] = /Next, on the machine that founds the party: (.*)/.exec(said) ?? [];
    const line = `${command.replace('NAME', 'camp')} ${more} --setup-code -`;
    expect(await on.run(line, {}, `${code}\n`)).toContain('Party camp created');
  }

  /** Resolves when a program there accepts connections. */
  async function listens(from: Machine, address: string, port: number): Promise<void> {
    await from.run(`until bash -c '</dev/tcp/${address}/${port}' 2>&-; do sleep 0.1; done`);
  }

  const FOUNDS = /Next, on the machine that founds.*\n/;

  test('`serve` with a name and a certificate: requests over HTTPS, relaying over UDP, TCP and TLS (C12)', async () => {
    const [server, client] = [machine('server', PUBLIC), machine('client', '198.51.100.20')];
    certify(server, client);
    const serving = server.start(documentedCommand(OPERATIONS, 'towpath serve', '--tls-cert'));
    const said = await says(serving, FOUNDS, 30_000);
    expect(said).toContain(`--server https://${NAME}:4100`);
    const guide = readFileSync(join(import.meta.dirname, '../..', OPERATIONS), 'utf8');
    expect(guide).toContain(`towpath party create camp --server https://${NAME}:4100 --ca ca.pem`);
    await found(client, said, '--ca ca.pem');
    const secret = readFileSync(server.path('/root/.config/towpath/serve/turn.secret'), 'utf8');
    for (const transport of ['udp', 'tcp', 'tls'] as const)
      await relays(client, NAME, { transport, port: transport === 'tls' ? 5_349 : 3_478, secret });
  });

  test.each([
    ['its help', '--tls-cert'],
    ['docs/netcheck.md', '--create-secret'],
  ])('`relay serve` on two addresses, as in %s: STUN measures the NAT, TURN relays (C3)', async (where, option) => {
    const server = machine('server', PUBLIC, '198.51.100.8');
    const nat = lab.nat('home', '198.51.100.20', NAT_KINDS['port-restricted'], [PUBLIC, '198.51.100.8']);
    const client = machineOn(nat.host('client'));
    certify(server, client);
    const secret = 'a secret that is long enough\n';
    server.write('relay.secret', secret);
    const start = 'towpath relay serve --address 198.51.100.7 198.51.100.8';
    const line = where.startsWith('docs') ? documentedCommand(where, start, option) : await example(server, start);
    expect(line).toContain(option);
    await says(server.start(line), 'tcp ', 30_000);
    const nats = await client.run(`node /opt/towpath/test/system/support/discover-nat.ts ${PUBLIC}:3478`);
    expect(JSON.parse(nats)).toMatchObject({
      mapping: 'endpoint-independent',
      filtering: 'address-and-port-dependent',
    });
    for (const transport of option === '--tls-cert' ? (['udp', 'tls'] as const) : (['udp', 'tcp'] as const))
      await relays(client, NAME, { transport, port: transport === 'tls' ? 5_349 : 3_478, secret });
  });

  test('`serve --relay` with regions: a relay of Towpath and coturn with one secret (C9)', async () => {
    const [server, first, second, client] = [
      machine('server', PUBLIC),
      machine('first', RELAY_1),
      machine('second', RELAY_2),
      machine('client', '198.51.100.20'),
    ];
    certify(server, first, second, client);
    const secret = 'a secret that is long enough\n';
    for (const each of [server, first, second]) each.write('turn.secret', secret);
    second.start(documentedCommand(OPERATIONS, 'turnserver'));
    const line = documentedCommand(OPERATIONS, 'towpath serve …').replace('…', `--address ${PUBLIC}`);
    const said = await says(server.start(line), FOUNDS, 30_000);
    const relay = first.start(documentedCommand(OPERATIONS, 'towpath relay serve --secret-file turn.secret'));
    await says(relay, 'tcp ', 30_000);
    await found(client, said);
    await listens(client, RELAY_2, 5_349);
    await relays(client, 'relay1.example.org', { secret });
    await relays(client, 'relay2.example.org', { transport: 'tls', port: 5_349, secret });
  });

  test('a server on three machines with NATS, then two control servers (C12)', async () => {
    const start = documentedCommand(OPERATIONS, 'nats-server');
    for (const at of [1, 2, 3]) {
      const own = start
        .replace('-n n1', `-n n${at}`)
        .replace('--cluster nats://10.0.0.1', `--cluster nats://10.0.0.${at}`);
      machine(`nats${at}`, `10.0.0.${at}`).start(own);
    }
    const servers = [
      [machine('server1', PUBLIC, '10.0.0.11'), PUBLIC],
      [machine('server2', '198.51.100.8', '10.0.0.12'), '198.51.100.8'],
    ] as const;
    const client = machine('client', '198.51.100.20');
    for (const at of [1, 2, 3]) await listens(servers[0][0], `10.0.0.${at}`, 4_222);
    const serving = servers.map(([server, address]) => {
      server.write('turn.secret', 'a secret that is long enough\n');
      const line = documentedCommand(OPERATIONS, 'towpath serve', '--nats').replace(PUBLIC, address);
      return says(server.start(line), / serving /, 40_000);
    });
    // The first one makes a code for all.
    const [, code = ''] = /setup code (\S+):/.exec((await Promise.all(serving)).join()) ?? [];
    const founding = `${documentedCommand(OPERATIONS, 'towpath party create')} --setup-code -`;
    expect(await client.run(founding, {}, `${code}\n`)).toContain('Party camp created');
  });

  test('the unit of systemd, its user and options, by the steps of deploy/README.md (C12)', async () => {
    const [server, client] = [machine('server', PUBLIC), machine('client', '198.51.100.20')];
    const steps = documentedCommands('deploy/README.md').filter((line) => line.startsWith('install '));
    expect(steps).toHaveLength(3);
    for (const step of steps) await server.run(`cd /opt/towpath && ${step}`);
    const unit = readFileSync(server.path('/etc/systemd/system/towpath.service'), 'utf8');
    const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
    expect(setting('StateDirectory')).toBe('towpath');
    const environment = setting('EnvironmentFile').replace(/^-/, '');
    await server.run(`install -d -m ${setting('StateDirectoryMode')} -o ${setting('User')} /var/lib/towpath`);
    // What systemd does with the unit's settings of the same names, as far as a process without it can.
    const limits = 'setpriv --no-new-privs --bounding-set=-all --inh-caps=-all';
    const as = `${limits} --reuid=${setting('User')} --regid=${setting('Group')} --clear-groups`;
    const [name, options = ''] = readFileSync(server.path(environment), 'utf8').trim().split(/=(.*)/);
    expect(name).toBe('SERVE_OPTIONS');
    const serving = server.start(`umask ${setting('UMask')} && exec ${as} ${setting('ExecStart')}`, {
      SERVE_OPTIONS: options,
    });
    const said = await says(serving, FOUNDS, 30_000);
    const [ready = ''] = documentedCommands('deploy/README.md').filter((line) => line.startsWith('curl '));
    expect(await server.run(ready)).toBe('{"status":"ready"}');
    expect(await server.run('curl --silent http://127.0.0.1:9464/metrics')).toContain(
      'towpath_control_connected_nodes 0',
    );
    const [, more = ''] =
      /`(runuser -u towpath [^`]*setup-code[^`]*)`/.exec(
        readFileSync(join(import.meta.dirname, '../../deploy/README.md'), 'utf8'),
      ) ?? [];
    expect(await server.run(more)).toMatch(/[A-Z0-9]{4}-/);
    await found(client, said);
    const backup = documentedCommand(OPERATIONS, 'towpath serve backup');
    await server.run(`mkdir /backup && ${backup} && ls -l /backup/control-*.db | grep '^-rw-------'`);
  });

  interface Compose {
    readonly services: Record<
      string,
      { command: string[]; volumes: string[]; environment?: Record<string, string>; image: string }
    >;
  }

  test.each([
    ['one server', ['compose.yaml']],
    ['on NATS', ['compose.yaml', 'compose.nats.yaml']],
  ])(
    'the containers of %s, by the command lines of the compose files and the Dockerfile (C12)',
    async (_name, files) => {
      const folder = join(import.meta.dirname, '../../deploy');
      const layers = files.map((file) => parse(readFileSync(join(folder, file), 'utf8')) as Compose);
      const services = Object.assign({}, ...layers.map((each) => each.services)) as Compose['services'];
      const server = machine('server', PUBLIC);
      const client = machine('client', '198.51.100.20');
      const substitute = (text: string) =>
        text.replace(/\$\{(\w+)(?::?[-?]([^}]*))?\}/g, (_all, name, other) =>
          name === 'PUBLIC_ADDRESS' ? PUBLIC : other,
        );
      const docker = readFileSync(join(folder, 'Dockerfile'), 'utf8');
      const list = (word: string) =>
        (JSON.parse(new RegExp(`^${word} (\\[.*\\])$`, 'm').exec(docker)?.[1] ?? '[]') as string[]).join(' ');
      const directory = /^WORKDIR (.*)$/m.exec(docker)?.[1];
      await server.run('install -d -m 0700 /data && install -d /secrets');
      if (services.nats !== undefined) {
        server.start(`nats-server ${services.nats.command.map(substitute).join(' ')}`);
        await listens(server, '127.0.0.1', 4_222);
        await server.run('umask 077 && openssl rand -base64 32 > /secrets/turn.secret');
      }
      const command = services.towpath!.command.map(substitute).join(' ');
      const serving = server.start(`cd ${directory} && exec ${list('ENTRYPOINT')} ${command}`);
      const said = await says(serving, FOUNDS, 40_000);
      await found(client, said);
      const health = /CMD (\["node".*\])$/m.exec(docker)?.[1] ?? '[]';
      const [node, option, program] = JSON.parse(health) as string[];
      expect(await server.run(`${node} ${option} "${program}"`)).toBe('');
      expect(await server.run('curl --silent http://127.0.0.1:9464/metrics')).toContain('towpath_control_');
    },
  );

  /** A command of the README, where the package is installed and this is root. */
  const readme = (start: string) => {
    const found = documentedCommands('README.md').filter((line) => line.replace(/^(sudo )?npx /, '').startsWith(start));
    expect([start, found.length]).toEqual([start, 1]);
    return found[0]!.replace(/^(sudo )?npx /, '');
  };

  test.skipIf(!wireGuardAvailable() && process.env.CI !== 'true')(
    'a private network of two machines, by the commands of the README (C2)',
    async () => {
      const [server, ann, ben] = [
        machine('server', PUBLIC),
        machine('ann', '198.51.100.20'),
        machine('ben', '198.51.100.21'),
      ];
      const said = await says(server.start(readme('towpath serve ')), FOUNDS, 30_000);
      const [, code = ''] = /setup code (\S+):/.exec(said) ?? [];
      await ann.run(`${readme('towpath party create').split(' #')[0]} --setup-code -`, {}, `${code}\n`);
      const invited = await ann.run(readme('towpath party invite'));
      const [, invite = ''] = /towpath party join (\S+)/.exec(invited) ?? [];
      await ben.run(readme('towpath party join').replace(/\S+-\S+-\S+-\S+/, invite));
      await Promise.all(
        [ann, ben].map((each) => says(each.start(readme('towpath up').split(' #')[0]!), / is up: /, 60_000)),
      );
      expect(await ann.run('until towpath why ben; do sleep 0.2; done')).toContain('ben');
      expect(await ann.run('towpath ping ben')).toContain('ben');
      expect(await ann.run('ping -c 1 ben.home.internal')).toContain('1 received');
      await Promise.all([ann, ben].map((each) => each.run('towpath down')));
    },
  );

  test('a camera from another network, and the race to six ports, by the commands of the README (A7, B8)', async () => {
    const [server, here] = [machine('server', PUBLIC), machine('here', '198.51.100.20')];
    const camera = machineOn(
      lab.nat('forest', '198.51.100.30', NAT_KINDS['symmetric-random'], [PUBLIC]).host('camera'),
    );
    await says(server.start(readme('towpath pppp serve')), 'data  ', 30_000);
    const connecting = readme('towpath camera connect LBCS');
    const uid = /LBCS-\S+/.exec(connecting)?.[0];
    await says(
      camera.start(`towpath camera emulate --address 0.0.0.0 --servers ${PUBLIC} --uid ${uid}`),
      'camera',
      30_000,
    );
    expect(await here.run(connecting)).toMatch(/^✓ connected .*logged in/);
    await says(here.start(readme('towpath camera emulate')), 'camera', 30_000);
    const raced = await here.run(readme('towpath camera connect 127.0.0.1'));
    expect(raced).toMatch(/^✓ connected .* 127\.0\.0\.1:10000, .*logged in/);
  });

  test.skipIf(!wireGuardAvailable() && process.env.CI !== 'true')(
    'networks that only TLS leaves: members trust the authority of --ca for the relay too (C3)',
    async () => {
      const [server, ann, ben] = [
        machine('server', PUBLIC),
        machine('ann', '198.51.100.20'),
        machine('ben', '198.51.100.21'),
      ];
      certify(server, ann, ben);
      const serving = server.start(documentedCommand(OPERATIONS, 'towpath serve', '--tls-cert'));
      await found(ann, await says(serving, FOUNDS, 30_000), '--ca ca.pem');
      const [, invite = ''] = /towpath party join (\S+)/.exec(await ann.run('towpath party invite')) ?? [];
      await ben.run(`towpath party join ${invite} --server https://${NAME}:4100 --ca ca.pem`);
      const only = `table inet only { chain out { type filter hook output priority 0; policy drop;
        oifname != "eth0" accept; tcp dport { 4100, 5349 } accept; }; }`;
      for (const { host } of [ann, ben]) lab.nft(host.namespace, only);
      await Promise.all([ann, ben].map((each) => says(each.start('towpath up'), / is up: /, 60_000)));
      const why = await ann.run('until towpath why ben > told || [ $? = 10 ]; do sleep 0.5; done; cat told');
      expect(why).toContain(NAME);
      await Promise.all([ann, ben].map((each) => each.run('towpath down')));
    },
  );

  /** A command in the examples of a help text. */
  async function example(on: Machine, start: string): Promise<string> {
    const text = await on.run(`${start.split(' --')[0]} --help`);
    const lines = text.replaceAll(/ \\\n\s*/g, ' ').split('\n');
    return lines.map((line) => line.trim()).find((line) => line.startsWith(start)) ?? '';
  }
});
