import { nameTransactionCommand, readWords } from './task-text.js';
import { splitStatements } from './split.js';

/** The modes of a transaction that a statement asks for. Undefined: the statement does not name the mode. */
export interface TransactionModes {
  readonly isolation?: RequestedIsolation;
  readonly access?: 'read only' | 'read write';
  readonly isDeferrable?: boolean;
}

/** The isolation levels of SQL, from the weakest. PostgreSQL treats the first as the second. */
export const ISOLATION_LEVELS = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] as const;

/** An isolation level that a statement asks for. */
export type RequestedIsolation = (typeof ISOLATION_LEVELS)[number];

/**
 * A statement that begins or ends a transaction, or sets its modes (`set`: SET TRANSACTION). `isChained`: the statement
 * ends with AND CHAIN.
 */
export type TransactionCommand =
  | { readonly kind: 'begin' | 'set'; readonly modes: TransactionModes }
  | { readonly kind: 'commit' | 'rollback'; readonly isChained: boolean };

/** Matches a text that can be a transaction command: its first word decides, or a comment comes first. */
const CANDIDATE = /^\s*(?:begin|start|commit|end|rollback|abort|set|;|--|\/\*)/i;

/**
 * Reads a text that is one statement: BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT or SET TRANSACTION. Returns
 * undefined for every other text, also for ROLLBACK TO SAVEPOINT, for COMMIT PREPARED, and for a text that the server
 * refuses.
 *
 * https://www.postgresql.org/docs/current/sql-begin.html
 */
export function readTransactionCommand(sql: string): TransactionCommand | undefined {
  if (!CANDIDATE.test(sql)) return undefined;
  const words = listWords(sql);
  while (words[0] === ';') words.shift();
  while (words.at(-1) === ';') words.pop();
  if (words.includes(';')) return undefined;
  const name = nameTransactionCommand(words);
  switch (name) {
    case 'BEGIN':
    case 'BEGIN TRANSACTION':
    case 'START TRANSACTION':
      return toCommand('begin', words.slice(/^(?:work|transaction)$/.test(words[1] ?? '') ? 2 : 1));
    case undefined:
      return readSet(words);
    default:
      return readEnd(words);
  }
}

/**
 * Returns true for a text of several statements that begins a transaction, for example `begin; delete from t; commit`. A
 * text that ends a transaction before is not one.
 */
export function hasInnerBegin(sql: string): boolean {
  if (!/;\s*\S/.test(sql) || !/\b(?:begin|start)\b/i.test(sql)) return false;
  try {
    const names = splitStatements(sql).map(({ text }) => nameTransactionCommand(listWords(text)));
    return /^(?:BEGIN|START)\b/.test(names.find((name) => name !== undefined) ?? '');
  } catch {
    return false; // A quote or a comment does not end. The server refuses the text.
  }
}

/** Returns the words of a text in lower case. Empty if a quote or a comment does not end. */
function listWords(sql: string): string[] {
  try {
    return readWords(sql).map(({ start, end }) => sql.slice(start, end).toLowerCase());
  } catch {
    return [];
  }
}

/** Reads SET TRANSACTION, also with LOCAL or SESSION. Both mean this transaction, too. */
function readSet([set, scope, ...rest]: readonly string[]): TransactionCommand | undefined {
  if (set !== 'set') return undefined;
  if (scope === 'transaction') return toCommand('set', rest);
  const isScoped = (scope === 'local' || scope === 'session') && rest[0] === 'transaction';
  return isScoped ? toCommand('set', rest.slice(1)) : undefined;
}

/** Reads COMMIT, END, ROLLBACK or ABORT, with WORK or TRANSACTION and AND [NO] CHAIN. */
function readEnd(words: readonly string[]): TransactionCommand | undefined {
  const match = /^(commit|end|rollback|abort)(?: work| transaction)?( and chain| and no chain)?$/.exec(
    words.join(' '),
  );
  if (match === null) return undefined;
  const kind = match[1] === 'commit' || match[1] === 'end' ? 'commit' : 'rollback';
  return { kind, isChained: match[2] === ' and chain' };
}

/** Matches one mode of a transaction at the beginning of a text. */
const MODE =
  /^(?:isolation level (?<isolation>read uncommitted|read committed|repeatable read|serializable)|(?<access>read only|read write)|(?<not>not )?(?<deferrable>deferrable))(?:$| ?, | )/;

/** Reads the modes behind BEGIN or SET TRANSACTION. As in PostgreSQL, the last of two equal modes counts. */
function toCommand(kind: 'begin' | 'set', words: readonly string[]): TransactionCommand | undefined {
  if (kind === 'set' && words.length === 0) return undefined;
  const modes: { -readonly [Name in keyof TransactionModes]: TransactionModes[Name] } = {};
  let rest = words.join(' ');
  while (rest !== '') {
    const match = MODE.exec(rest);
    if (match === null) return undefined;
    const { isolation, access, not, deferrable } = match.groups ?? {};
    if (isolation !== undefined) modes.isolation = isolation as RequestedIsolation;
    if (access !== undefined) modes.access = access as 'read only' | 'read write';
    if (deferrable !== undefined) modes.isDeferrable = not === undefined;
    rest = rest.slice(match[0].length);
  }
  return { kind, modes };
}
