import { setTimeout as delay } from 'node:timers/promises';
import type { EtlError } from '../../errors.js';
import { formatDuration } from '../duration.js';
import { type ProtocolClient, send } from '../postgres/protocol.js';
import { quoteIdentifier, quoteLiteral } from '../sql/quote.js';
import type { CursorType } from './cursor.js';
import {
  type CursorColumn,
  type CursorInput,
  createCursorError,
  describeCursor,
  sendAll,
} from './cursor-column.js';
import {
  type OpenTransaction,
  adviseRollback,
  formatHolder,
  READ_OLDEST_ID,
  buildOpenTransactionQueries,
  listStillOpen,
  parseOpenTransactions,
} from './open-transactions.js';

/** The highest cursor value below which no row can appear any more. */
export interface HighWatermark {
  readonly type: CursorType;
  /**
   * Canonical text (see `CursorType.toText`). Every row with a smaller cursor is visible from now on, and no new row
   * gets a smaller cursor. Undefined if the input has no rows, and on a replica that has replayed no transaction yet.
   */
  readonly high: string | undefined;
  /**
   * A text for a person that names the oldest open transaction, which keeps newer rows from being read. Undefined if no
   * transaction is open.
   */
  readonly heldBack: string | undefined;
}

/** The maximum wait for the end of an open transaction if this role can't see when the transaction began. */
const WAIT_MS = 30_000;
/** The longest pause between two looks at the open transactions. */
const LONGEST_POLL_MS = 250;
/**
 * The maximum seconds between the begin of a transaction and the moment when other sessions see the transaction.
 */
const PUBLISH_S = 0.01;

/**
 * Finds the high watermark of the input. The connection must be outside a transaction: the snapshot that reads the rows
 * must be newer than the high watermark, or the rows of a transaction that commits in between would be lost.
 *
 * Throws `EtlError` (ETL-3704 to ETL-3710 and ETL-3712) if the high watermark can't be known. The result is never a
 * guess.
 */
export async function findHighWatermark(client: ProtocolClient, input: CursorInput): Promise<HighWatermark> {
  if (client.getTransactionStatus() !== 'I')
    throw new Error('the high watermark must be read outside a transaction');
  const column = await describeCursor(client, input);
  switch (column.type.kind) {
    case 'time':
      return column.isReplica ? findOnReplica(client, input, column) : findByTime(client, input, column);
    case 'sequence':
      return findBySequence(client, input, column);
    case 'transaction':
      return findByTransaction(client, column);
    default:
      return column.type.kind satisfies never;
  }
}

/**
 * Finds the begin of the oldest open transaction, or now if no transaction is open, less the option `lag` of the task.
 * A transaction stamps its rows with its begin or a later time, so no new row can get an earlier time. First waits for
 * the end of transactions whose begin is unknown. Throws ETL-3710 if they do not end within 30 seconds.
 */
async function findByTime(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  // now() is the time at which the server got this message. The open transactions are read after a short sleep. Then
  // each open transaction that began before now() is visible.
  const results = await sendAll(client, [
    `select pg_catalog.pg_sleep(${PUBLISH_S})`,
    `select pg_catalog.to_char(pg_catalog.now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') as now`,
    ...buildOpenTransactionQueries(),
  ]);
  const now = String(results[1]?.rows[0]?.now);
  const open = parseOpenTransactions(results.slice(2));
  await waitForTransactions(
    client,
    open.filter(({ startedAt }) => startedAt === undefined),
    input,
  );
  // The times are texts of one format in UTC, so the smallest text is the earliest time.
  const dated = open.filter((each) => each.startedAt !== undefined);
  const oldest = dated.toSorted((a, b) => ((a.startedAt ?? '') < (b.startedAt ?? '') ? -1 : 1))[0];
  // A transaction that began during the short sleep is later than now().
  const instant = oldest?.startedAt !== undefined && oldest.startedAt < now ? oldest.startedAt : now;
  return {
    type: column.type,
    high: await readValueAt(client, `${quoteLiteral(instant)}::timestamp with time zone`, input, column),
    heldBack: oldest && `rows since ${instant} wait for ${formatHolder(oldest)}`,
  };
}

/**
 * Finds the commit time of the last replayed transaction, less the option `lag` of the task. A replica does not show
 * which transactions are open on its primary, but replays the commits in their order. So every transaction that
 * committed before that time is here. If no transaction lasts longer than `lag`, every transaction that began before
 * the result is here, too. The high watermark is undefined if the replica has replayed no transaction yet.
 */
async function findOnReplica(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const high = await readValueAt(client, 'pg_catalog.pg_last_xact_replay_timestamp()', input, column);
  return { type: column.type, high, heldBack: undefined };
}

/**
 * Finds the highest visible number plus 1, and waits for the transactions that are open now. A transaction takes a
 * number before it commits the row, so a smaller number that is not visible belongs to one of these transactions. When
 * the transactions have ended, all rows up to the number are visible. With a known sequence, waits only for
 * transactions that took a number of the sequence. Throws ETL-3710 after 30 seconds. The high watermark is undefined if
 * the input has no rows.
 */
async function findBySequence(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const { sequence, type } = column;
  // The open transactions are read after the highest number. In the other order, a transaction could begin and take a
  // smaller number in between, and nobody would wait for the transaction.
  const results = await sendAll(client, [
    `select (pg_catalog.max(${quoteIdentifier(input.cursor)})::numeric operator(pg_catalog.+) 1)::pg_catalog.text as high
     from ${input.from}`,
    ...buildOpenTransactionQueries(sequence ?? undefined),
  ]);
  const high = results[0]?.rows[0]?.high as string | null | undefined;
  if (typeof high === 'string')
    await waitForTransactions(client, parseOpenTransactions(results.slice(1)), input);
  return { type, high: high ?? undefined, heldBack: undefined };
}

/**
 * Finds the ID of the oldest running transaction: every transaction with a smaller ID has ended. Names the transaction, if
 * one is running, because its rows and all later rows wait for it.
 */
async function findByTransaction(client: ProtocolClient, { type }: CursorColumn): Promise<HighWatermark> {
  const { rows } = await send(client, READ_OLDEST_ID);
  const { high, holder, ageSeconds, preparedAs } = rows[0] as {
    readonly high: string;
    readonly holder: string | null;
    readonly ageSeconds: number | null;
    readonly preparedAs: string | null;
  };
  if (holder === null) return { type, high, heldBack: undefined };
  const advice = adviseRollback([{ preparedAs: preparedAs ?? undefined }]);
  const waiting = `rows of transaction ${high} and later ones wait for ${formatHolder({ holder, ageSeconds: ageSeconds ?? undefined })}`;
  return { type, high, heldBack: advice === undefined ? waiting : `${waiting}; ${advice}` };
}

/**
 * Reads the cursor value of a row that is stamped at `instant`, less the option `lag` of the task. `instant` is SQL for
 * a time with a zone. The value has the type and the precision of the cursor, and is canonical text. Returns undefined
 * if the instant is null. Throws ETL-3706 if the cursor has local times of a zone with more than one UTC offset.
 */
async function readValueAt(
  client: ProtocolClient,
  instant: string,
  { lagMs = 0, timeZone, cursor }: CursorInput,
  { type, fullType }: CursorColumn,
): Promise<string | undefined> {
  const zone = quoteLiteral(timeZone ?? 'UTC');
  // Local times are in order only if the zone has one UTC offset. The SQL counts the offsets of every 30th day, which
  // is often enough to find summer time.
  const isFixed = `(select pg_catalog.count(distinct (t at time zone ${zone}) operator(pg_catalog.-) (t at time zone 'UTC'))
      operator(pg_catalog.=) 1
    from pg_catalog.generate_series('2000-01-01'::timestamp with time zone,
      pg_catalog.now() operator(pg_catalog.+) interval '2 years', interval '30 days') as t)`;
  const shifted = `(${instant} operator(pg_catalog.-) interval '${lagMs} milliseconds')`;
  const value = type.isLocal ? `(${shifted} at time zone ${zone})` : shifted;
  const { rows } = await send(
    client,
    `select ${type.toText(`${value}::${fullType}`)} as high, ${type.isLocal ? isFixed : 'true'} as is_fixed`,
  );
  if (rows[0]?.is_fixed !== true)
    throw createCursorError('ETL-3706', {
      what: `the cursor "${cursor}" has local times of the zone ${timeZone}, which puts its clocks back once a year`,
      why: 'one hour of the year comes twice, and the rows of that hour have no order',
      fix: 'use a column of the type timestamp with time zone',
    });
  return (rows[0]?.high as string | null) ?? undefined;
}

/**
 * Waits until all of `others` have ended. Looks at the open transactions after 10 ms, and then after longer and longer
 * pauses. Throws ETL-3710 after 30 seconds, and an `AbortError` if the signal aborts.
 */
async function waitForTransactions(
  client: ProtocolClient,
  others: readonly OpenTransaction[],
  { cursor, signal }: CursorInput,
): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  let open = others;
  for (let pause = 10; open.length > 0; pause = Math.min(pause * 2, LONGEST_POLL_MS)) {
    if (performance.now() > deadline) throw createStillOpenError(cursor, open);
    await delay(pause, undefined, { signal });
    open = await listStillOpen(client, open);
  }
}

/** Creates ETL-3710, which names the transactions that did not end. */
function createStillOpenError(cursor: string, open: readonly OpenTransaction[]): EtlError {
  // A transaction has no age if the role may not see when the transaction began.
  const isHidden = open.some(({ ageSeconds }) => ageSeconds === undefined);
  return createCursorError('ETL-3710', {
    what: `the high watermark of "${cursor}" was not found: a transaction did not end within ${formatDuration(WAIT_MS)}`,
    why: open.map(formatHolder).join('\n'),
    fix:
      adviseRollback(open) ??
      (isHidden
        ? 'end the transaction, or grant pg_read_all_stats to the role of this connection, so that the role sees when a transaction began'
        : 'end the transaction, or try again later'),
  });
}
