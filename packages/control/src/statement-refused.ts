import type { StatementFailure } from '@towpath/membership';
import { ControlError } from './control-error.ts';

/** Returns the error for a statement that may not be appended; `details` has its sequence and the reason. */
export function statementRefused(failure: StatementFailure): ControlError {
  return new ControlError('invalid-statement', refusalText(failure), { details: { ...failure } });
}

/** What a person is told whose action the rules of a party do not allow: about the action, not about the log. */
function refusalText({ reason, because, message }: StatementFailure): string {
  switch (reason) {
    case 'unknown-invite':
      return 'This invite does not exist, or was revoked. Next: ask for a new one.';
    case 'invite-expired':
      return 'This invite has expired. Next: ask for a new one.';
    case 'invite-used-up':
      return 'This invite has already been used. Next: ask for a new one.';
    case 'unknown-author':
      return 'This node is not a member of the party any more. Next: ask for a new invite.';
    case 'unknown-member':
      return 'Nothing was changed: that member is not in the party any more.';
    case 'duplicate':
      return `Nothing was changed: ${because}`;
    case 'not-allowed':
      return `Not allowed: ${because.replace('its author', 'this node')}`;
    case 'party-full':
    case 'log-full':
      return `The party is full: ${because} Next: create a new party.`;
    case 'bad-name':
      return 'A name is empty or holds control characters. Next: choose another one.';
    default:
      return message;
  }
}
