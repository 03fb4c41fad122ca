import { setTimeout as delay } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral } from '../sql/quote.js';
import { type CursorType, findCursorType } from './cursor.js';
import {
  type OpenTransaction,
  formatHolder,
  openTransactions,
  listStillOpen,
  toOpenTransactions,
} from './open-transactions.js';
import { type CursorInput, type TableOrigin, findDetour, explainQuery } from './cursor-origin.js';
import {
  createChangingTimeZoneError,
  hasNulls,
  createLagOfNumbersError,
  createRowsMadeElsewhereError,
  createUnusableCursorError,
  onReplica,
  createUnorderedSequenceError,
  createUnknownHighWatermarkError,
  createMissingTimeZoneError,
} from './watermark-errors.js';

/** Up to where the rows of a place are complete. */
export interface HighWatermark {
  readonly type: CursorType;
  /**
   * Every row whose cursor is less is visible from now on, and none can come any more. As `CursorType.text` writes it;
   * undefined where there are no rows at all.
   */
  readonly high: string | undefined;
  /** For a person, where a transaction that is open holds back new rows. */
  readonly heldBack: string | undefined;
}

/** How long an open transaction is waited for of which nothing else can be known. */
const WAIT_MS = 30_000;
const LONGEST_POLL_MS = 250;
/** Between the moment that a transaction takes its time from, and the one at which others can see it. */
const PUBLISH_S = 0.01;

/**
 * Finds the settled bound of a place, on a connection that is in no transaction: the snapshot that the rows are then read
 * in must be taken afterwards, or a transaction that commits in between would be lost. Throws `EtlError` when the bound
 * can't be known: it is never guessed.
 */
export async function settle(client: ProtocolClient, input: CursorInput): Promise<HighWatermark> {
  if (client.getTransactionStatus() !== 'I') throw new Error('a bound was asked for inside a transaction');
  const column = await describe(client, input);
  switch (column.type.kind) {
    case 'time':
      return column.isReplica ? settleReplica(client, input, column) : settleTime(client, input, column);
    case 'sequence':
      return settleSequence(client, input, column);
    case 'transaction':
      return settleTransaction(client, column);
    default:
      return column.type.kind satisfies never;
  }
}

/** What the server says of the cursor. */
interface CursorColumn {
  readonly type: CursorType;
  /** With its precision: values of the column are rounded to it. */
  readonly fullType: string;
  readonly isReplica: boolean;
  /** The sequence that its numbers come from, where the table owns one. */
  readonly sequence: { readonly oid: string; readonly isOrdered: boolean } | undefined;
}

async function describe(client: ProtocolClient, input: CursorInput): Promise<CursorColumn> {
  const { from, cursor } = input;
  const name = quoteIdentifier(cursor);
  // Nothing is read yet: a foreign table would be read on another server.
  const [empty, plan] = await readAll(client, [
    `select ${name} from ${from} where false`,
    explainQuery(from),
  ]);
  const [field] = empty?.fields ?? [];
  if (field === undefined) throw new Error('the server did not describe the cursor');
  const { dataTypeID: oid, dataTypeModifier: modifier } = field;
  const type = findCursorType(oid);
  if (type === undefined) throw createUnusableCursorError(cursor, await readTypeName(client, oid, modifier));
  const origin = await findDetour(client, plan?.rows);
  if (origin !== undefined && !isCovered(origin, input)) throw createRowsMadeElsewhereError(input, origin);
  const facts = await readCursorFacts(client, input);
  refuse(input, type, facts);
  const { is_replica: isReplica, sequence, is_ordered: isOrdered } = facts;
  return {
    type,
    // With a precision, the bound is rounded as the values are.
    fullType:
      type.kind === 'time' && modifier >= 0
        ? type.name.replace('timestamp', `timestamp(${modifier})`)
        : type.name,
    isReplica,
    sequence: sequence === null ? undefined : { oid: sequence, isOrdered: isOrdered === true },
  };
}

async function readCursorFacts(
  client: ProtocolClient,
  { from, table, cursor }: CursorInput,
): Promise<CursorFacts> {
  const owned =
    table === undefined
      ? 'null::regclass'
      : `pg_get_serial_sequence(${quoteLiteral(table)}, ${quoteLiteral(cursor)})::regclass`;
  const { rows } = await send(
    client,
    `select pg_is_in_recovery() as is_replica, s.seqrelid::text as sequence,
            s.seqcache = 1 and s.seqincrement > 0 as is_ordered,
            exists (select from ${from} where ${quoteIdentifier(cursor)} is null) as has_nulls
     from (select ${owned} as oid) as owned left join pg_sequence s on s.seqrelid = owned.oid`,
  );
  return rows[0] as CursorFacts;
}

interface CursorFacts {
  readonly is_replica: boolean;
  readonly sequence: string | null;
  readonly is_ordered: boolean | null;
  readonly has_nulls: boolean;
}

/** What a subscription brings late, a `lag` can wait for; nobody knows when the others bring what. */
function isCovered({ detour }: TableOrigin, { lagMs }: CursorInput): boolean {
  return detour === 'subscribed' && lagMs !== undefined;
}

/** Throws `EtlError` for a cursor that rows could be lost by. */
function refuse(input: CursorInput, type: CursorType, facts: CursorFacts): void {
  if (facts.has_nulls) throw hasNulls(input);
  if (type.isLocal && input.timeZone === undefined) throw createMissingTimeZoneError(input, type);
  if (type.kind !== 'time' && input.lagMs !== undefined) throw createLagOfNumbersError(input, type);
  if (facts.is_replica && input.lagMs === undefined) throw onReplica(input);
}

/**
 * A row that a transaction stamps is stamped at its beginning or later: below the beginning of the oldest transaction that
 * is open, nothing new can come.
 */
async function settleTime(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  // now() is the moment at which this message came: the others are looked at later, when all that came before are seen.
  const results = await readAll(client, [
    `select pg_sleep(${PUBLISH_S})`,
    `select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') as now`,
    ...openTransactions(),
  ]);
  const now = String(results[1]?.rows[0]?.now);
  const open = toOpenTransactions(results.slice(2));
  await waitFor(
    client,
    open.filter(({ startedAt }) => startedAt === undefined),
    input,
  );
  const dated = open.filter((each) => each.startedAt !== undefined);
  const oldest = dated.toSorted((a, b) => ((a.startedAt ?? '') < (b.startedAt ?? '') ? -1 : 1))[0];
  const instant = oldest?.startedAt !== undefined && oldest.startedAt < now ? oldest.startedAt : now;
  return {
    type: column.type,
    high: await readValueAt(client, `${quoteLiteral(instant)}::timestamptz`, input, column),
    heldBack: oldest && `rows since ${instant} wait for ${formatHolder(oldest)}`,
  };
}

/**
 * On a replica nobody can see what is open on its primary; but commits come in their order, so that what was begun `lag`
 * before the last of them is there, if no transaction lasts longer.
 */
async function settleReplica(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const high = await readValueAt(client, 'pg_last_xact_replay_timestamp()', input, column);
  return { type: column.type, high, heldBack: undefined };
}

/**
 * Numbers are taken before their rows are committed: up to the greatest one that can be seen, the smaller ones belong to
 * transactions that are open now. When those have ended, all are there.
 */
async function settleSequence(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const { sequence, type } = column;
  if (sequence?.isOrdered === false) throw createUnorderedSequenceError(input);
  const results = await readAll(client, [
    `select (max(${quoteIdentifier(input.cursor)})::numeric + 1)::text as high from ${input.from}`,
    ...openTransactions(sequence?.oid),
  ]);
  const high = results[0]?.rows[0]?.high as string | null | undefined;
  if (typeof high === 'string') await waitFor(client, toOpenTransactions(results.slice(1)), input);
  return { type, high: high ?? undefined, heldBack: undefined };
}

/** Below the oldest transaction that runs, every transaction has ended. */
async function settleTransaction(client: ProtocolClient, { type }: CursorColumn): Promise<HighWatermark> {
  const { rows } = await send(client, 'select pg_snapshot_xmin(pg_current_snapshot())::text as high');
  return { type, high: String(rows[0]?.high), heldBack: undefined };
}

/** The value that a row gets which is stamped at this instant, less the lag. */
async function readValueAt(
  client: ProtocolClient,
  instant: string,
  { lagMs = 0, timeZone, cursor }: CursorInput,
  { type, fullType }: CursorColumn,
): Promise<string | undefined> {
  const zone = quoteLiteral(timeZone ?? 'UTC');
  const isFixed = `(select count(distinct t at time zone ${zone} - t at time zone 'UTC') = 1
    from generate_series(timestamptz '2000-01-01', now() + interval '2 years', interval '30 days') as t)`;
  const shifted = `(${instant} - interval '${lagMs} milliseconds')`;
  const value = type.isLocal ? `(${shifted} at time zone ${zone})` : shifted;
  const { rows } = await send(
    client,
    `select ${type.text(`${value}::${fullType}`)} as high, ${type.isLocal ? isFixed : 'true'} as is_fixed`,
  );
  if (rows[0]?.is_fixed !== true) throw createChangingTimeZoneError(cursor, timeZone ?? '');
  return (rows[0]?.high as string | null) ?? undefined;
}

async function waitFor(
  client: ProtocolClient,
  others: readonly OpenTransaction[],
  { cursor, signal }: CursorInput,
): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  let open = others;
  for (let pause = 10; open.length > 0; pause = Math.min(pause * 2, LONGEST_POLL_MS)) {
    if (performance.now() > deadline) throw createUnknownHighWatermarkError(cursor, open, WAIT_MS);
    await delay(pause, undefined, { signal });
    open = await listStillOpen(client, open);
  }
}

/** Sends statements in one message, which is one transaction. */
async function readAll(
  client: ProtocolClient,
  statements: readonly string[],
): Promise<readonly QueryResult[]> {
  return (await send(client, statements.join(';\n'))) as unknown as readonly QueryResult[];
}

async function readTypeName(client: ProtocolClient, oid: number, modifier: number): Promise<string> {
  const { rows } = await send(client, 'select format_type($1, $2) as name', [oid, modifier]);
  return String(rows[0]?.name);
}
