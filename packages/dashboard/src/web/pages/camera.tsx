import { useState } from 'react';
import { useLocation } from 'wouter';
import type { Camera } from '../../api/cameras.ts';
import { cameraTone, cameraWords, outputWords, retentionWords } from '../lib/cameras.ts';
import { formatAgo, formatBytes, formatMs, formatUntil, plural } from '../lib/format.ts';
import { useNow, usePage, usePart, useRequest } from '../lib/hooks.ts';
import { KIND_WORDS } from '../lib/peers.ts';
import { cameraPath } from '../lib/state.ts';
import { Vitals } from '../ui/camera-vitals.tsx';
import { ConfirmDialog } from '../ui/confirm-dialog.tsx';
import { Gallery } from '../ui/gallery.tsx';
import { Icon } from '../ui/icons.tsx';
import { LiveView } from '../ui/live-view.tsx';
import { Badge, Card, EmptyState, ErrorLine, Facts, PageHead } from '../ui/parts.tsx';
import { Waterfall } from '../ui/waterfall.tsx';

export function CameraPage({ name, day, media }: { name: string; day?: string; media?: string }) {
  const camera = usePart((state) => state.cameras.find((one) => one.name === name));
  const back = { href: '/cameras', label: 'Cameras' };
  if (camera === undefined) {
    return (
      <div className="page">
        <PageHead title={name} back={back} />
        <Card>
          <EmptyState icon="camera" title="There is no such camera">
            It was removed, or its name is another. Its pictures, if there are any, stay on disk.
          </EmptyState>
        </Card>
      </div>
    );
  }
  return <OneCamera key={name} camera={camera} back={back} open={day && media ? { day, media } : undefined} />;
}

function OneCamera({
  camera,
  back,
  open,
}: {
  camera: Camera;
  back: { href: string; label: string };
  open: { day: string; media: string } | undefined;
}) {
  const { session } = usePage();
  const [live, setLive] = useState(false);
  const [removing, setRemoving] = useState(false);
  const check = useRequest();
  const parts = { camera: camera.name };
  const missing = camera.pictures.missing ?? 0;
  return (
    <div className="page">
      <PageHead
        title={camera.name}
        back={back}
        badge={<Badge tone={cameraTone(camera)}>{cameraWords(camera)}</Badge>}
        sub={
          <>
            <span className="mono">{camera.target}</span>
            {camera.via !== null && ` in the network of ${camera.via}`}
          </>
        }
        actions={
          <>
            <button
              type="button"
              className="button"
              disabled={check.busy}
              onClick={() => check.run(() => session.api.call('checkCamera', { parts }))}
            >
              <Icon name="refresh" size={17} />
              Check card
            </button>
            {missing > 0 && (
              <button
                type="button"
                className="button"
                disabled={check.busy || camera.state !== 'connected'}
                onClick={() =>
                  check.run(async () => {
                    const download = await session.api.call<never>('createDownload', { parts });
                    session.dispatch({ type: 'events', events: [{ type: 'download', download }], atMs: Date.now() });
                  })
                }
              >
                <Icon name="download" size={17} />
                {`Fetch ${missing} missing`}
              </button>
            )}
            <button
              type="button"
              className="button"
              data-kind="primary"
              disabled={camera.state !== 'connected' && !live}
              onClick={() => setLive(!live)}
            >
              <Icon name={live ? 'stop' : 'play'} size={17} />
              {live ? 'Stop live' : 'Live'}
            </button>
          </>
        }
      />
      {check.error && <ErrorLine>{check.error}</ErrorLine>}
      <CameraProblem camera={camera} />
      {camera.outputProblems.map((problem) => (
        <OutputBanner key={problem.message} text={outputWords(camera, problem)} at={problem.at} />
      ))}
      {live && <LiveView camera={camera.name} onClose={() => setLive(false)} />}
      <div className="card camera-vitals">
        <Vitals camera={camera} />
      </div>
      <Gallery camera={camera} open={open} />
      <Details camera={camera} onRemove={() => setRemoving(true)} />
      {removing && <RemoveDialog camera={camera} onClose={() => setRemoving(false)} />}
    </div>
  );
}

function CameraProblem({ camera: { problem, nextTryAt, state } }: { camera: Camera }) {
  const now = useNow(1_000);
  const next = nextTryAt === null ? NaN : Date.parse(nextTryAt);
  if (problem === null) {
    return state === 'asleep' && next > now ? (
      <p className="muted">{`It sleeps. Next visit ${formatUntil(next, now)}; Check card wakes it now.`}</p>
    ) : null;
  }
  return (
    <div className="banner" data-tone="bad">
      <Icon name="warning" size={18} />
      <span>
        {problem.message}
        {next > now && <span className="muted">{` Next attempt ${formatUntil(next, now)}.`}</span>}
      </span>
    </div>
  );
}

function OutputBanner({ text, at }: { text: string; at: string | undefined }) {
  const now = useNow();
  return (
    <div className="banner" data-tone="bad">
      <Icon name="warning" size={18} />
      <span>
        {text}
        {at !== undefined && <span className="muted">{` It began ${formatAgo(Date.parse(at), now)}.`}</span>}
      </span>
    </div>
  );
}

function Details({ camera, onRemove }: { camera: Camera; onRemove: () => void }) {
  const now = useNow();
  const { device, pictures, path, retention, race, since } = camera;
  return (
    <div className="columns">
      <Card title="Camera">
        <Facts
          rows={[
            ['Model', device?.model ?? 'not known'],
            ['Firmware', device?.firmware ?? 'not known'],
            ['Path', path === null ? 'none' : `${KIND_WORDS[path.kind]}, ${path.endpoint}`],
            ['Round trip', formatMs(path?.rttMs ?? undefined)],
            ['State since', formatAgo(Date.parse(since), now)],
            ['Temperature', device?.temperature == null ? 'not known' : `${device.temperature} °C`],
            device ? ['Said', formatAgo(Date.parse(device.at), now)] : undefined,
          ]}
        />
      </Card>
      <Card title="Pictures">
        <Facts
          rows={[
            ['Saved here', `${plural(pictures.saved, 'picture')}, ${formatBytes(pictures.bytes)}`],
            ['On the card', pictures.onCard === null ? 'not known yet' : String(pictures.onCard)],
            ['Missing here', pictures.missing === null ? 'not known yet' : String(pictures.missing)],
            ['Card checked', pictures.checkedAt === null ? 'not yet' : formatAgo(Date.parse(pictures.checkedAt), now)],
            ['Kept', retentionWords(retention, formatBytes)],
            ['Deleted from card', retention.deleteFromCard === 'never' ? 'never' : 'when saved here'],
          ]}
        />
        <div className="card-foot">
          <button type="button" className="button" data-kind="bad" onClick={onRemove}>
            Remove this camera
          </button>
        </div>
      </Card>
      {race && (
        <Card title={`Race, ${formatMs(race.elapsedMs)}`} flush>
          <Waterfall race={race} />
        </Card>
      )}
    </div>
  );
}

function RemoveDialog({ camera, onClose }: { camera: Camera; onClose: () => void }) {
  const { session } = usePage();
  const [, navigate] = useLocation();
  const remove = async (): Promise<void> => {
    await session.api.call('removeCamera', { parts: { camera: camera.name } });
    navigate(cameraPath('').replace(/\/$/, ''));
  };
  return (
    <ConfirmDialog title={`Remove ${camera.name}?`} action="Remove" onConfirm={remove} onClose={onClose}>
      It is not connected any more, and its pictures are not fetched. Those that are here stay on disk.
    </ConfirmDialog>
  );
}
