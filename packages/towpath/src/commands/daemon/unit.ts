/** What the unit is made of. */
export interface UnitOptions {
  /** What starts the program: Node and the script. */
  readonly program: readonly [node: string, script: string];
  readonly stateFolder: string;
  /** Without parties: an unprivileged user and no capability. */
  readonly camerasOnly: boolean;
}

/**
 * Options of Node for a daemon that idles most of the time: without the first V8 lets its young generation grow to three
 * times 16 MB and keeps it; the second makes the old generation grow in smaller steps.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=1', '--optimize-for-size'];

export const UNIT_NAME = 'towpath.service';
export const SERVICE_USER = 'towpath';

/**
 * The systemd unit of the daemon. With parties it runs as root with one capability left: WireGuard, routes, nftables and
 * sysctl need CAP_NET_ADMIN, and the hosts file belongs to root.
 */
export function unitText({ program, stateFolder, camerasOnly }: UnitOptions): string {
  const [node, script] = program;
  // Not NODE_OPTIONS, which takes some of V8's options only.
  const command = [node, ...NODE_FLAGS, script, 'up', '--wait'].map(word).join(' ');
  const capability = camerasOnly ? '' : 'CAP_NET_ADMIN';
  const account = camerasOnly ? [`User=${SERVICE_USER}`, `Group=${SERVICE_USER}`] : [];
  const kernel = camerasOnly
    ? [
        'PrivateDevices=yes',
        'ProtectKernelTunables=yes',
        'PrivateUsers=yes',
        'ProtectProc=invisible',
        'ProcSubset=pid',
        // Those of the control plane's unit.
        'SystemCallFilter=@system-service',
        'SystemCallFilter=~@privileged @resources',
        'SystemCallErrorNumber=EPERM',
      ]
    : [
        '# wireguard-go needs a tun device; gateways set the forwarding of their interfaces.',
        'DevicePolicy=closed',
        'DeviceAllow=/dev/net/tun rw',
        'ReadWritePaths=-/etc/hosts',
      ];
  return `${[
    '# Written by "towpath service install"; removed by "towpath service uninstall".',
    '[Unit]',
    'Description=Towpath: parties and cameras of this machine',
    'Documentation=man:towpath(1)',
    'Wants=network-online.target',
    'After=network-online.target',
    '',
    '[Service]',
    'Type=exec',
    ...account,
    `Environment=${word(`TOWPATH_HOME=${stateFolder}`)}`,
    `ExecStart=${command}`,
    '# It ends with 130 when it is asked to end.',
    'SuccessExitStatus=130',
    '# wireguard-go and nft end with the daemon, after the peers were told.',
    'KillMode=mixed',
    'KillSignal=SIGTERM',
    '# A daemon that is started anew tells the peers nothing: they go on as soon as it is back.',
    'RestartKillSignal=SIGUSR2',
    'TimeoutStopSec=15',
    'Restart=always',
    'RestartSec=2',
    '# A wrong command line, or a party of the configuration that is not here: another start would find the same.',
    'RestartPreventExitStatus=2',
    'UMask=0077',
    'LimitNOFILE=65536',
    '',
    `CapabilityBoundingSet=${capability}`,
    `AmbientCapabilities=${camerasOnly ? '' : capability}`,
    'NoNewPrivileges=yes',
    'PrivateTmp=yes',
    'ProtectClock=yes',
    'ProtectControlGroups=yes',
    'ProtectHostname=yes',
    'ProtectKernelLogs=yes',
    'ProtectKernelModules=yes',
    'ProtectSystem=strict',
    `ProtectHome=${isInHome(stateFolder) ? 'read-only' : 'yes'}`,
    `ReadWritePaths=${word(stateFolder)}`,
    ...kernel,
    'RemoveIPC=yes',
    'RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX AF_PACKET',
    'RestrictNamespaces=yes',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'LockPersonality=yes',
    'SystemCallArchitectures=native',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ].join('\n')}\n`;
}

function isInHome(folder: string): boolean {
  return /^\/(home|root|run\/user)(\/|$)/.test(folder);
}

/** A word of a unit's command line: specifiers and spaces lose their meaning. */
function word(text: string): string {
  const escaped = text.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%$+=:,./-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
