import { useState } from 'react';
import { useLocation } from 'wouter';
import type { Invite, IssuedInvite, NewInvite, Party } from '../../api/parties.ts';
import { formatUntil, plural } from '../lib/format.ts';
import { useLoaded, useNow, usePage, usePart, useRequest } from '../lib/hooks.ts';
import { ConfirmDialog } from '../ui/confirm-dialog.tsx';
import { Icon } from '../ui/icons.tsx';
import { Badge, Card, EmptyState, ErrorLine, FailedState, PageHead, Segments, Skeleton } from '../ui/parts.tsx';
import { QrCode } from '../ui/qr-code.tsx';

export function InvitePage({ partyId }: { partyId?: string }) {
  const parties = usePart((state) => state.parties);
  const party = partyId === undefined ? parties[0] : parties.find(({ id }) => id === partyId);
  if (party === undefined) {
    return (
      <div className="page">
        <PageHead title="Invite" />
        <Card>
          <EmptyState icon="invite" title="Not in a party yet">
            Create a party first: <code>towpath party create NAME</code>.
          </EmptyState>
        </Card>
      </div>
    );
  }
  return <PartyInvites key={party.id} party={party} parties={parties} />;
}

function PartyInvites({ party, parties }: { party: Party; parties: readonly Party[] }) {
  const { session } = usePage();
  const [, navigate] = useLocation();
  const parts = { party: party.id };
  const { loaded, again } = useLoaded(`invites/${party.id}`, (signal) =>
    session.api.call<Invite[]>('invites', { parts, signal }),
  );
  const [issued, setIssued] = useState<IssuedInvite | undefined>(undefined);
  return (
    <div className="page">
      <PageHead
        title="Invite"
        sub={`A machine that is invited to ${party.name} reaches every member of it.`}
        actions={
          parties.length > 1 && (
            <Segments
              label="Party"
              value={party.id}
              options={parties.map(({ id, name }) => [id, name] as const)}
              onChange={(id) => navigate(`/invite/${encodeURIComponent(id)}`)}
            />
          )
        }
      />
      <div className="columns wide-first">
        {issued === undefined ? (
          <NewInviteForm
            party={party}
            onIssued={(invite) => {
              setIssued(invite);
              again();
            }}
          />
        ) : (
          <Issued issued={issued} onDone={() => setIssued(undefined)} />
        )}
        <Card title="Invites" flush>
          {loaded.state === 'loading' && <Skeleton />}
          {loaded.state === 'failed' && <FailedState error={loaded.error} again={again} />}
          {loaded.state === 'ready' && <InviteList party={party} invites={loaded.value} again={again} />}
        </Card>
      </div>
    </div>
  );
}

const HOURS = [
  ['1', '1 hour'],
  ['24', '1 day'],
  ['168', '1 week'],
] as const;
const USES = [
  ['1', 'one'],
  ['5', 'five'],
  ['50', 'fifty'],
] as const;

function NewInviteForm({ party, onIssued }: { party: Party; onIssued: (issued: IssuedInvite) => void }) {
  const { session } = usePage();
  const [hours, setHours] = useState<(typeof HOURS)[number][0]>('24');
  const [uses, setUses] = useState<(typeof USES)[number][0]>('1');
  const [role, setRole] = useState<'member' | 'admin'>('member');
  const request = useRequest();
  const create = async (): Promise<void> => {
    const body: NewInvite = { hours: Number(hours), uses: Number(uses), role };
    onIssued(await session.api.call<IssuedInvite>('createInvite', { parts: { party: party.id }, body }));
  };
  return (
    <Card title="New invite">
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          request.run(create);
        }}
      >
        <div className="field">
          <span>Valid for</span>
          <Segments label="Valid for" value={hours} options={HOURS} onChange={setHours} />
        </div>
        <div className="field">
          <span>Machines that may join with it</span>
          <Segments label="Machines that may join with it" value={uses} options={USES} onChange={setUses} />
        </div>
        <div className="field">
          <span>Role</span>
          <Segments
            label="Role"
            value={role}
            options={[
              ['member', 'Member'],
              ['admin', 'Admin'],
            ]}
            onChange={setRole}
          />
          <p className="small muted">
            {role === 'admin' ? 'Can invite and remove others.' : 'Can reach the others, and be reached.'}
          </p>
        </div>
        {request.error && <ErrorLine>{request.error}</ErrorLine>}
        <div>
          <button type="submit" className="button" data-kind="primary" disabled={request.busy}>
            Create invite
          </button>
        </div>
      </form>
    </Card>
  );
}

function Issued({ issued, onDone }: { issued: IssuedInvite; onDone: () => void }) {
  const now = useNow();
  const { invite, code, link, command } = issued;
  return (
    <Card title="Invite is ready" aside={`expires ${formatUntil(Date.parse(invite.expires), now)}`}>
      <div className="issued">
        <QrCode text={link} label="QR code of the invite link" />
        <div className="stack">
          {code && <Copyable label="Code" text={code} large />}
          <Copyable label="Command for the other machine" text={command} />
          <Copyable label="Link" text={link} />
          <p className="small muted">
            Whoever has the code or the link can join, so send it only to whom it is for. It is shown once.
          </p>
          <div>
            <button type="button" className="button" onClick={onDone}>
              Done
            </button>
          </div>
        </div>
      </div>
    </Card>
  );
}

function Copyable({ label, text, large = false }: { label: string; text: string; large?: boolean }) {
  const [copied, setCopied] = useState<'no' | 'yes' | 'failed'>('no');
  const copy = (): void => {
    navigator.clipboard.writeText(text).then(
      () => setCopied('yes'),
      () => setCopied('failed'),
    );
  };
  return (
    <div className="field">
      <span>{label}</span>
      <div className="copyable" data-large={large}>
        <code>{text}</code>
        <button type="button" className="icon-button" aria-label={`Copy ${label.toLowerCase()}`} onClick={copy}>
          <Icon name={copied === 'yes' ? 'check' : 'copy'} size={18} />
        </button>
      </div>
      <span className="visually-hidden" role="status">
        {copied === 'yes' ? 'Copied.' : copied === 'failed' ? 'The browser did not allow copying.' : ''}
      </span>
    </div>
  );
}

function InviteList({ party, invites, again }: { party: Party; invites: readonly Invite[]; again: () => void }) {
  const now = useNow();
  const [revoking, setRevoking] = useState<Invite | undefined>(undefined);
  if (invites.length === 0) return <p className="list-none muted">No invite was issued yet.</p>;
  return (
    <>
      <ul className="rows">
        {invites.map((invite) => (
          <li key={invite.id} className="row">
            <span className="row-main">
              <span className="row-title">{`${invite.uses} of ${plural(invite.maxUses, 'machine')} joined`}</span>
              <span className="row-sub">
                {`by ${invite.issuer}, as ${invite.role}`}
                {invite.state === 'open' && `, expires ${formatUntil(Date.parse(invite.expires), now)}`}
              </span>
            </span>
            {invite.state === 'open' ? (
              <button type="button" className="button" data-kind="plain" onClick={() => setRevoking(invite)}>
                Revoke
              </button>
            ) : (
              <Badge>{invite.state}</Badge>
            )}
          </li>
        ))}
      </ul>
      {revoking && (
        <RevokeDialog
          party={party}
          invite={revoking}
          onClose={() => setRevoking(undefined)}
          onRevoked={() => {
            setRevoking(undefined);
            again();
          }}
        />
      )}
    </>
  );
}

function RevokeDialog({
  party,
  invite,
  onClose,
  onRevoked,
}: {
  party: Party;
  invite: Invite;
  onClose: () => void;
  onRevoked: () => void;
}) {
  const { session } = usePage();
  const revoke = async (): Promise<void> => {
    await session.api.call('revokeInvite', { parts: { party: party.id, invite: invite.id } });
    onRevoked();
  };
  return (
    <ConfirmDialog title="Revoke this invite?" action="Revoke" onConfirm={revoke} onClose={onClose}>
      Nobody can join with it any more. Machines that have joined stay members.
    </ConfirmDialog>
  );
}
