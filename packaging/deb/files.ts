import { unitText } from '../../packages/towpath/src/commands/daemon/unit.ts';

/** Debian's names of the processors, and those of Node's packages. */
export const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;

export const STATE_FOLDER = '/var/lib/towpath';
export const LIB_FOLDER = '/usr/lib/towpath';

/** `/usr/bin/towpath`: with root's rights it uses the keys and the state of the service. */
export const LAUNCHER: string = `#!/bin/sh
if [ -z "\${TOWPATH_HOME:-}" ] && [ "$(id -u)" = 0 ]; then
  TOWPATH_HOME=${STATE_FOLDER}
  export TOWPATH_HOME
fi
exec ${LIB_FOLDER}/bin/node ${LIB_FOLDER}/bin/towpath.js "$@"
`;

export function control(options: { version: string; architecture: Architecture; installedKb: number }): string {
  return `Package: towpath
Version: ${options.version}
Architecture: ${options.architecture}
Maintainer: The Towpath authors <towpath@localhost>
Installed-Size: ${options.installedKb}
Depends: libc6 (>= 2.28), libstdc++6 (>= 10), libatomic1
Recommends: iproute2, nftables, wireguard-tools
Suggests: wireguard-go, coturn
Section: net
Priority: optional
Description: trail cameras and private networks over the fastest path that works
 Towpath downloads the pictures of trail cameras (KJK230 and its PPPP family) without
 the vendor's application or servers, and connects machines behind NATs to private
 networks whose membership no server can forge. It brings its own Node.
`;
}

/** Not the launcher: Node gets options of its own. */
const PROGRAM: [node: string, script: string] = [`${LIB_FOLDER}/bin/node`, `${LIB_FOLDER}/bin/towpath.js`];

/** The daemon's unit: the one that "towpath service install" writes, for the packaged program. */
export function daemonUnit(): string {
  return unitText({ program: PROGRAM, stateFolder: STATE_FOLDER, camerasOnly: false }).replace(
    /^# Written by .*$/m,
    '# Of the package towpath. Next: systemctl enable --now towpath',
  );
}

/** The control plane's unit, made of the one in deploy/. */
export function serveUnit(deployed: string): string {
  return deployed
    .replace('/usr/bin/node /opt/towpath/packages/towpath/bin/towpath.js', '/usr/bin/towpath')
    .replace('--data /var/lib/towpath ', '--data /var/lib/towpath-serve ')
    .replace('StateDirectory=towpath\n', 'StateDirectory=towpath-serve\n')
    .replace(' See README.md beside this file for how to install it.', ' Next: systemctl enable --now towpath-serve');
}

export const SYSUSERS = 'u towpath - "Towpath servers" /var/lib/towpath-serve\n';

export const POSTINST: string = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  if ! getent passwd towpath >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
      systemd-sysusers towpath.conf
    else
      useradd --system --user-group --home-dir /var/lib/towpath-serve --no-create-home --shell /usr/sbin/nologin towpath
    fi
  fi
  install -d -m 0700 ${STATE_FOLDER}
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # After an upgrade, those that run are started anew.
    if [ -n "$2" ]; then systemctl try-restart towpath.service towpath-serve.service || true; fi
  fi
fi
`;

export const PRERM = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now towpath.service towpath-serve.service || true
fi
if [ "$1" = remove ]; then
  # Interfaces and rules that a killed daemon left.
  /usr/bin/towpath down >/dev/null 2>&1 || true
fi
`;

export const POSTRM: string = `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = purge ]; then
  rm -rf ${STATE_FOLDER} /var/lib/towpath-serve
  if getent passwd towpath >/dev/null; then userdel towpath || true; fi
  if getent group towpath >/dev/null; then groupdel towpath || true; fi
fi
`;
