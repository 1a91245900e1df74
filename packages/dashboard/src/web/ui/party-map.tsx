import { memo, useCallback, useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import type { Peer } from '../../api/peers.ts';
import { formatMs } from '../lib/format.ts';
import { layOutMap, type MapPeer } from '../lib/map-layout.ts';
import { isReached, toneOf } from '../lib/peers.ts';
import { peerPath } from '../lib/state.ts';

/** This node in the middle; the distance of a peer is its latency. The list beside it says the same in text. */
export const PartyMap: React.NamedExoticComponent<{ party: string; self: string; peers: readonly Peer[] }> = memo(
  function PartyMap({ party, self, peers }) {
    const [hovered, setHovered] = useState<string | undefined>(undefined);
    const [, navigate] = useLocation();
    const layout = useMemo(() => lay(peers), [peers]);
    const byId = useMemo(() => new Map(peers.map((peer) => [peer.id, peer])), [peers]);
    const { halfWidth, halfHeight, rings, rim, labelled } = layout;
    const relayAt = new Map(layout.relays.map((relay) => [relay.item.id, relay]));
    const small = peers.length > 60;
    const open = useCallback((id: string) => navigate(peerPath(party, id)), [navigate, party]);
    return (
      <svg
        className="map"
        viewBox={`${-halfWidth} ${-halfHeight} ${2 * halfWidth} ${2 * halfHeight}`}
        aria-hidden="true"
        data-hovered={hovered !== undefined}
        data-many={small}
      >
        {rings.map((radius) => (
          <circle key={radius} className="map-ring" r={radius} />
        ))}
        <circle className="map-ring map-rim" r={rim} />
        <g>
          {layout.relays.map(({ item, x, y }) => (
            <line key={item.id} className="map-line" data-tone="relay" x1={0} y1={0} x2={x} y2={y} />
          ))}
          {layout.peers.map(({ item, x, y }) => {
            if (!item.reached) return null;
            const relay = item.relay === undefined ? undefined : relayAt.get(item.relay);
            return (
              <Line
                key={item.id}
                tone={item.relay === undefined ? 'direct' : 'relay'}
                on={hovered === item.id}
                x1={relay?.x ?? 0}
                y1={relay?.y ?? 0}
                x2={x}
                y2={y}
              />
            );
          })}
        </g>
        {layout.relays.map(({ item, x, y }) => (
          <g key={item.id} className="map-relay" style={{ transform: `translate(${x}px, ${y}px)` }}>
            <rect x={-5} y={-5} width={10} height={10} rx={2} transform="rotate(45)" />
            <title>{`Relay ${item.id}`}</title>
          </g>
        ))}
        {layout.peers.map(({ item, x, y, angle }) => (
          <Node
            key={item.id}
            id={item.id}
            name={item.name}
            latencyMs={item.latencyMs}
            reached={item.reached}
            tone={toneOf(byId.get(item.id)!)}
            x={x}
            y={y}
            angle={angle}
            small={small}
            labelled={labelled || hovered === item.id}
            hover={setHovered}
            open={open}
          />
        ))}
        <circle className="map-self" r={10} />
        <text className="map-self-label" y={32}>
          {self}
        </text>
      </svg>
    );
  },
);

// Memoized, with plain values: events change a few of hundreds of peers at a time.
const Line = memo(function Line(line: { tone: string; on: boolean; x1: number; y1: number; x2: number; y2: number }) {
  const { tone, on, ...ends } = line;
  return <line className="map-line" data-tone={tone} data-on={on} {...ends} />;
});

interface NodeProps extends Pick<MapPeer, 'id' | 'name' | 'latencyMs' | 'reached'> {
  tone: string;
  x: number;
  y: number;
  angle: number;
  small: boolean;
  labelled: boolean;
  hover: (id: string | undefined) => void;
  open: (id: string) => void;
}

const Node = memo(function Node({ id, name, latencyMs, reached, tone, x, y, angle, ...rest }: NodeProps) {
  const { small, labelled, hover, open } = rest;
  // Outwards of the peer, where its line is not.
  const labelY = Math.cos(angle) > 0.2 ? -33 : 28;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the list beside the map has the same links
    <g
      className="map-peer"
      data-tone={tone}
      style={{ transform: `translate(${x}px, ${y}px)` }}
      onMouseEnter={() => hover(id)}
      onMouseLeave={() => hover(undefined)}
      onClick={() => open(id)}
    >
      <circle className="map-hit" r={small ? 8 : 18} />
      <circle className="map-node" r={small ? 3.5 : 6.5} />
      {labelled && (
        <g className="map-label">
          <text y={labelY}>{shorten(name)}</text>
          <text className="map-label-sub" y={labelY + 18}>
            {reached ? formatMs(latencyMs) : 'offline'}
          </text>
        </g>
      )}
    </g>
  );
});

const MAX_LABEL_CHARS = 18;

function shorten(name: string): string {
  const letters = [...name];
  return letters.length <= MAX_LABEL_CHARS ? name : `${letters.slice(0, MAX_LABEL_CHARS - 1).join('')}…`;
}

function lay(peers: readonly Peer[]): ReturnType<typeof layOutMap> {
  const relays = new Set(peers.flatMap(({ path }) => (path?.relay ? [path.relay] : [])));
  return layOutMap(
    peers.map((peer) => ({
      id: peer.id,
      name: peer.name,
      latencyMs: peer.latencyMs ?? undefined,
      reached: isReached(peer),
      relay: isReached(peer) ? (peer.path?.relay ?? undefined) : undefined,
    })),
    [...relays].map((id) => ({ id, latencyMs: undefined })),
  );
}
