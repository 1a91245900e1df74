import { lazy, Suspense, useEffect, useMemo, useState } from 'react';
import { Link, Route, Router, Switch, useLocation } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import type { Download } from '../api/cameras.ts';
import { formatTime } from './lib/format.ts';
import { Page, useNow, usePage, usePart, useStore } from './lib/hooks.ts';
import type { Session } from './lib/session.ts';
import { applyTheme, type Theme, useTheme } from './lib/theme.ts';
import { EventsPage } from './pages/events.tsx';
import { PartyPage } from './pages/party.tsx';
import { NoSuchPage } from './pages/no-such-page.tsx';
import { Gate, SignIn, Unreachable } from './pages/sign-in.tsx';
import { Icon, type IconName, Mark } from './ui/icons.tsx';
import { Card, Skeleton } from './ui/parts.tsx';
import { Toasts } from './ui/toasts.tsx';

// Each with what it alone needs: the chart, the QR code, the gallery.
const PeerPage = lazy(() => import('./pages/peer.tsx').then(({ PeerPage }) => ({ default: PeerPage })));
const CamerasPage = lazy(() => import('./pages/cameras.tsx').then(({ CamerasPage }) => ({ default: CamerasPage })));
const CameraPage = lazy(() => import('./pages/camera.tsx').then(({ CameraPage }) => ({ default: CameraPage })));
const InvitePage = lazy(() => import('./pages/invite.tsx').then(({ InvitePage }) => ({ default: InvitePage })));
const NetworkPage = lazy(() => import('./pages/network.tsx').then(({ NetworkPage }) => ({ default: NetworkPage })));
const RelaysPage = lazy(() => import('./pages/relays.tsx').then(({ RelaysPage }) => ({ default: RelaysPage })));

export function App({ session }: { session: Session }) {
  const state = useStore(session.state);
  const page = state.type === 'ready' ? state.page : undefined;
  const context = useMemo(() => (page === undefined ? undefined : { session, page }), [session, page]);
  switch (state.type) {
    case 'loading':
      return (
        <Gate title="Towpath">
          <p role="status" className="muted">
            Loading
          </p>
        </Gate>
      );
    case 'signed-out':
      return <SignIn message={state.message} onToken={(token) => void session.start(token)} />;
    case 'unreachable':
      return <Unreachable message={state.message} onAgain={() => void session.start(undefined)} />;
    case 'ready':
      return (
        <Page value={context}>
          <Router hook={useHashLocation}>
            <Shell />
          </Router>
        </Page>
      );
    default:
      return state satisfies never;
  }
}

const NAVIGATION: readonly (readonly [href: string, label: string, icon: IconName, also: RegExp])[] = [
  ['/', 'Party', 'party', /^\/(party|peers)\b|^\/$/],
  ['/cameras', 'Cameras', 'camera', /^\/cameras\b/],
  ['/invite', 'Invite', 'invite', /^\/invite\b/],
  ['/relays', 'Relays', 'relay', /^\/relays\b/],
  ['/network', 'Network', 'network', /^\/network\b/],
  ['/events', 'Events', 'events', /^\/events\b/],
];

function Shell() {
  const { session } = usePage();
  const [location] = useLocation();
  useEffect(() => {
    session.api
      .call<Download[]>('downloads')
      .then((downloads) => session.dispatch({ type: 'downloads', downloads }))
      .catch(() => undefined);
  }, [session]);
  // A new page is read from its top; a picture over a gallery leaves the gallery where it is.
  const section = location.split('/').slice(0, 3).join('/');
  const [shown, setShown] = useState(section);
  useEffect(() => {
    if (section === shown) return;
    setShown(section);
    window.scrollTo(0, 0);
  }, [section, shown]);
  return (
    <div className="shell">
      <button type="button" className="skip" onClick={() => document.getElementById('main')?.focus()}>
        To the content
      </button>
      <nav className="nav" aria-label="Pages">
        <Link href="/" className="brand">
          <Mark />
          Towpath
        </Link>
        <ul>
          {NAVIGATION.map(([href, label, icon, also]) => (
            <li key={href}>
              <Link
                href={href}
                className="nav-link"
                {...(also.test(location) ? { 'aria-current': 'page' as const } : {})}
              >
                <Icon name={icon} />
                {label}
              </Link>
            </li>
          ))}
        </ul>
        <div className="nav-foot">
          <LinkState />
          <ThemeButton />
        </div>
      </nav>
      <main className="main" id="main" tabIndex={-1}>
        <Banners />
        <Suspense fallback={<Waiting />}>
          <Switch>
            <Route path="/">
              <PartyPage />
            </Route>
            <Route path="/party/:party">{({ party }) => <PartyPage partyId={part(party)} />}</Route>
            <Route path="/peers/:party/:peer">
              {({ party, peer }) => <PeerPage key={peer} party={part(party)} peer={part(peer)} />}
            </Route>
            <Route path="/invite">
              <InvitePage />
            </Route>
            <Route path="/invite/:party">{({ party }) => <InvitePage partyId={part(party)} />}</Route>
            <Route path="/relays">
              <RelaysPage />
            </Route>
            <Route path="/network">
              <NetworkPage />
            </Route>
            <Route path="/events">
              <EventsPage />
            </Route>
            <Route path="/cameras">
              <CamerasPage />
            </Route>
            <Route path="/cameras/:name">{({ name }) => <CameraPage name={part(name)} />}</Route>
            <Route path="/cameras/:name/:day/:media">
              {({ name, day, media }) => <CameraPage name={part(name)} day={part(day)} media={part(media)} />}
            </Route>
            <Route>
              <NoSuchPage />
            </Route>
          </Switch>
        </Suspense>
      </main>
      <Toasts />
    </div>
  );
}

function Waiting() {
  return (
    <div className="page">
      <Card>
        <Skeleton lines={5} />
      </Card>
    </div>
  );
}

/** A part of the address, as the link was made of it. */
function part(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function LinkState() {
  const { session } = usePage();
  const state = useStore(session.link);
  return (
    <span className="live" data-state={state} role="status">
      {state === 'open' ? 'Live' : state === 'connecting' ? 'Connecting' : 'Offline'}
    </span>
  );
}

const NEXT_THEME: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
const THEME_ICONS: Record<Theme, IconName> = { auto: 'auto', light: 'sun', dark: 'moon' };

function ThemeButton() {
  const { theme } = useTheme();
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={`Colours: ${theme === 'auto' ? 'as the system' : theme}. Change`}
      onClick={() => applyTheme(NEXT_THEME[theme])}
    >
      <Icon name={THEME_ICONS[theme]} size={18} />
    </button>
  );
}

function Banners() {
  const { session } = usePage();
  const link = useStore(session.link);
  const problems = usePart((state) => state.problems);
  return (
    <div className="banners">
      {link === 'waiting' && <OfflineBanner />}
      {problems.map((problem) => (
        <div key={`${problem.code}/${problem.message}`} className="banner" data-tone="bad" role="alert">
          <Icon name="warning" size={18} />
          {problem.message}
        </div>
      ))}
    </div>
  );
}

function OfflineBanner() {
  const { session } = usePage();
  useNow(1_000);
  return (
    <div className="banner" role="status">
      <Icon name="offline" size={18} />
      <span>{`The daemon does not answer. What is shown is of ${formatTime(session.heardMs)}. Connecting again.`}</span>
      <button type="button" className="button" data-kind="plain" onClick={() => session.wake()}>
        Now
      </button>
    </div>
  );
}
