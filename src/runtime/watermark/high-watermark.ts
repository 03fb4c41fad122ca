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
  formatHolder,
  buildOpenTransactionQueries,
  listStillOpen,
  parseOpenTransactions,
} from './open-transactions.js';

/** The highest cursor value below which no row can appear any more. */
export interface HighWatermark {
  readonly type: CursorType;
  /**
   * Canonical text (see `CursorType.toText`). Every row with a smaller cursor is visible from now on, and no new row
   * gets a smaller cursor. Undefined if the input has no rows.
   */
  readonly high: string | undefined;
  /**
   * A text for a person that names the oldest open transaction, which keeps newer rows from being read. Undefined if no
   * transaction is open.
   */
  readonly heldBack: string | undefined;
}

/** How long to wait for the end of a transaction whose begin is unknown. */
const WAIT_MS = 30_000;
const LONGEST_POLL_MS = 250;
/**
 * A transaction takes its time first, and other sessions see the transaction a little later: within this many seconds.
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
 * Finds the begin of the oldest open transaction, or now if no transaction is open. A transaction stamps its rows with
 * its begin or a later time, so no new row can get an earlier time.
 */
async function findByTime(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  // now() is the time at which the server got this message. The open transactions are read after a short sleep, when
  // each transaction that began before now() is visible.
  const results = await sendAll(client, [
    `select pg_sleep(${PUBLISH_S})`,
    `select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') as now`,
    ...buildOpenTransactionQueries(),
  ]);
  const now = String(results[1]?.rows[0]?.now);
  const open = parseOpenTransactions(results.slice(2));
  await waitForTransactions(
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
 * Finds the time of the last replayed transaction, less the lag. A replica does not show which transactions are open on
 * its primary, but replays commits in their order. So all rows of a transaction that began earlier than the result are
 * here, if no transaction lasts longer than the lag.
 */
async function findOnReplica(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const high = await readValueAt(client, 'pg_last_xact_replay_timestamp()', input, column);
  return { type: column.type, high, heldBack: undefined };
}

/**
 * Finds the highest visible number, and waits for the transactions that are open now. A transaction takes a number
 * before it commits the row, so a smaller number that is not visible belongs to one of these transactions. When they
 * have ended, all rows up to the number are visible. Throws ETL-3710 after 30 seconds.
 */
async function findBySequence(
  client: ProtocolClient,
  input: CursorInput,
  column: CursorColumn,
): Promise<HighWatermark> {
  const { sequence, type } = column;
  const results = await sendAll(client, [
    `select (max(${quoteIdentifier(input.cursor)})::numeric + 1)::text as high from ${input.from}`,
    ...buildOpenTransactionQueries(sequence ?? undefined),
  ]);
  const high = results[0]?.rows[0]?.high as string | null | undefined;
  if (typeof high === 'string')
    await waitForTransactions(client, parseOpenTransactions(results.slice(1)), input);
  return { type, high: high ?? undefined, heldBack: undefined };
}

/** Finds the ID of the oldest running transaction: every transaction with a smaller ID has ended. */
async function findByTransaction(client: ProtocolClient, { type }: CursorColumn): Promise<HighWatermark> {
  const { rows } = await send(client, 'select pg_snapshot_xmin(pg_current_snapshot())::text as high');
  return { type, high: String(rows[0]?.high), heldBack: undefined };
}

/**
 * Reads the cursor value of a row that is stamped at `instant` (SQL), less the lag. Undefined if the instant is null.
 * Throws ETL-3706 if the zone of a local time has more than one UTC offset.
 */
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
 * Polls until all of `others` have ended. Throws ETL-3710 after 30 seconds, and the signal's reason if the signal
 * aborts.
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

function createStillOpenError(cursor: string, open: readonly OpenTransaction[]): EtlError {
  const isHidden = open.some(({ ageSeconds }) => ageSeconds === undefined);
  return createCursorError('ETL-3710', {
    what: `the high watermark of "${cursor}" was not found: a transaction did not end within ${formatDuration(WAIT_MS)}`,
    why: open.map(formatHolder).join('\n'),
    fix: isHidden
      ? 'end the transaction, or grant pg_read_all_stats to the role of this connection, so that the role sees when a transaction began'
      : 'end the transaction, or try again later',
  });
}
