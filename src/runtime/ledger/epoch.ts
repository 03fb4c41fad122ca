import { type PipelineStatement, send, type StatementResult } from '../postgres/protocol.js';
import { findDatabaseError } from '../postgres/sqlstate.js';
import { sendBrief } from '../postgres/transaction.js';
import { formatLockName, type Ledger, type LedgerSchema } from './ledger.js';
import { quoteLiteral } from '../sql/quote.js';
import { buildIsLocked, describeHolder } from './lock.js';
import { createNotWrittenError } from './row-not-written.js';
import { buildInsertRun, findRun, listRunValues, type RunHeader } from './run-row.js';
import { createTakenOverError } from './taken-over.js';

/** The process that takes the epoch of a Dag. */
export interface LockHolder {
  readonly dagId: string;
  readonly runId: string;
  /** A UUID that is new for each start of the program. The UUID distinguishes a resumed run from the process before. */
  readonly holder: string;
  readonly pid: number;
  readonly host: string;
}

/**
 * The epoch of a run: a number that the home database has given to one process. The process commits in a database only
 * while the row of the Dag in this database's `etl.lock` has this number and this holder. Different home databases can
 * give the same number, so the number alone says nothing.
 */
export interface Epoch {
  readonly number: string;
  readonly holder: string;
}

/** A run that `beginRun` has recorded. */
export interface BegunRun {
  readonly epoch: Epoch;
  /** True if the run that had the previous epoch has not ended. */
  readonly hasOpenPredecessor: boolean;
}

/**
 * Records a new run and makes its process the newest of the Dag, in one transaction of the home database. Returns
 * undefined, and changes nothing, if a run with this ID exists already.
 *
 * `lockPid` is the process ID of the backend that holds the Dag's lock for this process. Undefined for a database without
 * a lock. Throws ETL-7503, and changes nothing, if the backend does not hold the lock any more. Throws ETL-4009 if the
 * row was not written.
 */
export async function beginRun(
  ledger: Ledger,
  header: RunHeader,
  { holder, lockPid }: { readonly holder: LockHolder; readonly lockPid: number | undefined },
): Promise<BegunRun | undefined> {
  const { schema } = ledger;
  const values = listRunValues(header);
  const isLocked = buildIsLockedBy(schema, holder.dagId, lockPid);
  const insertRun = `with header as (${buildInsertRun(schema, isLocked)} returning 1)`;
  const answers = await sendBrief(ledger.client, [
    createPredecessorStatement(schema, holder.dagId),
    ...createRowLockStatements(schema, holder),
    {
      // Divides by zero, so that nothing is kept, if the run is written and the epoch is not.
      text: `${insertRun}, taken as (${buildTakeEpoch(schema, { before: values.length, from: 'header' })})
        select number, 1 operator(pg_catalog./) (number is not null)::int
        from header left join taken on true`,
      values: [...values, ...listHolderValues(holder)],
    },
  ]).catch((error: unknown) => {
    const isDropped = findDatabaseError(error)?.code === '22012';
    throw isDropped ? createNotWrittenError(schema, 'lock', 'nothing was started') : error;
  });
  const number = answers.at(-1)?.rows[0]?.[0];
  if (typeof number === 'string') {
    return { epoch: { number, holder: holder.holder }, hasOpenPredecessor: isOpen(answers[0]) };
  }
  if ((await findRun(ledger, header.runId)) !== undefined) return undefined;
  await assertLocked(ledger, holder.dagId, lockPid);
  throw createNotWrittenError(schema, 'run', 'nothing was started');
}

/** Returns true if the run with the newest epoch of the Dag has not ended. */
export async function hasOpenPredecessor({ client, schema }: Ledger, dagId: string): Promise<boolean> {
  const [answer] = await sendBrief(client, [createPredecessorStatement(schema, dagId)]);
  return isOpen(answer);
}

/**
 * Makes this process the newest of the Dag in the home database, and returns its epoch. A second call of the same process
 * returns the same epoch. `lockPid` and the errors are those of `beginRun`.
 */
export async function takeEpoch(
  ledger: Ledger,
  holder: LockHolder,
  lockPid: number | undefined,
): Promise<Epoch> {
  const { client, schema } = ledger;
  const isLocked = buildIsLockedBy(schema, holder.dagId, lockPid);
  const answers = await sendBrief(client, [
    ...createRowLockStatements(schema, holder),
    {
      text: buildTakeEpoch(schema, { before: 0, from: `(select where ${isLocked}) as own` }),
      values: listHolderValues(holder),
    },
  ]);
  const number = answers.at(-1)?.rows[0]?.[0];
  if (typeof number === 'string') return { number, holder: holder.holder };
  // The statement changes no row if this process is the holder already.
  const seen = await readEpoch(ledger, holder.dagId);
  if (seen?.holder === holder.holder) return seen;
  await assertLocked(ledger, holder.dagId, lockPid);
  throw createNotWrittenError(schema, 'lock', 'nothing was started');
}

/** The number of times that `adoptEpoch` tries. Each try after the first means that another process was faster. */
const MAX_TRIES = 10;

/**
 * Makes this process the newest of the Dag in a database that is not the home database. The row gets the epoch that the
 * home database has given to the process.
 *
 * Whether the number in the row is higher or lower does not matter: the home database can be an older copy or another
 * database than before. So the order of the steps decides:
 *
 * 1. Read the row.
 * 2. `confirm` asks the home database whether this process still is the newest, and throws if it is not.
 * 3. Replace the row, but only if it is still the row of step 1. Otherwise begin again.
 *
 * A process that has lost the lock can't replace the row of a newer process: the newer process has taken its epoch from the
 * home database before it wrote the row. So if step 1 reads that row, step 2 fails; otherwise step 3 finds a changed row.
 */
export async function adoptEpoch(
  ledger: Ledger,
  { epoch, holder }: { readonly epoch: Epoch; readonly holder: LockHolder },
  confirm: () => Promise<void>,
): Promise<void> {
  const { client, schema } = ledger;
  let before: Epoch | undefined;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const seen = await readEpoch(ledger, holder.dagId);
    if (isSame(seen, epoch)) return;
    // Nobody has changed the row, and the server did not write it.
    if (tries > 0 && isSame(seen, before)) throw createNotWrittenError(schema, 'lock');
    before = seen;
    await confirm();
    const replaced = await sendBrief(client, [
      {
        text: `insert into ${schema.sql}.lock as l (dag_id, epoch, holder, run_id, pid, host, taken_at)
          values ($1, $6, $2, $3, $4, $5, pg_catalog.clock_timestamp())
          on conflict (dag_id) do update set ${TAKE_ROW}, epoch = excluded.epoch
            where l.epoch operator(pg_catalog.=) $7 and l.holder operator(pg_catalog.=) $8`,
        values: [...listHolderValues(holder), epoch.number, seen?.number ?? null, seen?.holder ?? null],
      },
    ]);
    if (replaced[0]?.tag === 'INSERT 0 1') return;
  }
  throw createTakenOverError(holder.dagId, { why: await describeHolder(ledger, holder.dagId) });
}

/** Reads the newest epoch of the Dag in a database. Returns undefined if nobody has taken an epoch there. */
export async function readEpoch(
  { client, schema }: Ledger<Pick<Ledger['client'], 'query'>>,
  dagId: string,
): Promise<Epoch | undefined> {
  const { rows } = await send(
    client,
    `select epoch::pg_catalog.text as number, holder from ${schema.sql}.lock
     where dag_id operator(pg_catalog.=) ${quoteLiteral(dagId)}`,
  );
  return rows[0] as Epoch | undefined;
}

/** Returns true if both epochs belong to the same process. */
export function isSame(one: Epoch | undefined, other: Epoch | undefined): boolean {
  return one?.number === other?.number && one?.holder === other?.holder;
}

/**
 * Creates the statements that lock the row of the Dag, and create the row if there is none. Then the lock of the Dag is
 * looked up while nobody else can change the row: a process that takes the lock later changes the row later.
 */
function createRowLockStatements({ sql }: LedgerSchema, { dagId }: LockHolder): readonly PipelineStatement[] {
  return [
    {
      text: `insert into ${sql}.lock (dag_id, epoch, holder, run_id, pid, host, taken_at)
        values ($1, 0, '00000000-0000-0000-0000-000000000000', '', 0, '', pg_catalog.clock_timestamp())
        on conflict do nothing`,
      values: [dagId],
    },
    {
      text: `select from ${sql}.lock where dag_id operator(pg_catalog.=) $1 for update`,
      values: [dagId],
    },
  ];
}

/** The assignments of an `on conflict do update` of the table `lock`, without the epoch. */
const TAKE_ROW = `holder = excluded.holder, run_id = excluded.run_id, pid = excluded.pid, host = excluded.host,
  taken_at = excluded.taken_at`;

/**
 * Builds a statement that takes the next epoch. The statement returns the new epoch, or no row if the same process is the
 * holder already, or if `from`, an item of a FROM clause, has no row. The statement has the values of `listHolderValues`,
 * after `before` other values.
 */
function buildTakeEpoch({ sql }: LedgerSchema, { before, from }: { before: number; from: string }): string {
  const [dagId, ...others] = [1, 2, 3, 4, 5].map((position) => `$${before + position}`);
  return `insert into ${sql}.lock as l (dag_id, epoch, holder, run_id, pid, host, taken_at)
     select ${dagId}, 1, ${others.join(', ')}, pg_catalog.clock_timestamp() from ${from}
     on conflict (dag_id) do update set ${TAKE_ROW}, epoch = l.epoch operator(pg_catalog.+) 1
       where l.holder operator(pg_catalog.<>) excluded.holder
     returning epoch::pg_catalog.text as number`;
}

/** Lists the values of the statement of `buildTakeEpoch`, in the order of its parameters. */
function listHolderValues({ dagId, holder, runId, pid, host }: LockHolder): readonly string[] {
  return [dagId, holder, runId, String(pid), host];
}

/** Creates the statement that asks whether the run with the newest epoch of the Dag has the state `running`. */
function createPredecessorStatement({ sql }: LedgerSchema, dagId: string): PipelineStatement {
  return {
    text: `select exists (select from ${sql}.lock l join ${sql}.run r on r.run_id operator(pg_catalog.=) l.run_id
                          where l.dag_id operator(pg_catalog.=) $1 and r.state operator(pg_catalog.=) 'running')`,
    values: [dagId],
  };
}

/** Reads the answer to the statement of `createPredecessorStatement`. A pipeline returns the text `t` for true. */
function isOpen(answer: StatementResult | undefined): boolean {
  return answer?.rows[0]?.[0] === 't';
}

/** Builds the SQL condition that the backend `pid` holds the lock of the Dag. `true` for a database without a lock. */
function buildIsLockedBy(schema: LedgerSchema, dagId: string, pid: number | undefined): string {
  return pid === undefined ? 'true' : buildIsLocked(quoteLiteral(formatLockName(schema, dagId)), String(pid));
}

/** Throws ETL-7503 unless the backend `pid` holds the lock of the Dag. */
async function assertLocked(ledger: Ledger, dagId: string, pid: number | undefined): Promise<void> {
  const { client, schema } = ledger;
  const { rows } = await send(client, `select ${buildIsLockedBy(schema, dagId, pid)} as held`);
  if (rows[0]?.held === true) return;
  throw createTakenOverError(dagId, {
    why: await describeHolder(ledger, dagId),
    data: 'nothing was started',
  });
}
