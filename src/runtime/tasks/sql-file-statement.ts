import { EtlError } from '../../errors.js';
import { formatSqlLocation, type SqlOrigin } from '../sql/excerpt.js';
import type { Token } from '../sql/scan.js';
import { findCopyDirection, nameTransactionCommand, readWords } from '../sql/task-text.js';

/** The reason why a statement of a `.sql` file can't run in a task, and the advice. */
interface Refusal {
  /** The name of the statement, as the subject of a sentence: `the psql command \i`. */
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

/**
 * The advice for a command of psql, by the word after the backslash. The commands are those of
 * https://www.postgresql.org/docs/current/app-psql.html
 */
const PSQL_FIXES: Readonly<Record<string, string>> = {
  i: 'make the other file a task of its own, with `d.sql(id, { file })`',
  ir: 'make the other file a task of its own, with `d.sql(id, { file })`',
  include: 'make the other file a task of its own, with `d.sql(id, { file })`',
  set: 'delete the line, and give the value with `values: () => ({ name: value })` or as a param',
  gset: 'read the value in a `d.session` task',
  copy: 'load a file with `d.load`, and write a file with `d.unload`',
  c: 'name the connection with `conn`',
  connect: 'name the connection with `conn`',
  restrict: 'delete the lines \\restrict and \\unrestrict, which pg_dump writes for psql',
  unrestrict: 'delete the lines \\restrict and \\unrestrict, which pg_dump writes for psql',
  '.': 'load the rows with `d.load`, or write the dump with `pg_dump --inserts`',
};

/**
 * Throws `EtlError` ETL-3010 for a statement that a task can't run, wherever the file is valid for psql:
 *
 * - a command of psql, such as `\i other.sql`
 * - a COPY from or to the client: the rows have no source, or nobody reads them
 * - a statement that begins or ends a transaction, such as `commit`
 */
export function refuseStatement(text: string, origin: SqlOrigin): void {
  const tokens = readWords(text);
  const words = tokens.map(({ start, end }) => text.slice(start, end).toLowerCase());
  const slash = words.indexOf('\\');
  const refusal =
    slash >= 0
      ? refusePsqlCommand(words[slash + 1] ?? '')
      : (refuseCopy(text, tokens) ?? refuseTransaction(words));
  if (refusal === undefined) return;
  throw new EtlError('ETL-3010', {
    what: `${refusal.what} can't run in a task`,
    where: formatSqlLocation(origin, origin.start + (tokens[Math.max(slash, 0)]?.start ?? 0)),
    why: refusal.why,
    fix: refusal.fix,
    data: 'no statement of the file was run',
  });
}

/** Describes a command of psql, which begins with a backslash. `command` is the word after the backslash. */
function refusePsqlCommand(command: string): Refusal {
  return {
    what: `the psql command \\${command.slice(0, 30)}`,
    why: 'the statements of the file go to the server, and only psql knows commands that begin with a backslash',
    fix: PSQL_FIXES[command] ?? 'delete the line, or run the file with psql',
  };
}

/** Describes a COPY whose rows come from the client or go to the client. */
function refuseCopy(text: string, tokens: readonly Token[]): Refusal | undefined {
  const direction = findCopyDirection(text, tokens);
  switch (direction) {
    case 'from':
      return {
        what: 'COPY … FROM STDIN',
        why: 'the file holds the rows after the statement, which only psql can send',
        fix: 'load the rows with `d.load`, or write the dump with `pg_dump --inserts`',
      };
    case 'to':
      return {
        what: 'COPY … TO STDOUT',
        why: 'nobody would read the rows',
        fix: 'write the rows to a file with `d.unload`, or read them with `session.copyTo`',
      };
    case undefined:
      return undefined;
    default:
      return direction satisfies never;
  }
}

/** Describes a statement that begins or ends a transaction. */
function refuseTransaction(words: readonly string[]): Refusal | undefined {
  const what = nameTransactionCommand(words);
  if (what === undefined) return undefined;
  return {
    what,
    why: 'the whole task is one transaction, which etl begins and commits together with the record of the task',
    fix: 'delete the statement; for several transactions, write one file and one task for each',
  };
}
