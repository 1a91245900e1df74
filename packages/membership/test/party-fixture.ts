import { SeededRandom } from '@towpath/core';
import {
  authorByMember,
  authorGenesis,
  authorJoin,
  commitStatement,
  generateSigningKey,
  generateWireGuardKey,
  type InvitedRole,
  type MemberContent,
  type NodeKeys,
  PartyState,
  peerIdOf,
  type SignedStatement,
  type SigningKey,
} from '../src/index.ts';

/** A node of a test, from a seed. */
export interface TestNode extends NodeKeys {
  readonly id: string;
  readonly name: string;
}

export function testNode(seed: number, name = `node ${seed}`): TestNode {
  const random = new SeededRandom(seed);
  const signing = generateSigningKey(random);
  return {
    signing,
    wireGuardPublicKey: generateWireGuardKey(random).publicKey,
    id: peerIdOf(signing.publicKey),
    name,
  };
}

/** A party that grows in memory, by statements that nobody checked: tests put bad ones in on purpose. */
export class TestParty {
  readonly key: SigningKey = generateSigningKey(new SeededRandom(999));
  readonly founder: TestNode = testNode(1, 'founder');
  readonly statements: Uint8Array[] = [];
  readonly state: PartyState = new PartyState(this.key.publicKey);
  timeMs = 1_800_000_000_000;

  constructor() {
    this.add(
      authorGenesis({
        partyKey: this.key,
        partyName: 'the party',
        founder: this.founder,
        founderName: this.founder.name,
        timeMs: this.timeMs,
      }),
    );
  }

  add(statement: SignedStatement): SignedStatement {
    this.statements.push(statement.bytes);
    commitStatement(this.state, statement);
    return statement;
  }

  append(node: TestNode, content: MemberContent): SignedStatement {
    return this.add(this.draft(node, content));
  }

  draft(node: TestNode, content: MemberContent): SignedStatement {
    return authorByMember(this.state, node.signing, content, ++this.timeMs);
  }

  invite(seed: number, options: { by?: TestNode; maxUses?: number; role?: InvitedRole } = {}): SigningKey {
    const key = generateSigningKey(new SeededRandom(seed));
    this.append(options.by ?? this.founder, {
      type: 'invite',
      inviteKey: key.publicKey,
      role: options.role ?? 'member',
      maxUses: options.maxUses ?? 100,
      expiresAtMs: this.timeMs + 3_600_000,
    });
    return key;
  }

  draftJoin(node: TestNode, invite: SigningKey): SignedStatement {
    return authorJoin(this.state, { invite, node, name: node.name, timeMs: ++this.timeMs });
  }

  join(node: TestNode, invite: SigningKey): SignedStatement {
    return this.add(this.draftJoin(node, invite));
  }
}
