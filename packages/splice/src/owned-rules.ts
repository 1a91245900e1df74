import type { Events } from '@towpath/core';
import type { OwnedTables, TablesEvents } from './owned-tables.ts';

/** Rules in tables that are made again when they are missing; the base of everything whose rules do not depend on the devices. */
export abstract class OwnedRules implements AsyncDisposable {
  protected readonly tables: OwnedTables;

  protected constructor(tables: OwnedTables) {
    this.tables = tables;
  }

  /** Tells when the rules were made again, and when that fails. */
  get events(): Events<TablesEvents> {
    return this.tables.events;
  }

  /** Looks now whether the rules are there and makes them again if not; it is done every 700 ms anyway. */
  check(): Promise<void> {
    return this.tables.check();
  }

  /** Removes the rules. Idempotent. */
  close(): void {
    this.tables.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
