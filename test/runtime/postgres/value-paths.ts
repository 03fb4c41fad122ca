import { join } from 'node:path';
import { dag, type Dag } from '../../../src/runtime/dag/dag.js';
import type { Session } from '../../../src/runtime/session/session.js';
import type { ValueType } from './value-types.js';

/** The columns of one table that goes through a path. The table `src` is in database `a`, the table `dst` in `b`. */
export interface Trip {
  /** The directory for files. */
  readonly root: string;
  /** The names of the columns with the types, without `id`. */
  readonly columns: readonly (readonly [name: string, type: ValueType])[];
}

/** A way from the table `src` of database `a` to the table `dst` of database `b`. */
export interface Path {
  readonly name: string;
  /** The values that the path holds: all, those that pg's parsers keep, or those of a file format. */
  readonly holds: 'any' | 'inJavaScript' | 'inParquet' | 'inNdjson';
  /** Says whether the path takes a type. Default: every type. */
  readonly takes?: (type: ValueType) => boolean;
  /** Types and values that the path refuses by the name of the column. */
  readonly refuses?: readonly (readonly [sql: string, text: string])[];
  build(trip: Trip): Dag;
}

/** Formats that write an array and a composite as JSON. */
const JSON_FILE = {
  takes: ({ sql }: ValueType) => sql !== 'pair',
  refuses: [
    ['pair', '(1,a)'],
    ['jsonb[]', '{"[1]"}'],
  ],
} as const;

const toFile = (name: string, file: string, transform: boolean): Path => ({
  name,
  ...(!file.endsWith('.csv') && JSON_FILE),
  holds: file.endsWith('.parquet') ? 'inParquet' : file.endsWith('.ndjson') ? 'inNdjson' : 'any',
  build: ({ root }) =>
    dag('d', { defaults: { conn: 'b' } }, (d) => {
      const path = join(root, file);
      const out = d.unload('out', { conn: 'a', table: 'src', to: path });
      d.load('in', {
        needs: [out],
        from: path,
        into: 'dst',
        mode: 'replace',
        ...(transform && { transform: (row) => ({ ...row }) }),
      });
    }),
});

const JSON_TYPES = /json|document/;
/** Types that a session can't write again, because it does not know the type of a parameter. */
const isParameter = ({ sql }: ValueType): boolean => !JSON_TYPES.test(sql) && !/^(?:point|circle)/.test(sql);
/** Types whose binary format is the same in every database. */
const isBinary = ({ sql }: ValueType): boolean => !/^(?:mood|day|instant|document|pair|reg)/.test(sql);
const isNoJson = ({ sql }: ValueType): boolean => !JSON_TYPES.test(sql);

async function readAll(session: Session, text = false): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const row of session.rows('select * from src', { text })) rows.push(row);
  return rows;
}

/** Builds a Dag with a session task in `b` that reads `a`. */
const inSession = (use: (session: Session, a: Session) => Promise<unknown>): Dag =>
  dag('d', { defaults: { conn: 'b' } }, (d) => {
    d.session('in', { reads: ['a'] }, async ({ session, sources }) => void (await use(session, sources.a)));
  });

const copyThrough = (format: 'text' | 'csv' | 'binary'): Path => ({
  name: `copyTo, copyFrom of bytes (${format})`,
  holds: 'any',
  ...(format === 'binary' && { takes: isBinary }),
  build: () =>
    inSession((session, a) => session.copyFrom({ table: 'dst', format }, a.copyTo({ table: 'src', format }))),
});

/** Every pair of a way out and a way in. */
export const PATHS: readonly Path[] = [
  toFile('unload CSV, load as it is', 'v.csv', false),
  toFile('unload CSV, load with transform', 'v.csv', true),
  toFile('unload NDJSON, load', 'v.ndjson', false),
  toFile('unload NDJSON, load with transform', 'v.ndjson', true),
  toFile('unload Parquet, load', 'v.parquet', false),
  toFile('unload Parquet, load with transform', 'v.parquet', true),
  {
    name: 'transfer',
    holds: 'any',
    build: () =>
      dag('d', { defaults: { conn: 'b' } }, (d) => {
        d.transfer('in', { from: 'a', table: 'src', into: 'dst', mode: 'replace' });
      }),
  },
  {
    name: 'transfer of a query, in the binary format',
    holds: 'any',
    takes: isBinary,
    build: () =>
      dag('d', { defaults: { conn: 'b' } }, (d) => {
        d.transfer('in', { from: 'a', query: 'select * from src', into: 'dst', mode: 'merge', key: ['id'] });
      }),
  },
  {
    name: 'session.rows, load of rows',
    holds: 'inJavaScript',
    build: () =>
      dag('d', { defaults: { conn: 'b' } }, (d) => {
        let rows: Record<string, unknown>[] = [];
        const out = d.session('out', { conn: 'a' }, async ({ session }) => {
          rows = await readAll(session);
        });
        d.load('in', { needs: [out], from: () => rows, into: 'dst', mode: 'append' });
      }),
  },
  {
    name: 'session.rows, load of rows with transform',
    holds: 'inJavaScript',
    build: () =>
      dag('d', { defaults: { conn: 'b' } }, (d) => {
        let rows: Record<string, unknown>[] = [];
        const out = d.session('out', { conn: 'a' }, async ({ session }) => {
          rows = await readAll(session);
        });
        d.load('in', {
          needs: [out],
          from: () => rows,
          transform: (row) => [{ ...row }],
          into: 'dst',
          mode: 'merge',
          key: ['id'],
        });
      }),
  },
  {
    name: 'session.rows as text, load of rows',
    holds: 'any',
    takes: isNoJson,
    build: () =>
      dag('d', { defaults: { conn: 'b' } }, (d) => {
        let rows: Record<string, unknown>[] = [];
        const out = d.session('out', { conn: 'a' }, async ({ session }) => {
          rows = await readAll(session, true);
        });
        d.load('in', { needs: [out], from: () => rows, into: 'dst', mode: 'append' });
      }),
  },
  {
    name: 'session.rows, copyFrom of rows',
    holds: 'inJavaScript',
    build: () =>
      inSession(async (session, a) => session.copyFrom({ table: 'dst' }, await readAll(a))),
  },
  {
    name: 'session select, session insert',
    holds: 'inJavaScript',
    takes: isParameter,
    build: () =>
      inSession(async (session, a) => {
        for (const row of (await a('src').select()) as object[]) await session('dst').insert(row);
      }),
  },
  copyThrough('text'),
  copyThrough('csv'),
  copyThrough('binary'),
]; // prettier-ignore
