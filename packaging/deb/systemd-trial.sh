#!/bin/bash
# Tries the Debian package under a running systemd: boots a plain Debian 12 in a container without network, and there
# installs, starts, restarts, kills, upgrades, stops and purges it; then the units of "towpath service install".
#
#   npm run deb -- --arch amd64 --output /tmp/deb
#   packaging/deb/systemd-trial.sh /tmp/deb/towpath_*_amd64.deb [FOLDER]
#
# Needs root, debootstrap and systemd-container. FOLDER keeps the Debian that debootstrap makes, for the next time:
# making it takes a minute and needs the network, the trial itself takes two more. It is no part of `npm test`.
set -euo pipefail

deb=$(realpath "$1")
work=$(mktemp -d)
base=${2:-$work/base}
machine=$work/machine
booted=

end() {
  if [ -n "$booted" ]; then kill "$booted" 2>/dev/null || true; wait "$booted" 2>/dev/null || true; fi
  umount "$machine" 2>/dev/null || true
  umount "$work/layer" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

if [ ! -x "$base/lib/systemd/systemd" ]; then
  needed=systemd,systemd-sysv,dbus,procps,libatomic1,libstdc++6,iproute2,nftables,wireguard-tools,wireguard-go
  debootstrap --variant=minbase --include="$needed" bookworm "$base" >/dev/null
fi
mkdir "$machine" "$work/layer"
mount -t tmpfs tmpfs "$work/layer"
mkdir "$work/layer/upper" "$work/layer/work"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/layer/upper,workdir=$work/layer/work" "$machine"
cp "$deb" "$machine/root/old.deb"
# The same program under the next version.
dpkg-deb -R "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -Znone -b "$work/next" "$machine/root/next.deb" >/dev/null
rm -r "$work/next"

systemd-nspawn --quiet --directory="$machine" --machine="towpath-trial-$$" --private-network --boot \
  --console=pipe --register=no --keep-unit </dev/null >"$work/console" 2>&1 &
booted=$!

inside() {
  local init
  init=$(pgrep -P "$booted" | head -n 1)
  nsenter -t "$init" -m -u -i -n -p -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
    SYSTEMD_PAGER= /bin/bash -euo pipefail -c "$functions$1"
}

# Waits for what a command prints to hold a text.
functions='
await() {
  local text=$1 found; shift
  for _ in $(seq 120); do
    found=$("$@" 2>&1) || true
    if [[ "$found" == *"$text"* ]]; then return 0; fi
    sleep 0.5
  done
  echo "\"$*\" does not say \"$text\":"; echo "$found"; journalctl -n 30 --no-pager; return 1
}
is() { if [ "$1" != "$2" ]; then echo "is \"$1\", not \"$2\""; return 1; fi; }
pid() { systemctl show -P MainPID towpath; }
traces() { ip -o link | grep -c " tp-" || true; nft list ruleset | grep -c towpath || true; }
'

failures=0
try() {
  local started=$SECONDS output
  if output=$(inside "$2" 2>&1); then
    echo "ok      $1 ($((SECONDS - started)) s)"
  else
    echo "failed  $1"
    sed 's/^/        /' <<<"$output"
    failures=$((failures + 1))
  fi
}

for _ in $(seq 60); do
  if inside 'systemctl is-system-running' 2>/dev/null | grep -qE 'running|degraded'; then break; fi
  sleep 1
done
inside 'ip link set lo up; ip link add eth0 type veth peer name eth1; ip addr add 192.0.2.10/24 dev eth0
  ip link set eth0 up; ip link set eth1 up; ip route add default via 192.0.2.1
  find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp \) -prune -o -type f -print | sort >/run/before'

try 'is installed, and nothing is started' '
  dpkg -i /root/old.deb
  is "$(systemctl is-active towpath towpath-serve | sort -u)" inactive
  is "$(systemctl is-enabled towpath || true)" disabled'

try 'the control plane runs as its own user, and gives a setup code' '
  systemctl start towpath-serve
  await "setup code" journalctl --no-pager -o cat -u towpath-serve
  is "$(ps -o user= -p "$(systemctl show -P MainPID towpath-serve)")" towpath'

try 'the daemon holds a camera and a party' '
  systemd-run --quiet --unit=emulated towpath camera emulate --items 5
  towpath camera add feeder 127.0.0.1
  code=$(journalctl --no-pager -o cat -u towpath-serve | grep -oE "setup code [A-Z0-9-]+" | head -n 1)
  towpath party create camp --server http://192.0.2.10:4100 --setup-code "${code#setup code }" --as one
  systemctl enable --now towpath
  await "control server connected" towpath status
  await "connected" towpath camera list
  await " 5" towpath status
  is "$(stat -c %a /var/lib/towpath)" 700
  wg show interfaces | grep -q tp-'

try 'systemctl status says what runs' '
  systemctl --no-pager status towpath | grep -q "Active: active (running)"'

try 'is restarted, and goes on with the same state' '
  before=$(pid); address=$(towpath status | grep -oE "camp: [0-9.]+")
  systemctl restart towpath
  if [ "$(pid)" = "$before" ]; then echo "still the same process"; exit 1; fi
  await "control server connected" towpath status
  await "$address" towpath status
  await "feeder" towpath status'

try 'is started again after kill -9 of its main process' '
  before=$(pid); kill -9 "$before"
  await "NRestarts=1" systemctl show -p NRestarts towpath
  await "control server connected" towpath status
  await "feeder" towpath status
  is "$(ip -o link | grep -c " tp-")" 1'

try 'a new version restarts the daemon, and keeps configuration, keys and state' '
  kept() { cd /var/lib/towpath; find config.yaml node.json servers.json parties pictures -type f ! -name "*.db*" ! -name "*.lock" | sort; sha256sum config.yaml node.json api-token; }
  before=$(pid); control=$(systemctl show -P MainPID towpath-serve); sums=$(kept)
  dpkg -i /root/next.deb
  dpkg -s towpath | grep -q "^Version: .*+next"
  await "control server connected" towpath status
  await "feeder" towpath status
  if [ "$(pid)" = "$before" ]; then echo "the daemon is the old process"; exit 1; fi
  if [ "$(systemctl show -P MainPID towpath-serve)" = "$control" ]; then echo "the control plane is the old process"; exit 1; fi
  is "$(systemctl is-enabled towpath)" enabled
  is "$(kept)" "$sums"'

try 'is stopped within two seconds, and takes its interface and rules along' '
  before=$(date +%s%N); systemctl stop towpath; took=$((($(date +%s%N) - before) / 1000000))
  echo "took $took ms"
  is "$(systemctl show -p Result -p ActiveState towpath | sort | tr "\n" " ")" "ActiveState=inactive Result=success "
  is "$(traces | tr "\n" " ")" "0 0 "'

try 'a stopped daemon stays stopped when a version is replaced' '
  dpkg -i /root/old.deb
  is "$(systemctl is-active towpath || true)" inactive'

for kind in '' --cameras-only; do
  try "towpath service install $kind: started, started again after kill -9, and removed" '
    mkdir -p /opt/trial; cp -a /usr/lib/towpath/. /opt/trial/
    export TOWPATH_HOME=/srv/trial
    trial() { /opt/trial/bin/node /opt/trial/bin/towpath.js "$@"; }
    trial camera add barn 127.0.0.1
    systemctl stop towpath
    trial service install '"$kind"'
    await "connected" trial status
    grep -q "Written by" "$(systemctl show -P FragmentPath towpath)"
    kill -9 "$(pid)"
    await "NRestarts=1" systemctl show -p NRestarts towpath
    await "connected" trial status
    trial service uninstall
    is "$(systemctl is-active towpath || true)" inactive
    is "$(ls /etc/systemd/system/towpath.service 2>/dev/null || true)" ""
    rm -rf /srv/trial /opt/trial'
done

try 'is purged while it runs, without a trace' '
  systemctl start towpath
  await "control server connected" towpath status
  dpkg -P towpath
  systemctl stop emulated 2>/dev/null || true
  is "$(getent passwd towpath || true)" ""
  is "$(ls -d /var/lib/towpath* 2>/dev/null || true)" ""
  is "$(traces | tr "\n" " ")" "0 0 "
  is "$(systemctl list-units --all --no-legend "towpath*" | wc -l)" 0
  is "$(pgrep -f "[t]owpath\.js" || true)" ""
  find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp \) -prune -o -type f -print | sort >/run/after
  left=$(comm -13 /run/before /run/after | grep -vE "^/var/(log|cache|lib/dpkg|lib/systemd)/|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$" || true)
  is "$left" ""'

echo "$failures failed"
[ "$failures" -eq 0 ]
