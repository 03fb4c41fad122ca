import { expect } from 'chai';
import fc from 'fast-check';
import { Client } from 'pg';
import { dag, type Dag } from '../../../src/runtime/dag/dag.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn, type FinishedRun } from '../../support/run.js';

const WRITERS = 3;

/** One step of a history: a change of the tables that are read, or of the runs that read them. */
type Step =
  | { readonly kind: 'write'; readonly writer: number; readonly row: number; readonly events: number }
  | { readonly kind: 'commit' | 'roll back'; readonly writer: number }
  | { readonly kind: 'run' | 'resume'; readonly fails: boolean }
  /** Waits for the end of the active run. */
  | { readonly kind: 'join' };

const writer = fc.nat(WRITERS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      writer,
      row: fc.nat(4),
      events: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('commit' as const), writer }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('roll back' as const), writer }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('run' as const), fails: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('resume' as const), fails: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('join' as const) }) },
);
const histories = fc.array(step, { minLength: 8, maxLength: 30 });

/** The tables, their writers, and the active run. */
class World {
  readonly #db: TestDatabase;
  readonly #cursor: string;
  readonly #clients: Client[] = [];
  /** The IDs of the rows of `state` that the open transaction of each writer has locked. */
  readonly #locked: (Set<number> | undefined)[] = [];
  #running: Promise<FinishedRun> | undefined;
  #failed: string | undefined;
  #fails = false;
  #written = 0;

  constructor(db: TestDatabase, cursor: string) {
    this.#db = db;
    this.#cursor = cursor;
  }

  async open(): Promise<void> {
    await this.#db.query(`
      drop schema if exists etl cascade; drop table if exists event, state, event_copy, state_copy;
      create table event (id bigint generated always as identity, name text,
                          at timestamptz not null default now(), tx xid8 not null default pg_current_xact_id());
      create table state (id int primary key, name text, at timestamptz not null default now(),
                          tx xid8 not null default pg_current_xact_id());
      create table event_copy (id bigint, name text);
      create table state_copy (id int primary key, name text)`);
    for (let i = 0; i < WRITERS; i++) {
      const client = new Client({ connectionString: this.#db.url });
      await client.connect();
      this.#clients.push(client);
    }
  }

  async apply(next: Step): Promise<void> {
    switch (next.kind) {
      case 'write':
        return this.#write(next);
      case 'commit':
      case 'roll back':
        return this.#end(next.writer, next.kind === 'commit' ? 'commit' : 'rollback');
      case 'run':
      case 'resume':
        await this.#join();
        this.#start(next.kind, next.fails);
        return;
      case 'join':
        return this.#join();
      default:
        return next satisfies never;
    }
  }

  /** Commits all writers, and runs once more so that nothing is left to read. */
  async close(): Promise<void> {
    await this.#join();
    for (let i = 0; i < WRITERS; i++) await this.#end(i, 'commit');
    this.#start('run', false);
    await this.#join();
    for (const client of this.#clients) await client.end();
  }

  async #write({ writer: own, row, events }: Step & { kind: 'write' }): Promise<void> {
    const client = this.#clients[own];
    this.#locked[own] ??= (await client?.query('begin'), new Set());
    const name = `${++this.#written}`;
    await client?.query(`insert into event (name) select $1 from generate_series(1, $2::int)`, [
      name,
      events,
    ]);
    // A writer must not wait for another writer, because the test does one step after the other.
    if (this.#locked.some((rows, i) => i !== own && rows?.has(row))) return;
    this.#locked[own].add(row);
    await client?.query(
      `insert into state (id, name) values ($1, $2)
       on conflict (id) do update set name = excluded.name, at = now(), tx = pg_current_xact_id()`,
      [row, name],
    );
  }

  async #end(own: number, how: 'commit' | 'rollback'): Promise<void> {
    if (this.#locked[own] !== undefined) await this.#clients[own]?.query(how);
    this.#locked[own] = undefined;
  }

  #start(kind: 'run' | 'resume', fails: boolean): void {
    if (kind === 'resume' && this.#failed === undefined) return;
    this.#fails = fails;
    const resume = { kind: 'resume', runId: this.#failed, interval: undefined, strict: false } as const;
    this.#running = runOn({ db: this.#db.url }, this.#dag(), kind === 'resume' ? { resume } : {});
  }

  async #join(): Promise<void> {
    // A run with the cursor `id` waits for writers that have taken numbers of the sequence.
    if (this.#cursor === 'id' && (await this.#isWaiting()))
      for (let i = 0; i < WRITERS; i++) await this.#end(i, 'commit');
    const done = await this.#running;
    this.#running = undefined;
    if (done) this.#failed = done.state === 'failed' ? done.runId : undefined;
    for (const { error } of done?.tasks ?? []) if (error) expect(error.message).to.equal('division by zero');
  }

  /** Returns true if the run waits for a writer, and false if the run has ended. */
  async #isWaiting(): Promise<boolean> {
    const over = this.#running?.then(() => 'over');
    for (;;) {
      const sessions = await Promise.race([over, this.#db.sessions()]);
      if (sessions === undefined || typeof sessions === 'string') return false;
      if (sessions.some(({ query }) => query.startsWith('select id, holder'))) return true;
    }
  }

  #dag(): Dag {
    const cursor = this.#cursor;
    const fail = () => (this.#fails ? ['select 1/0'] : []);
    return dag('copies', { defaults: { conn: 'db' } }, (d) => {
      d.sql('events', {
        incremental: { table: 'event', cursor },
        sql: ({ incremental: { where } }) => [
          `insert into event_copy select id, name from event where ${where}`,
          ...fail(),
        ],
      });
      // A number from a sequence shows new rows only, not changed rows.
      if (cursor === 'id') return;
      d.sql('states', {
        incremental: { table: 'state', cursor },
        sql: ({ incremental: { where } }) => [
          `insert into state_copy select id, name from state where ${where}
           on conflict (id) do update set name = excluded.name`,
          ...fail(),
        ],
      });
    });
  }
}

describe('incremental tasks under any history of writers, runs, failures and resumes', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());

  for (const cursor of ['at', 'id', 'tx']) {
    it(`copy each event once and each row in its last version, with the cursor "${cursor}"`, async () => {
      await fc.assert(
        fc.asyncProperty(histories, async (steps) => {
          const world = new World(db, cursor);
          await world.open();
          try {
            for (const each of steps) await world.apply(each);
          } finally {
            await world.close();
          }
          const rows = (table: string) => db.query(`select id, name from ${table} order by id`);
          expect(await rows('event_copy')).to.deep.equal(await rows('event'));
          if (cursor !== 'id') expect(await rows('state_copy')).to.deep.equal(await rows('state'));
        }),
        { numRuns: 12, endOnFailure: true },
      );
    });
  }
});
