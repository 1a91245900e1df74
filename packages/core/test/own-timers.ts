/**
 * Where packages above core wait on a `Clock` by themselves, and why. Whatever else waits is one of core's primitives: `deadline`,
 * `retransmit`, `Repeat`, `RequestSchedule`, `Renewal`, `Monitor`, `Link`, `backoff`.
 */
export const OWN_TIMERS: Readonly<Record<string, string>> = {
  'packages/camera/src/client/camera-link.ts': 'waits before a camera that ends sessions at once is logged in again',
  'packages/camera/src/emulator/camera-emulator.ts': 'the camera reboots and takes pictures',
  'packages/camera/src/emulator/camera-session.ts': 'the camera answers as late as it was recorded',
  'packages/camera/src/emulator/live-stream.ts': 'frames leave when the camera has made them',
  'packages/camera/src/emulator/network/impairment.ts': 'delays packets, as a network does',
  'packages/camera/src/media/watch-media.ts': 'waits for the rest of the interval between two looks',
  'packages/camera/src/outputs/events/delivery.ts':
    'waits for the next of a backoff, and says that a receiver has not answered yet',
  'packages/camera/src/outputs/mqtt/mqtt-output.ts':
    'waits before the camera is introduced again, so that nobody can ask for it all the time',
  'packages/camera/src/outputs/rtsp/rtsp-connection.ts': 'RFC 2326 ends a silent session, and tells nobody',
  'packages/control/src/client/http-transport.ts': 'waits as long as the server said before a request is sent again',
  'packages/control/src/client/live-socket.ts': 'leaves the other end a moment to answer the close',
  'packages/control/src/client/own-announcement.ts': 'spreads what all members announce at the same event',
  'packages/control/src/client/party-session.ts':
    'waits a random time after a conflict, and spreads what several nodes do at the same event',
  'packages/control/src/client/relay-list.ts': 'takes the newest list of relays when its rate limit allows',
  'packages/control/src/client/removed-members.ts': 'gathers questions for one request',
  'packages/control/src/client/server-link.ts': 'spreads the reconnections of many nodes',
  'packages/control/src/server/party-hub.ts': 'gathers changes for one message',
  'packages/control/src/server/pending-signals.ts':
    'one limit for each signal that waits; thousands do, so that each has a timer and nothing more',
  'packages/control/src/server/session-router.ts':
    'gives other servers time to answer, and passes on what a rate limit held back',
  'packages/control/src/server/signal-router.ts':
    'one limit for each signal that waits; thousands do, so that each has a timer and nothing more',
  'packages/control/src/store/nats-store.ts': 'waits for the next of a backoff',
  'packages/control/src/store/sqlite-store.ts': 'gathers writes',
  'packages/mesh/src/connection/connection-manager.ts': 'the pause between two goodbyes',
  'packages/mesh/src/connection/peer-connection.ts':
    'notices a handshake that was lost, and tests the path MTU from time to time',
  'packages/mesh/src/health/peer-health.ts': 'lets a peer that is leaving end first',
  'packages/mesh/src/hop/data-plane.ts': 'leaves a new path a moment before the kernel carries it',
  'packages/mesh/src/hop/hop.ts': "holds a handshake back, so that the peer's is answered first",
  'packages/mesh/src/hop/moves.ts': 'leaves WireGuard a moment to send',
  'packages/mesh/src/paths/early-handshake.ts': 'sends once more what came to a relay before the permission for it',
  'packages/mesh/src/paths/peer-punching.ts': 'spaces attempts as the budget allows',
  'packages/mesh/src/paths/peer-transports.ts': 'keeps a socket that is not used any more for what is under way',
  'packages/mesh/src/paths/puncher.ts': 'spaces batches of probes',
  'packages/mesh/src/relays/relay-agreement.ts': 'spaces offers, and tries a relay that failed again later',
  'packages/mesh/src/relays/relay-meter.ts': 'waits until the next relay is to be measured',
  'packages/mesh/src/relays/relay-pool.ts': 'keeps a relay that is not wanted any more for what is under way',
  'packages/mesh/src/wireguard/network-manager.ts': 'waits before the interface is made again',
  'packages/mesh/src/wireguard/wireguard-interface.ts': 'waits until the socket of wireguard-go answers',
  'packages/net/src/change-watcher.ts': 'looks at the interfaces from time to time; the time that passed shows a sleep',
  'packages/net/src/node/node-tcp.ts': 'leaves the other end a moment to answer the close, and limits a TLS handshake',
  'packages/net/src/resolve-families.ts': 'the resolution delay of RFC 8305, section 3',
  'packages/net/src/simulated/fabric.ts': 'delays packets, as a network does',
  'packages/net/src/simulated/host.ts': 'a machine that sleeps',
  'packages/net/src/simulated/names.ts': 'a name server answers late',
  'packages/net/src/simulated/tcp-connection.ts': 'retransmits, as TCP does',
  'packages/netcheck/src/look-ups.ts': 'leaves other answers a moment after the first',
  'packages/netcheck/src/server-check.ts': 'sends at fixed times, whatever was answered',
  'packages/pppp/src/client/attempt-socket.ts': 'leaves the losers of a race one turn to end by themselves',
  'packages/pppp/src/relay/client/connect-by-relay.ts': 'adds TCP to a race that runs by UDP',
  'packages/pppp/src/session/session.ts':
    'one timer for acknowledgements, retransmissions and keep-alives, and the spacing of CLOSE',
  'packages/splice/src/kernel-relay.ts':
    'looks up routes from time to time, and spaces readings of counters by what they cost',
  'packages/splice/src/nft-process.ts': 'the limit of a batch, after which the process is replaced',
  'packages/splice/src/owned-tables.ts':
    'looks at the rules again after the last look has ended; waits for the next of a backoff',
  'packages/splice/src/relay-plane.ts':
    'waits for the next of a backoff, and ticks again after the last tick has ended',
  'packages/stun/src/behaviour/discover.ts': 'leaves other servers a moment after the first, and sends at fixed times',
  'packages/stun/src/behaviour/mapping-lifetime.ts': 'leaves a mapping idle, which is what is measured',
  'packages/stun/src/checks/connectivity-checks.ts': 'paces checks (RFC 8445, section 14)',
  'packages/stun/src/turn/server/allocations.ts': 'a reservation ends (RFC 8656, section 7.2)',
  'packages/stun/src/turn/server/plain-port.ts': 'looks again when the next permission ends',
  'packages/stun/src/turn/server/stream-listener.ts': 'ends connections that nobody uses',
  'packages/stun/src/turn/server/tcp-relay.ts': 'ends connections that nobody binds (RFC 6062, section 5.2)',
  'packages/stun/src/turn/server/turn-requests.ts': 'an allocation ends, at the latest with its credentials',
  'packages/towpath/src/commands/camera/hotspot.ts': 'waits until the camera has opened its hotspot',
  'packages/towpath/src/commands/camera/live.ts': 'the duration that was asked for begins with the first picture',
  'packages/towpath/src/commands/camera/wake.ts': 'stays joined for the time that was asked for',
  'packages/towpath/src/commands/daemon/down.ts': 'looks whether the daemon has ended',
  'packages/towpath/src/commands/daemon/logs.ts': 'looks whether the file has grown',
  'packages/towpath/src/commands/daemon/replace.ts': 'looks whether the daemon before has ended',
  'packages/towpath/src/commands/demo/demo.ts': 'looks whether the peers are connected',
  'packages/towpath/src/commands/relay/worker-process.ts': 'reports metrics from time to time',
  'packages/towpath/src/commands/relay/workers.ts':
    'kills a worker that does not end, and waits longer after each failure in a row',
  'packages/towpath/src/daemon/cameras/camera-holder.ts':
    'gathers what pages are told, lists the card anew from time to time, waits before a camera is tried again',
  'packages/towpath/src/daemon/cameras/held-outputs.ts': 'waits before outputs are opened again',
  'packages/towpath/src/daemon/config/config-watch.ts': 'waits until an editor has written the whole file',
  'packages/towpath/src/daemon/events/hub.ts': 'gathers events for one message',
  'packages/towpath/src/serve/run-time.ts': 'runs as long as it was asked to',
};
