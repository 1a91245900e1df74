#!/bin/bash
# Follows the systemd part of deploy/README.md, line by line, on a plain Debian 12 from nothing, and looks at the service:
# the steps up to "npm ci" in the new system with the network of this machine, the others under its own systemd, booted in a
# container without network. Node's archive and its checksums are made from the repository's Node, not downloaded.
#
#   npm ci && deploy/systemd-trial.sh
#
# Needs root, debootstrap and systemd-container. It takes about three minutes, and is no part of `npm test`.
set -euo pipefail
cd "$(dirname "$0")/.."

repository=$PWD
work=$(mktemp -d)
machine=$work/machine
booted=

end() {
  if [ -n "$booted" ]; then kill "$booted" 2>/dev/null || true; wait "$booted" 2>/dev/null || true; fi
  for folder in srv/repository proc; do umount "$machine/$folder" 2>/dev/null || true; done
  rm -rf --one-file-system "$work"
}
trap end EXIT

# The guide's lines.
mapfile -t steps < <(sed -n '/^## systemd/,/^## /p' deploy/README.md | sed -n '/^```sh/,/^```$/p' | grep -v '^```')
lines_from() {
  local found=
  for step in "${steps[@]}"; do
    if [[ "$step" == "$1"* ]]; then found=1; elif [ -n "${2:-}" ] && [[ "$step" == "$2"* ]]; then break; fi
    if [ -n "$found" ]; then printf '%s\n' "$step"; fi
  done
}

failures=0
try() {
  local started=$SECONDS output
  if output=$("$2" "$3" 2>&1); then
    echo "ok      $1 ($((SECONDS - started)) s)"
  else
    echo "failed  $1"
    tail -n 40 <<<"$output" | sed 's/^/        /'
    failures=$((failures + 1))
  fi
}
in_new_system() {
  chroot "$machine" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
    DEBIAN_FRONTEND=noninteractive /bin/bash -euo pipefail -c "cd /root; $1"
}

debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$machine" >/dev/null
# How this machine reaches Debian's packages and those of npm, and whom it trusts for it.
cp /etc/resolv.conf "$machine/etc/resolv.conf"
for npmrc in "$(npm config get globalconfig)" "$(npm config get userconfig)"; do
  if [ -f "$npmrc" ]; then cat "$npmrc" >>"$machine/root/.npmrc"; fi
done
mkdir -p "$machine/srv/repository" "$machine/usr/local/share/ca-certificates"
cp -L /usr/local/share/ca-certificates/*.crt "$machine/usr/local/share/ca-certificates/" 2>/dev/null || true
mount --bind -o ro "$repository" "$machine/srv/repository"
mount -t proc proc "$machine/proc"

version=v$(node_modules/.bin/node -p process.versions.node)
name=node-$version-linux-x64
mkdir -p "$work/$name/bin" "$work/$name/lib/node_modules"
cp -L node_modules/node/bin/node "$work/$name/bin/node"
cp -rL "$(npm root -g)/npm" "$work/$name/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/$name/bin/npm"
XZ_OPT=-0 tar -cJf "$machine/root/$name.tar.xz" -C "$work" "$name"
(cd "$machine/root" && sha256sum "$name.tar.xz" >SHASUMS256.txt)

try 'the packages that the guide names, and Node' in_new_system "$(lines_from 'apt-get update' 'git clone')"
try 'a clone with its dependencies, without a build' in_new_system "git config --global --add safe.directory '*'
  $(lines_from 'git clone' 'install -D' | sed 's#REPOSITORY#file:///srv/repository#')"

umount "$machine/srv/repository" "$machine/proc"
systemd-nspawn --quiet --directory="$machine" --machine="towpath-guide-$$" --private-network --boot --console=pipe \
  --register=no --keep-unit </dev/null >"$work/console" 2>&1 &
booted=$!

inside() {
  local init
  init=$(pgrep -P "$booted" | head -n 1)
  nsenter -t "$init" -m -u -i -n -p -C -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C SYSTEMD_PAGER= /bin/bash -euo pipefail -c "cd /opt/towpath; $1"
}
for _ in $(seq 60); do
  if inside 'systemctl is-system-running' 2>/dev/null | grep -qE 'running|degraded'; then break; fi
  sleep 1
done

nsenter -t "$(pgrep -P "$booted" | head -n 1)" -n sh -c 'ip link set lo up; ip link add eth0 type veth peer name eth1
  ip addr add 192.0.2.10/24 dev eth0; ip link set eth0 up; ip link set eth1 up; ip route add default via 192.0.2.1'

try 'the unit: its user, its options, started, and ready' inside "$(lines_from 'install -D')"
try 'runs as its own user, confined' inside '
  pid=$(systemctl show -P MainPID towpath)
  [ "$(ps -o user= -p "$pid" 2>/dev/null || stat -c %U "/proc/$pid")" = towpath ]
  grep -q "^NoNewPrivs:.1$" "/proc/$pid/status" && grep -q "^Seccomp:.2$" "/proc/$pid/status"
  grep -qE "^CapBnd:.0+$" "/proc/$pid/status"
  [ "$(stat -c "%U %a" /var/lib/towpath)" = "towpath 700" ]'
try 'its journal has the setup code, with which a party is founded' inside '
  code=$(journalctl --no-pager -o cat -u towpath | grep -oE "setup code [A-Z0-9-]+" | head -n 1)
  echo "${code#setup code }" | node packages/towpath/bin/towpath.js party create camp --server 127.0.0.1 --as one --setup-code -'
try 'makes more setup codes' inside "$(grep -o 'runuser -u towpath -- [^`]*' deploy/README.md) | grep -E '[A-Z0-9]{4}-'"
try 'STUN and TURN listen, and metrics are served' inside '
  (: >/dev/tcp/127.0.0.1/3478)
  curl -sS http://127.0.0.1:9464/metrics | grep -q "^towpath_turn_allocations 0"'
try 'is started again after kill -9, with the same party' inside '
  kill -9 "$(systemctl show -P MainPID towpath)"
  for _ in $(seq 60); do [ "$(systemctl show -P NRestarts towpath)" = 1 ] && break; sleep 0.5; done
  curl -sS --retry 20 --retry-connrefused http://127.0.0.1:4100/ready
  node packages/towpath/bin/towpath.js party members | grep one'
try 'is stopped, and that is no failure' inside '
  systemctl stop towpath
  [ "$(systemctl show -P Result towpath) $(systemctl show -P ActiveState towpath)" = "success inactive" ]'

echo "$failures failed"
[ "$failures" -eq 0 ]
