import { expect } from 'chai';
import fc from 'fast-check';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../../support/cli.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { runOn } from '../../support/run.js';
import { PATHS, type Path, type Trip } from './value-paths.js';
import { NOT_IN_JAVASCRIPT, TYPES, type ValueType } from './value-types.js';

/** The number of random values. ETL_VALUES=20000 is the size for a night. */
const SIZE = Number(process.env['ETL_VALUES'] ?? 1600);
/** The seed of the random values and settings. A failure prints the seed of its trip; use it with `-g` and the path. */
const SEED = Number(process.env['ETL_VALUES_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
/** The columns and the rows of one trip. */
const COLUMNS = 13;
const ROWS = 4;

/** The settings of the process and of the two databases, which are combined at random. */
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Apia'];
const DATABASE_ZONES = ['UTC', 'America/St_Johns', 'Asia/Tokyo', 'Europe/Berlin'];
const DATE_STYLES = ['ISO, MDY', 'German, DMY', 'SQL, DMY', 'Postgres, MDY'];
const INTERVAL_STYLES = ['postgres', 'sql_standard', 'iso_8601'];
const settings = fc.record({
  TimeZone: fc.constantFrom(...DATABASE_ZONES),
  DateStyle: fc.constantFrom(...DATE_STYLES),
  IntervalStyle: fc.constantFrom(...INTERVAL_STYLES),
  bytea_output: fc.constantFrom('hex', 'escape'),
  extra_float_digits: fc.constantFrom('0', '1'),
});
const combination = fc.record({
  zone: fc.constantFrom(...ZONES),
  a: settings,
  b: settings,
});
type Combination = typeof combination extends fc.Arbitrary<infer T> ? T : never;
type Settings = Combination['a'];

/** Types without an operator `=`. */
const HAS_NO_EQUALITY = /^(?:json|xml|point|polygon|jsonpath)$/;
/** The objects that the types need. */
const OBJECTS = `
  create type mood as enum ('ok', 'not, "ok"', 'NULL', ''); create domain day as date;
  create domain instant as timestamptz; create domain document as jsonb; create type pair as (a int, b text);`;

describe(`a value on every path (ETL_VALUES_SEED=${SEED})`, () => {
  const zone = process.env['TZ'];
  let a: TestDatabase;
  let b: TestDatabase;
  let root: string;
  let seed = SEED;
  before(async () => {
    [a, b] = await Promise.all([createDatabase(), createDatabase()]);
    for (const db of [a, b]) await db.query(OBJECTS);
    await mkdir(join(ROOT, '.etl/test'), { recursive: true });
    root = await mkdtemp(join(ROOT, '.etl/test/values-'));
  });
  after(async () => {
    await rm(root, { recursive: true });
    await Promise.all([a.drop(), b.drop()]);
  });
  afterEach(async () => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
    await applySettings(a);
    await applySettings(b);
  });

  /** Sets the settings of a database, or removes all. */
  async function applySettings(db: TestDatabase, values?: Settings): Promise<void> {
    const set = Object.entries(values ?? {}).map(([name, value]) => `alter database ${db.name} set ${name} to '${value}'`);
    await db.query([`alter database ${db.name} reset all`, ...set].join('; '));
  } // prettier-ignore

  /** Takes random items. Each call takes others, in an order that the seed decides. */
  function sample<T>(values: fc.Arbitrary<T>, count: number): T[] {
    return fc.sample(values, { seed: seed++, numRuns: count });
  }

  function findValues(type: ValueType, holds: Path['holds']): fc.Arbitrary<string> {
    return (holds === 'any' ? undefined : type[holds]) ?? type.texts;
  }

  /** Creates the tables `src` in `a`, and `dst` and `expected` in `b`, with random values and a row of NULLs. */
  async function fill(path: Path, { columns }: Trip): Promise<string[][]> {
    const values = columns.map(([, type]) => sample(findValues(type, path.holds), ROWS));
    const list = columns.map(([name, type]) => `${name} ${type.sql}`).join(', ');
    const casts = columns.map(([, type], i) => `$${i + 1}::text::${type.sql}`).join(', ');
    for (const [db, tables] of [[a, ['src']], [b, ['expected', 'dst']]] as const) {
      for (const table of tables) await db.query(`drop table if exists ${table}; create table ${table} (id int primary key, ${list})`);
      const [table] = tables;
      for (let row = 0; row < ROWS; row++)
        await db.query(`insert into ${table} values (${row}, ${casts})`, values.map((each) => each[row]));
      await db.query(`insert into ${table} (id) values (${ROWS})`);
    }
    return values;
  } // prettier-ignore

  /** Compares `dst` with `expected`: by text, and by equality if the type has one. Returns the differences as text. */
  async function findDifferences({ columns }: Trip): Promise<readonly string[]> {
    const found: string[] = [];
    for (const [name, type] of columns) {
      const differs = HAS_NO_EQUALITY.test(type.sql) ? 'false' : `e.${name} is distinct from d.${name}`;
      const rows = await b.query<{ id: number; expected: string; got: string }>(
        `select id, e.${name}::text as expected, d.${name}::text as got from expected e full join dst d using (id)
         where ${differs} or e.${name}::text is distinct from d.${name}::text or e.id is null or d.id is null`,
      );
      found.push(...rows.map((row) => `${type.name}: expected ${row.expected}, got ${row.got}`));
    }
    return found;
  }

  /** Sends random values through a path. Returns what is wrong: an error, or each value that changed. */
  async function travel(path: Path, trip: Trip): Promise<readonly string[]> {
    const run = await runOn({ a: a.url, b: b.url }, path.build(trip), { root });
    const failed = run.tasks.find(({ error }) => error !== undefined);
    if (failed === undefined) return findDifferences(trip);
    const kept = await b.query('select id from dst');
    expect(kept, `rows that ${path.name} keeps after an error`).to.deep.equal([]);
    const { code, message, why, where } = failed.error ?? {};
    return [`${code} ${message}: ${why} ${where}`];
  }

  for (const path of PATHS) {
    for (const [sql, text] of path.refuses ?? []) {
      it(`is refused by the name of its column, and nothing is kept: ${sql} on ${path.name}`, async () => {
        for (const [db, table] of [
          [a, 'src'],
          [b, 'dst'],
        ] as const)
          await db.query(
            `drop table if exists ${table}; create table ${table} (id int primary key, c0 ${sql})`,
          );
        await a.query(`insert into src values (1, $1::text::${sql})`, [text]);
        const run = await runOn({ a: a.url, b: b.url }, path.build({ root, columns: [] }), { root });
        const error = run.tasks.find((task) => task.error !== undefined)?.error;
        expect(`${error?.message} ${error?.where}`).to.include('column "c0"');
        expect(await b.query('select id from dst')).to.deep.equal([]);
      });
    }
  }

  for (const path of PATHS) {
    it(`comes out as it went in: ${path.name}`, async () => {
      const types = TYPES.filter(
        (type) =>
          (path.takes?.(type) ?? true) &&
          !(path.holds === 'inJavaScript' && NOT_IN_JAVASCRIPT.has(type.name)),
      );
      const trips = Math.max(1, Math.ceil(SIZE / PATHS.length / COLUMNS / ROWS));
      for (let i = 0; i < trips; i++) {
        const start = seed;
        const [chosen] = sample(combination, 1) as [Combination];
        const [picked] = sample(
          fc.shuffledSubarray([...types], { minLength: COLUMNS, maxLength: COLUMNS }),
          1,
        );
        const trip: Trip = { root, columns: (picked ?? []).map((type, index) => [`c${index}`, type]) };
        await applySettings(a);
        await applySettings(b);
        await fill(path, trip);
        await applySettings(a, chosen.a);
        await applySettings(b, chosen.b);
        process.env['TZ'] = chosen.zone;
        const wrong = await travel(path, trip);
        const types13 = trip.columns.map(([, type]) => type.name).join(', ');
        expect(wrong, `ETL_VALUES_SEED=${start} ${JSON.stringify(chosen)} ${types13}`).to.deep.equal([]);
      }
    });
  }
});
