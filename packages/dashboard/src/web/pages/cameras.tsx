import { useState } from 'react';
import { Link } from 'wouter';
import type { Camera, NewCamera } from '../../api/cameras.ts';
import { cameraTone, cameraWords, outputWords } from '../lib/cameras.ts';
import { formatAgo, plural } from '../lib/format.ts';
import { useNow, usePage, usePart, useRequest } from '../lib/hooks.ts';
import { cameraPath } from '../lib/state.ts';
import { Vitals } from '../ui/camera-vitals.tsx';
import { Icon } from '../ui/icons.tsx';
import { Badge, Card, Dialog, EmptyState, ErrorLine, PageHead } from '../ui/parts.tsx';
import { NewestPictures } from '../ui/newest-pictures.tsx';

export function CamerasPage() {
  const cameras = usePart((state) => state.cameras);
  const [adding, setAdding] = useState(false);
  const add = (
    <button
      type="button"
      className="button"
      data-kind={cameras.length === 0 ? 'primary' : undefined}
      onClick={() => setAdding(true)}
    >
      Add a camera
    </button>
  );
  return (
    <div className="page">
      <PageHead title="Cameras" actions={cameras.length > 0 && add} />
      {cameras.length === 0 ? (
        <Card>
          <EmptyState icon="camera" title="No camera yet" actions={add}>
            A camera that is added is kept connected, and its new pictures are fetched. On the command line:{' '}
            <code>towpath camera add NAME ADDRESS</code>
          </EmptyState>
        </Card>
      ) : (
        <div className="cameras">
          {cameras.map((camera) => (
            <CameraCard key={camera.name} camera={camera} />
          ))}
        </div>
      )}
      {adding && <AddDialog onClose={() => setAdding(false)} />}
    </div>
  );
}

function CameraCard({ camera }: { camera: Camera }) {
  const now = useNow();
  const { name, pictures, problem, outputProblems, via } = camera;
  return (
    <section className="card camera-card" aria-label={name}>
      <Link href={cameraPath(name)} className="camera-pictures" tabIndex={-1} aria-hidden="true">
        <NewestPictures camera={name} version={pictures.newestAt} />
      </Link>
      <div className="camera-body">
        <div className="camera-head">
          <h2>
            <Link href={cameraPath(name)}>{name}</Link>
          </h2>
          <Badge tone={cameraTone(camera)}>{cameraWords(camera)}</Badge>
        </div>
        <p className="muted small">
          {pictures.newestAt === null
            ? 'No pictures yet'
            : `${plural(pictures.saved, 'picture')}, newest ${formatAgo(Date.parse(pictures.newestAt), now)}`}
          {via !== null && `, via ${via}`}
        </p>
        {problem !== null && <p className="camera-problem small">{problem.message}</p>}
        {outputProblems.map((failing) => (
          <p key={failing.message} className="camera-problem small">
            {outputWords(camera, failing)}
          </p>
        ))}
        <Vitals camera={camera} />
      </div>
    </section>
  );
}

function AddDialog({ onClose }: { onClose: () => void }) {
  const { session } = usePage();
  const peers = usePart((state) => state.peers);
  const names = [...new Set([...peers.values()].flat().map(({ name }) => name))];
  const [name, setName] = useState('');
  const [target, setTarget] = useState('');
  const [via, setVia] = useState('');
  const request = useRequest();
  const add = async (): Promise<void> => {
    const body: NewCamera = { name: name.trim(), target: target.trim(), ...(via === '' ? {} : { via }) };
    await session.api.call('addCamera', { body });
    onClose();
  };
  return (
    <Dialog title="Add a camera" onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          request.run(add);
        }}
      >
        <label className="field">
          <span>Name</span>
          <input
            className="input"
            required
            maxLength={40}
            pattern="[A-Za-z0-9][A-Za-z0-9_\-]*"
            title="Letters, digits, - and _"
            placeholder="feeder"
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <label className="field">
          <span>Address or UID</span>
          <input
            className="input mono"
            required
            maxLength={253}
            placeholder="192.168.1.77"
            value={target}
            onChange={(event) => setTarget(event.target.value)}
          />
        </label>
        {names.length > 0 && (
          <label className="field">
            <span>In the network of</span>
            <select className="input" value={via} onChange={(event) => setVia(event.target.value)}>
              <option value="">this machine</option>
              {names.map((peer) => (
                <option key={peer} value={peer}>
                  {peer}
                </option>
              ))}
            </select>
          </label>
        )}
        {request.error && <ErrorLine>{request.error}</ErrorLine>}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button" data-kind="primary" disabled={request.busy}>
            <Icon name="camera" size={17} />
            Add
          </button>
        </div>
      </form>
    </Dialog>
  );
}
