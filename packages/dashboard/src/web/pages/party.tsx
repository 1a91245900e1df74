import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { memo, useMemo, useState } from 'react';
import { Link, useLocation } from 'wouter';
import type { Party } from '../../api/parties.ts';
import type { Peer } from '../../api/peers.ts';
import { formatMs, plural } from '../lib/format.ts';
import { usePageTop, usePart } from '../lib/hooks.ts';
import { RING_MS } from '../lib/map-layout.ts';
import { countPeers, filterPeers, type PeerFilter, statusWords, toneOf } from '../lib/peers.ts';
import { peerKey, peerPath } from '../lib/state.ts';
import { Icon } from '../ui/icons.tsx';
import { Card, Dot, EmptyState, Figure, PageHead, Segments } from '../ui/parts.tsx';
import { PartyMap } from '../ui/party-map.tsx';
import { Sparkline } from '../ui/sparkline.tsx';

const NO_PEERS: readonly Peer[] = [];
/** Up to here everybody is seen at a glance. */
const SEARCH_FROM = 9;

export function PartyPage({ partyId }: { partyId?: string }) {
  const parties = usePart((state) => state.parties);
  const party = partyId === undefined ? parties[0] : parties.find(({ id }) => id === partyId);
  if (party === undefined) {
    return (
      <div className="page">
        <PageHead title="Party" />
        <Card>
          <EmptyState icon="party" title={partyId === undefined ? 'Not in a party yet' : 'There is no such party'}>
            A party is a private network of your own machines. Create one with <code>towpath party create NAME</code>,
            or join one with <code>towpath party join CODE</code>. It appears here by itself.
          </EmptyState>
        </Card>
      </div>
    );
  }
  return <OneParty party={party} parties={parties} />;
}

function OneParty({ party, parties }: { party: Party; parties: readonly Party[] }) {
  const peers = usePart((state) => state.peers.get(party.id) ?? NO_PEERS);
  const host = usePart((state) => state.daemon.host);
  const [, navigate] = useLocation();
  const counts = useMemo(() => countPeers(peers), [peers]);
  const self = party.members.find((member) => member.self)?.name ?? host;
  return (
    <div className="page">
      <PageHead
        title={party.name}
        sub={
          <>
            {self} <span className="mono">{party.address}</span>
            {party.network !== undefined && party.network.here !== party.network.party && (
              <span>{`, seen here in ${party.network.here}: this machine uses ${party.network.party} for something else`}</span>
            )}
          </>
        }
        actions={
          <>
            {parties.length > 1 && (
              <Segments
                label="Party"
                value={party.id}
                options={parties.map(({ id, name }) => [id, name] as const)}
                onChange={(id) => navigate(`/party/${encodeURIComponent(id)}`)}
              />
            )}
            <Link href={`/invite/${encodeURIComponent(party.id)}`} className="button">
              <Icon name="invite" size={17} />
              Invite
            </Link>
          </>
        }
      />
      <PartyProblem party={party} />
      {peers.length === 0 ? (
        <Card>
          <EmptyState
            icon="party"
            title="Nobody else is here yet"
            actions={
              <Link href={`/invite/${encodeURIComponent(party.id)}`} className="button" data-kind="primary">
                Invite a machine
              </Link>
            }
          >
            When another machine joins, it appears here with its path and latency.
          </EmptyState>
        </Card>
      ) : (
        <>
          <div className="figures">
            <Figure label="Direct">{counts.direct}</Figure>
            <Figure label="Relayed">{counts.relayed}</Figure>
            <Figure label="Not reached">{counts.away}</Figure>
            <Figure label="Median latency">{formatMs(counts.medianMs)}</Figure>
          </div>
          <div className="party">
            <section className="card party-map" aria-label="Map">
              <PartyMap party={party.id} self={self} peers={peers} />
              <p className="visually-hidden">
                {`A map of ${plural(peers.length, 'peer')} by latency. The list beside it has the same content.`}
              </p>
              <ul className="legend" aria-hidden="true">
                <li>
                  <Dot tone="direct" /> direct
                </li>
                <li>
                  <Dot tone="relay" /> relayed
                </li>
                <li>
                  <Dot tone="idle" /> offline
                </li>
                <li>{`circles at ${RING_MS.join(', ')} ms`}</li>
              </ul>
            </section>
            <PeerList party={party.id} peers={peers} />
          </div>
        </>
      )}
    </div>
  );
}

function PartyProblem({ party }: { party: Party }) {
  if (party.problem !== null) {
    return (
      <div className="banner" data-tone="bad" role="alert">
        <Icon name="warning" size={18} />
        {party.problem.message}
      </div>
    );
  }
  if (party.state === 'off') {
    return (
      <div className="banner">
        <Icon name="warning" size={18} />
        <span>
          This machine is a member, but is not connected. Next: <code>towpath up</code>.
        </span>
      </div>
    );
  }
  if (party.state === 'up' && !party.connected) {
    return (
      <div className="banner">
        <Icon name="offline" size={18} />
        No control server answers. Peers that are connected stay connected; new ones are found when it is back.
      </div>
    );
  }
  return null;
}

const ROW_PX = 61;

function PeerList({ party, peers }: { party: string; peers: readonly Peer[] }) {
  const [filter, setFilter] = useState<PeerFilter>('all');
  const [search, setSearch] = useState('');
  const shown = useMemo(() => filterPeers(peers, filter, search), [peers, filter, search]);
  const [list, top] = usePageTop<HTMLUListElement>();
  const rows = useWindowVirtualizer({
    count: shown.length,
    estimateSize: () => ROW_PX,
    overscan: 8,
    scrollMargin: top,
    getItemKey: (index) => shown[index]?.id ?? index,
  });
  return (
    <section className="card" aria-label="Peers">
      {peers.length >= SEARCH_FROM && (
        <div className="list-tools">
          <Segments
            label="Show"
            value={filter}
            options={[
              ['all', 'All'],
              ['direct', 'Direct'],
              ['relayed', 'Relayed'],
              ['away', 'Not reached'],
            ]}
            onChange={setFilter}
          />
          <input
            className="input list-search"
            type="search"
            aria-label="Search peers by name or address"
            placeholder="Search"
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
        </div>
      )}
      <ul ref={list} className="peer-list" style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map(({ index, key, start }) => (
          <li
            key={key}
            className="peer-item"
            aria-setsize={shown.length}
            aria-posinset={index + 1}
            style={{ transform: `translateY(${start - top}px)` }}
          >
            <PeerRow party={party} peer={shown[index]!} />
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p className="list-none muted">No peer matches.</p>}
    </section>
  );
}

const PeerRow = memo(function PeerRow({ party, peer }: { party: string; peer: Peer }) {
  const samples = usePart((state) => state.recent.get(peerKey(party, peer.id)));
  const tone = toneOf(peer);
  const relay = peer.path?.relay;
  return (
    <Link href={peerPath(party, peer.id)} className="row">
      <Dot tone={tone} />
      <span className="row-main">
        <span className="row-title">{peer.name}</span>
        <span className="row-sub">
          {statusWords(peer)}
          {relay ? ` via ${relay}` : ''}
          <span className="row-address mono">{peer.address}</span>
        </span>
      </span>
      {samples && <Sparkline samples={samples.items} tone={tone} />}
      <span className="row-end peer-latency">{peer.latencyMs === null ? '' : formatMs(peer.latencyMs)}</span>
    </Link>
  );
});
