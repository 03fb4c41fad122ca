import { expect } from 'chai';
import fc from 'fast-check';
import { dag } from '../../../src/runtime/dag/dag.js';
import { FailTask, SkipTask } from '../../../src/runtime/attempt/outcome.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn, type FinishedRun } from '../../support/run.js';

/** The characters that no text of PostgreSQL can hold: https://www.postgresql.org/docs/current/datatype-character.html */
const NEVER = /[\p{Surrogate}\0]/gu;
/** A character that the program wrote as its code. */
const CODE = /\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|u\{[0-9a-f]+\})/g;

/** Encodings of databases, and the characters that each can't hold. */
const ENCODINGS: readonly [encoding: string, refused: RegExp][] = [
  ['UTF8', NEVER],
  ['SQL_ASCII', NEVER],
  ['LATIN1', /[\0\u{100}-\u{10ffff}]/gu],
  ['EUC_JP', /[\0\P{ASCII}]/gu],
];

/** Texts of all sorts: valid ones, NUL, halves of surrogate pairs, quotes of JSON and SQL, control characters. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom(
        '\0',
        '\ud83d',
        '\ude00',
        '😀',
        '€',
        'é',
        '日本',
        '\\u0000',
        '\\',
        '"',
        "'",
        '\u2028',
        '\x1b[',
      ),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(''));

for (const [encoding, refused] of ENCODINGS) {
  describe(`a text of any origin in a database with the encoding ${encoding}`, () => {
    let admin: TestDatabase;
    let url: string;
    let db: { query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]> };
    before(async () => {
      admin = await createDatabase();
      const name = `${admin.name}_encoded`;
      await admin.query(`create database ${name} encoding '${encoding}' locale 'C' template template0`);
      url = (await cluster()).url(name);
      const { Client } = (await import('pg')).default;
      const client = new Client({ connectionString: url });
      await client.connect();
      db = { query: async (text, values = []) => (await client.query(text, [...values])).rows };
      after(async () => {
        await client.end();
        await admin.query(`drop database ${name} with (force)`);
        await admin.drop();
      });
    });

    /** The end of the run, and the texts that the ledger has of its attempts. */
    async function readRun({ runId }: FinishedRun) {
      const [row] = await db.query<{ state: string; ended: boolean }>(
        'select state, finished_at is not null as ended from etl.run where run_id = $1',
        [runId],
      );
      const attempts = await db.query<{ task_id: string; state: string; message: string }>(
        'select task_id, state, message from etl.attempt where run_id = $1 order by id',
        [runId],
      );
      return { row, attempts };
    }
    /** A text without the characters that the database can't hold, and without their codes. */
    const bare = (text: string): string => text.replaceAll(refused, '').replaceAll(CODE, '');

    it('is stored if it is the message of an error or the reason of a skip, and the end of the run is recorded', async () => {
      await fc.assert(
        fc.asyncProperty(anyText, anyText, async (message, reason) => {
          const graph = dag('d', { defaults: { conn: 'db', backoff: { initial: 1 } } }, (d) => {
            d.session('fails', { retries: 1 }, async () => {
              throw new Error(message, { cause: new TypeError(reason) });
            });
            d.session('gives-up', {}, async () => {
              throw new FailTask(message, { cause: message });
            });
            d.session('skips', {}, async () => {
              throw new SkipTask(reason);
            });
            d.task('plain', {}, async () => {
              throw new AggregateError([new Error(reason), message], message);
            });
          });
          const run = await runOn({ db: url }, graph);
          expect(run.errors).to.deep.equal([]);
          expect(run.outcome('skips')).to.equal('skipped');
          const { row, attempts } = await readRun(run);
          expect(row).to.deep.equal({ state: 'failed', ended: true });
          expect(attempts.map(({ state }) => state).toSorted()).to.deep.equal([
            'failed',
            'failed',
            'failed',
            'skipped',
            'up_for_retry',
          ]);
          const skipped = attempts.find(({ state }) => state === 'skipped');
          expect(bare(skipped?.message ?? '')).to.equal(bare(reason));
          const failed = attempts.find(({ task_id: id }) => id === 'gives-up');
          expect(bare(failed?.message ?? '')).to.include(bare(message));
        }),
        { numRuns: 25 },
      );
    });

    it('is stored if it is a rejected row', async () => {
      await db.query('create table if not exists n (i int)');
      await db.query('drop table if exists bad');
      const rows = ['1', '2€', '3é', `4${'😀'.repeat(6000)}`, '5\\', '日本', '7'];
      const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
        d.load('l', {
          from: () => [Buffer.from(`i\n${rows.join('\n')}\n`)],
          format: 'csv',
          into: 'n',
          mode: 'replace',
          rejects: { max: 10, to: 'bad' },
        });
      });
      const run = await runOn({ db: url }, graph);
      expect(run.outcome('l'), run.tasks[0]?.error?.message).to.equal('success');
      expect(await db.query('select i from n order by i')).to.deep.equal([{ i: 1 }, { i: 7 }]);
      const bad = await db.query<{ raw: string }>('select raw from bad order by line');
      expect(bad.map(({ raw }) => bare(raw))).to.deep.equal(
        ['2€', '3é', `4${'😀'.repeat(6000)}`.slice(0, 10_000), '5\\', '日本'].map(bare),
      );
    });

    it('is refused if the ledger must keep it as it is, and nothing is committed', async () => {
      await db.query('create table if not exists t (v text)');
      for (const text of ['a\0b', 'half \ud83d', '€', '日本', 'é']) {
        // The server says whether the encoding has the characters.
        const isConverted = admin.query('select convert_to($1, $2)', [text, encoding]).then(
          () => true,
          () => false,
        );
        const fits = text.replaceAll(NEVER, '') === text && (await isConverted);
        const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
          d.session('result', {}, async ({ session }) => {
            await session.raw(`insert into t values ('r')`);
            return { text };
          });
          d.session('watermark', {}, async ({ session, watermark }) => {
            await session.raw(`insert into t values ('w')`);
            (await watermark('w')).set(text);
          });
          d.session('name', {}, async ({ session, watermark }) => {
            await session.raw(`insert into t values ('n')`);
            (await watermark(text)).set('1');
          });
        });
        await db.query('truncate t');
        const run = await runOn({ db: url }, graph, { concurrency: 1 });
        expect(run.errors).to.deep.equal([]);
        expect((await readRun(run)).row).to.deep.equal({ state: fits ? 'success' : 'failed', ended: true });
        expect(await db.query('select v from t'), text).to.have.lengthOf(fits ? 3 : 0);
        if (!fits) continue;
        const [done] = await db.query(
          `select result->>'text' as text from etl.task where run_id = $1 and task_id = 'result'`,
          [run.runId],
        );
        expect(done).to.deep.equal({ text });
        expect(await db.query(`select value from etl.watermark where name = 'w'`)).to.deep.equal([
          { value: text },
        ]);
      }
    });
  });
}

describe('a text that is too long', () => {
  let db: TestDatabase;
  before(async () => (db = await createDatabase()));
  after(() => db.drop());

  it('is cut in the record of an attempt', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, async () => {
        throw new Error('x'.repeat(5_000_000));
      });
    });
    const { runId, errors } = await runOn({ db: db.url }, graph);
    expect(errors).to.deep.equal([]);
    const [row] = await db.query(
      'select message, length(error::text) < 200000 as short from etl.attempt where run_id = $1',
      [runId],
    );
    expect(row?.['message']).to.match(/^x{65536}… \(4934464 more characters\)$/);
    expect(row?.['short']).to.equal(true);
  });

  it('is refused as the name of a watermark', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, async ({ watermark }) => void (await watermark('w'.repeat(201))));
      d.session('u', {}, async ({ watermark }) => (await watermark('w'.repeat(200))).set('1'));
    });
    const run = await runOn({ db: db.url }, graph);
    expect([run.outcome('t'), run.outcome('u')]).to.deep.equal(['failed ETL-3701', 'success']);
  });

  it('is no reason to leave a run open: the end is recorded also if no attempt can be', async () => {
    const graph = dag('d', { defaults: { conn: 'db' } }, (d) => {
      d.session('t', {}, async () => {
        await db.query('alter table etl.attempt add constraint none check (false) not valid');
        throw new Error('no');
      });
    });
    const run = await runOn({ db: db.url }, graph);
    expect(run.errors.map(({ code }) => code)).to.deep.equal(['ETL-4002']);
    expect(await db.query('select state from etl.run where run_id = $1', [run.runId])).to.deep.equal([
      { state: 'failed' },
    ]);
  });
});
