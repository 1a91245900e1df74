import { useEffect } from 'react';
import type { Relay } from '../../api/parties.ts';
import { formatRatio, plural } from '../lib/format.ts';
import { useLoaded, usePage, usePart } from '../lib/hooks.ts';
import { Badge, Card, EmptyState, FailedState, Meter, PageHead, Skeleton } from '../ui/parts.tsx';

export function RelaysPage() {
  const { session } = usePage();
  const relays = usePart((state) => state.relays);
  const parties = usePart((state) => state.parties);
  const { loaded, again } = useLoaded('relays', (signal) => session.api.call<Relay[]>('relays', { signal }));
  useEffect(() => {
    if (loaded.state === 'ready') session.dispatch({ type: 'relays', relays: loaded.value });
  }, [loaded, session]);
  return (
    <div className="page">
      <PageHead
        title="Relays"
        sub="They pass packets on where two machines cannot reach each other. They see ciphertext only."
      />
      {relays === undefined ? (
        <Card>
          {loaded.state === 'failed' ? <FailedState error={loaded.error} again={again} /> : <Skeleton lines={4} />}
        </Card>
      ) : relays.length === 0 ? (
        <Card>
          <EmptyState icon="relay" title="No relay">
            Peers that cannot be reached directly are not reached at all. Start one on a machine with a public address:{' '}
            <code>towpath relay serve</code>.
          </EmptyState>
        </Card>
      ) : (
        <div className="relays">
          {relays.map((relay) => (
            <RelayCard
              key={`${relay.party}/${relay.id}`}
              relay={relay}
              party={parties.length > 1 ? parties.find(({ id }) => id === relay.party)?.name : undefined}
            />
          ))}
        </div>
      )}
    </div>
  );
}

function RelayCard({ relay, party }: { relay: Relay; party: string | undefined }) {
  const { id, region, load, healthy, peers, urls } = relay;
  return (
    <section className="card relay" aria-label={id}>
      <div className="relay-head">
        <div>
          <h2>{id}</h2>
          <p className="muted small">{[region, party].filter(Boolean).join(', ')}</p>
        </div>
        <Badge tone={healthy ? 'direct' : 'bad'}>{healthy ? 'available' : 'no answer'}</Badge>
      </div>
      <div>
        <div className="relay-load">
          <span className="muted small">Load</span>
          <span className="small">{healthy ? formatRatio(load) : '–'}</span>
        </div>
        <Meter
          ratio={healthy ? load : 0}
          label={`Load of ${id}`}
          tone={load > 0.85 ? 'bad' : load > 0.6 ? 'relay' : 'direct'}
        />
      </div>
      <p className="small">
        {peers.length === 0 ? (
          <span className="muted">Carries no peer of this machine now.</span>
        ) : (
          <>
            <span className="muted">{`Carries ${plural(peers.length, 'peer')}: `}</span>
            {peers.length > 8 ? `${peers.slice(0, 8).join(', ')} and ${peers.length - 8} more` : peers.join(', ')}
          </>
        )}
      </p>
      <ul className="relay-urls mono">
        {urls.map((url) => (
          <li key={url}>{url}</li>
        ))}
      </ul>
    </section>
  );
}
