import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { QueryResult } from 'pg';
import { EtlError } from '../../errors.js';
import { copyInto } from '../copy/copy-in.js';
import { quoteIdentifier, quoteTable } from '../sql/identifier.js';
import type { Wire } from '../wire.js';
import type { TransactionBody, Work } from './body.js';

/** A CSV file with a header, and the table that it goes to. */
export interface LoadSource {
  /** A path from the directory of the config. */
  readonly from: string;
  /** `table` or `schema.table`. */
  readonly into: string;
  /** `append` adds the rows; `replace` puts them in place of those that are there. */
  readonly mode: 'append' | 'replace';
}

/** What a `load` task gives to the tasks that need it. */
export interface LoadResult {
  /** Rows that the server has taken, which is as many as it was sent. */
  readonly rows: number;
}

/** The header must end within this much of the file. */
const HEADER_LIMIT_BYTES = 1024 * 1024;
const MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * A CSV file into a table by COPY. The server parses it; the header says which column each field belongs to, in
 * whatever order. Views, grants and foreign keys of the table stay as they are.
 */
export function loadBody(source: LoadSource): TransactionBody {
  return {
    transactional: true,
    source: async () => JSON.stringify(source),
    run: (work) => load(source, work),
  };
}

async function load({ from, into, mode }: LoadSource, work: Work): Promise<LoadResult> {
  const path = resolve(work.root, from);
  const columns = await readHeader(path, from);
  const table = quoteTable(into);
  if (mode === 'replace') await empty(work.wire, table);
  if (columns === undefined) return { rows: 0 };
  const list = columns.map(quoteIdentifier).join(', ');
  const sent = await copy(work, `copy ${table} (${list}) from stdin with (format csv, header true)`, path);
  return { rows: sent };
}

/** The names in the first line of a CSV file; undefined for an empty file. */
async function readHeader(path: string, name: string): Promise<readonly string[] | undefined> {
  const file = await open(path).catch((error: unknown) => {
    throw unreadable(name, error);
  });
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(HEADER_LIMIT_BYTES), position: 0 });
    if (bytesRead === 0) return undefined;
    return splitHeader(firstLine(buffer.subarray(0, bytesRead), name), name);
  } finally {
    await file.close();
  }
}

function unreadable(name: string, cause: unknown): EtlError {
  const { code } = cause as NodeJS.ErrnoException;
  return new EtlError('ETL-3501', {
    what: `the file "${name}" can't be read`,
    why: code === 'ENOENT' ? 'there is no such file' : code,
    fix: 'the path starts at the directory of the config file',
    cause,
  });
}

/** A header may hold line breaks inside quotes, as any CSV line may. */
function firstLine(start: Buffer, name: string): string {
  const text = start.toString('utf8').replace(/^\uFEFF/, '');
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') quoted = !quoted;
    else if (!quoted && (text[i] === '\n' || text[i] === '\r')) return text.slice(0, i);
  }
  if (start.length < HEADER_LIMIT_BYTES && !quoted) return text;
  throw new EtlError('ETL-3502', {
    what: `the first line of "${name}" does not end`,
    why: quoted ? 'a quote is opened and not closed' : 'it is longer than 1 MiB',
    fix: 'the first line must hold the names of the columns, separated by commas',
  });
}

function splitHeader(line: string, name: string): readonly string[] {
  const names = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
  const twice = names.find((each, index) => names.indexOf(each) !== index);
  if (twice === undefined && !names.includes('')) return names;
  throw new EtlError('ETL-3503', {
    what: `the header of "${name}" ${twice === undefined ? 'has a column without a name' : `names the column "${twice}" twice`}`,
    fix: 'each name in the first line must be that of one column of the table',
  });
}

/**
 * TRUNCATE gives the space back and is fast for any size; a table that foreign keys refer to can't be truncated alone,
 * so that one is emptied by DELETE, which checks them.
 */
async function empty(wire: Wire, table: string): Promise<void> {
  const referenced = (await wire.query({
    text: `select exists (select from pg_constraint where contype = 'f' and confrelid = $1::regclass and conrelid <> confrelid) as yes`,
    values: [table],
  })) as QueryResult<{ yes: boolean }>;
  await wire.query({ text: referenced.rows[0]?.yes ? `delete from ${table}` : `truncate ${table}` });
}

function copy({ wire, context }: Work, text: string, path: string): Promise<number> {
  const bytes = createReadStream(path, { highWaterMark: 256 * 1024 });
  return copyInto(wire, text, withoutMark(bytes), { signal: context.signal });
}

/** COPY would take a byte order mark for a part of the first name. */
async function* withoutMark(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isFirst = true;
  for await (const chunk of bytes) {
    const hasMark = isFirst && chunk.subarray(0, 3).equals(MARK);
    isFirst = false;
    yield hasMark ? chunk.subarray(3) : chunk;
  }
}
