import { useEffect } from 'react';
import type { NetworkCheck, NetworkFamily, NetworkReport } from '../../api/network.ts';
import { formatAgo, formatMs, UNKNOWN } from '../lib/format.ts';
import { useLoaded, useNow, usePage, usePart, useRequest } from '../lib/hooks.ts';
import type { Tone } from '../lib/peers.ts';
import { Icon } from '../ui/icons.tsx';
import { Card, Dot, EmptyState, ErrorLine, FailedState, Facts, PageHead, Skeleton } from '../ui/parts.tsx';

export function NetworkPage() {
  const { session } = usePage();
  const check = usePart((state) => state.netcheck);
  const now = useNow();
  const { loaded, again } = useLoaded('netcheck', (signal) => session.api.call<NetworkCheck>('netcheck', { signal }));
  useEffect(() => {
    if (loaded.state === 'ready') session.dispatch({ type: 'netcheck', check: loaded.value });
  }, [loaded, session]);
  const measure = useRequest();
  const start = (): void =>
    measure.run(async () => {
      session.dispatch({ type: 'netcheck', check: await session.api.call<NetworkCheck>('runNetcheck') });
    });
  const busy = measure.busy || check?.running === true;
  const report = check?.report;
  return (
    <div className="page">
      <PageHead
        title="Network"
        sub={
          report
            ? `What this network lets through, measured ${formatAgo(Date.parse(report.at), now)}`
            : 'What this network lets through'
        }
        actions={
          <button type="button" className="button" onClick={start} disabled={busy || check === undefined}>
            <Icon name="refresh" size={17} />
            {busy ? 'Measuring' : 'Measure again'}
          </button>
        }
      />
      {(measure.error ?? check?.problem?.message) && <ErrorLine>{measure.error ?? check?.problem?.message}</ErrorLine>}
      {check === undefined ? (
        <Card>
          {loaded.state === 'failed' ? <FailedState error={loaded.error} again={again} /> : <Skeleton lines={6} />}
        </Card>
      ) : report ? (
        <Report report={report} />
      ) : (
        <Card>
          <EmptyState icon="network" title={busy ? 'Measuring' : 'Not measured yet'}>
            The measurement takes a few seconds, and contacts only your servers and your router.
          </EmptyState>
        </Card>
      )}
    </div>
  );
}

const TRANSPORTS: Record<NetworkReport['transport'], readonly [string, Tone]> = {
  udp: ['UDP works', 'direct'],
  'tcp-only': ['Only TCP; outbound UDP is blocked', 'relay'],
  nothing: ['No server answers', 'bad'],
  unknown: ['Not measured: no server is known', 'idle'],
};

const REACHABILITY: Record<string, readonly [string, Tone]> = {
  direct: ['Direct', 'direct'],
  'port-prediction': ['Direct, using port prediction; otherwise a relay', 'direct'],
  'birthday-attack': ['Relay; sometimes direct, using random port probes', 'relay'],
  relay: ['Relay', 'relay'],
};
const UNKNOWN_REACHABILITY = ['Not known', 'idle'] as const;

function Report({ report }: { report: NetworkReport }) {
  const [transport, tone] = TRANSPORTS[report.transport];
  return (
    <>
      <section className="card why" aria-label="Summary">
        <div className="why-main">
          <p className="status muted">
            <Dot tone={tone} />
            {transport}
          </p>
          <h2 className="network-kind">{report.kind}</h2>
          <p>{report.meaning}</p>
          {report.carrierNat === true && (
            <p>The provider uses another NAT (CGNAT): port mappings of your router are not reachable.</p>
          )}
          {report.portal === 'portal' && <p>A captive portal is in the way: log in with a browser first.</p>}
        </div>
      </section>
      <div className="columns">
        <div className="stack">
          {report.reachability.length > 0 && (
            <Card title="Peers behind" flush>
              <ul className="rows">
                {report.reachability.map(({ peer, reachability }) => {
                  const [words, dot] = REACHABILITY[reachability] ?? UNKNOWN_REACHABILITY;
                  return (
                    <li key={peer} className="row row-low">
                      <Dot tone={dot} />
                      <span className="row-main">{peer}</span>
                      <span className="row-words muted">{words}</span>
                    </li>
                  );
                })}
              </ul>
            </Card>
          )}
          <Card title="Servers" flush>
            <Servers servers={report.servers} />
          </Card>
        </div>
        <div className="stack">
          <Card title="IPv4">
            <Family family={report.ipv4} />
          </Card>
          <Card title="IPv6">
            <Family family={report.ipv6} />
          </Card>
          <Card title="This machine">
            <Facts
              rows={[
                ...addressesByInterface(report).map(
                  ([name, addresses]) =>
                    [
                      name,
                      addresses.map((address) => (
                        <span key={address} className="mono block">
                          {address}
                        </span>
                      )),
                    ] as const,
                ),
                [
                  'Gateway',
                  <span key="gateway" className="mono">
                    {report.gateway ?? 'none'}
                  </span>,
                ],
                [
                  'Port mapping',
                  report.portMapping === null
                    ? 'not tested'
                    : report.portMapping.length === 0
                      ? 'the router offers none'
                      : report.portMapping.map((name) => PROTOCOLS[name] ?? name).join(', '),
                ],
                ['Took', formatMs(report.elapsedMs)],
              ]}
            />
          </Card>
        </div>
      </div>
      {report.text.length > 0 && (
        <details className="card report-text">
          <summary>The report as text</summary>
          {report.text.map(({ title, lines }) => (
            <div key={title}>
              <h3>{title}</h3>
              <pre>{lines.join('\n')}</pre>
            </div>
          ))}
        </details>
      )}
    </>
  );
}

function addressesByInterface({ addresses }: NetworkReport): [string, string[]][] {
  const found = new Map<string, string[]>();
  for (const { interface: name, address, prefixLength } of addresses) {
    found.set(name, [...(found.get(name) ?? []), `${address}/${prefixLength}`]);
  }
  return [...found];
}

const PROTOCOLS: Record<string, string> = { pcp: 'PCP', 'nat-pmp': 'NAT-PMP', upnp: 'UPnP' };

function Family({ family }: { family: NetworkFamily }) {
  if (family.external === null && family.mapping === null) return <p className="muted">{family.why}</p>;
  return (
    <Facts
      rows={[
        [
          'External',
          <span key="external" className="mono">
            {family.external ?? UNKNOWN}
          </span>,
        ],
        ['Mapping', family.mapping ?? 'not measured'],
        ['Filtering', family.filtering ?? 'not measured'],
      ]}
    />
  );
}

function Servers({ servers }: { servers: NetworkReport['servers'] }) {
  if (servers.length === 0) return <p className="list-none muted">No server was asked.</p>;
  return (
    <ul className="rows">
      {servers.map((server) => (
        <li key={`${server.role}/${server.host}:${server.port}`} className="row">
          <span className="row-main">
            <span className="row-title">
              {server.host}:{server.port}
            </span>
            <span className="row-sub">
              {server.role === 'stun' ? 'STUN' : 'relay'}
              {server.problem ? `: ${server.problem.message}` : ''}
            </span>
          </span>
          <span className="row-end transports">
            {server.transports.map((check) => (
              <span
                key={`${check.transport}/${check.family}`}
                title={check.problem?.message}
                data-failed={check.problem !== null}
              >
                <span className="muted">{`${check.transport.toUpperCase()}${check.family === 6 ? '6' : ''}`}</span>{' '}
                {check.rttMs === null ? 'no answer' : formatMs(check.rttMs)}
              </span>
            ))}
          </span>
        </li>
      ))}
    </ul>
  );
}
