import type { Connection } from '../../hooks/connection.js';
import { findConnections, tryPlanDag } from '../../runtime/dag/plan.js';
import { SCHEMA_VERSION } from '../../runtime/ledger/schema.js';
import { formatCommand } from '../../runtime/report/command-line.js';
import { tryConnections, type Trial } from '../connections/trial.js';
import { readLedgerVersion, visitLedgers } from '../ledger/versions.js';
import { isUncreated } from '../program/ledgers.js';
import type { Program } from '../program/program.js';
import { createFailure, type Finding } from './finding.js';

/** The use of a connection. */
interface Use {
  readonly id: string;
  /** True if a Dag uses the connection. */
  readonly isUsed: boolean;
  /** True if the database has a ledger, or gets one at the first run. */
  readonly isRecording: boolean;
}

/**
 * Opens each connection that is defined or that a Dag uses, and looks at its server, its clock and its ledger. Servers are
 * asked at the same time, embedded databases one after the other, because each has one session.
 */
export async function findDatabaseStates(program: Program): Promise<readonly Finding[]> {
  const uses = listUses(program);
  const isEmbedded = ({ id }: Use): boolean => findSafely(program, id)?.scheme === 'pglite';
  const servers = uses.filter((use) => !isEmbedded(use));
  const states = new Map<string, readonly Finding[]>();
  await Promise.all(servers.map(async (use) => states.set(use.id, await examine(program, use))));
  for (const use of uses.filter(isEmbedded)) states.set(use.id, await examine(program, use));
  return uses.flatMap(({ id }) => states.get(id) ?? []);
}

/** Lists the connections that Dags use, and then the others that are defined and that etl could open. */
function listUses(program: Program): readonly Use[] {
  const { dags, defaults } = program.loaded.config;
  const plans = dags.flatMap((dag) => tryPlanDag(dag, defaults).plan ?? []).map(findConnections);
  const used = [...new Set(plans.flatMap((plan) => plan.used))];
  const recording = new Set(plans.flatMap((plan) => plan.recording));
  const known = new Set(used.map((id) => id.toLowerCase()));
  const others = program.lookup.list().filter(({ id }) => !known.has(id.toLowerCase()));
  return [
    ...used.map((id) => ({ id, isUsed: true, isRecording: recording.has(id) })),
    ...others
      // Airflow's variables also define connections to other systems.
      .filter(({ scheme }) => scheme === undefined || ['postgres', 'pglite'].includes(scheme))
      .map(({ id }) => ({ id, isUsed: false, isRecording: false })),
  ];
}

function findSafely({ lookup }: Program, id: string): Connection | undefined {
  try {
    return lookup.find(id);
  } catch {
    return undefined; // `tryConnections` reports the error.
  }
}

/** Looks at one connection. Never throws an `EtlError`. */
async function examine(program: Program, { id, isUsed, isRecording }: Use): Promise<readonly Finding[]> {
  const connection = findSafely(program, id);
  const check = 'connection';
  if (connection !== undefined && isUncreated(connection, program))
    return [{ check, subject: id, status: 'ok', text: 'an embedded database, which the first run makes' }];
  const [trial] = await tryConnections(program, [id]);
  if (trial === undefined) return [];
  if (trial.error !== undefined) {
    const failure = createFailure(check, id, trial.error);
    if (isUsed) return [failure];
    return [{ ...failure, status: 'warn', text: `${failure.text} (no Dag uses it)`, error: undefined }];
  }
  const ledger = isRecording ? [await examineLedger(program, id)] : [];
  return [describeServer(trial, program, connection), describeClock(trial), ...ledger];
}

/** Says which server answered, and how the connection is protected. */
function describeServer(trial: Trial, program: Program, connection: Connection | undefined): Finding {
  const { id, dsn = '', server = '', tls = false, latencyMs = 0 } = trial;
  const protection = describeProtection(tls, connection, program.environment.variables);
  const text = `${dsn}  ${server}, ${protection.text}, ${latencyMs.toFixed(1)} ms`;
  const values = { place: dsn, server, tls, latency_ms: latencyMs };
  return {
    check: 'connection',
    subject: id,
    status: protection.fix ? 'warn' : 'ok',
    text,
    fix: protection.fix,
    values,
  };
}

/** Says whether the connection has TLS, and whether it needs TLS. */
function describeProtection(
  tls: boolean,
  connection: Connection | undefined,
  variables: Program['environment']['variables'],
): { readonly text: string; readonly fix?: string } {
  if (connection?.scheme === 'pglite') return { text: 'in this process' };
  const host = connection?.host ?? variables['PGHOST'] ?? 'localhost';
  const isLocal = host.startsWith('/') || /^(?:localhost|127\.[\d.]+|::1)$/.test(host);
  if (!tls && isLocal) return { text: 'no TLS, on this machine' };
  if (!tls)
    return {
      text: 'no TLS',
      fix: 'add sslmode=verify-full: others in the network can read the rows and the password',
    };
  const { sslmode } = connection?.extra ?? {};
  const mode = typeof sslmode === 'string' ? sslmode : (variables['PGSSLMODE'] ?? 'prefer');
  if (mode.startsWith('verify-')) return { text: `TLS (${mode})` };
  return { text: `TLS, but sslmode=${mode} does not verify who the server is` };
}

/** A clock that differs by less is right: the intervals of runs end on minutes. */
const CLOCK_TOLERANCE_MS = 2000;

/** Compares the clock of a server with that of this machine. The difference is exact to half of the duration of a query. */
function describeClock({ id, aheadMs = 0, latencyMs = 0, timezone = '?' }: Trial): Finding {
  const isRight = Math.abs(aheadMs) <= CLOCK_TOLERANCE_MS + latencyMs / 2;
  const seconds = Math.abs(aheadMs / 1000).toFixed(3);
  const difference = `${seconds} s ${aheadMs < 0 ? 'behind' : 'ahead of'} this machine`;
  return {
    check: 'clock',
    subject: id,
    status: isRight ? 'ok' : 'warn',
    text: `${difference}; its sessions have the time zone ${timezone}`,
    fix: isRight ? undefined : 'set both clocks by NTP: this machine decides which interval a run covers',
    values: { ahead_ms: Math.round(aheadMs), timezone },
  };
}

/** Looks at the version of a ledger. */
async function examineLedger(program: Program, id: string): Promise<Finding> {
  const check = 'ledger';
  const schema = program.ledgerSchema.name;
  const [found] = await visitLedgers(program, id, readLedgerVersion);
  if (found?.error !== undefined) return createFailure(check, id, found.error);
  const version = found?.version ?? 0;
  const values = { schema, version, program_version: SCHEMA_VERSION };
  const finding = { check, subject: id, values };
  if (version === 0)
    return {
      ...finding,
      status: 'ok',
      text: `schema "${schema}" is not installed: the first run installs it`,
    };
  if (version === SCHEMA_VERSION)
    return { ...finding, status: 'ok', text: `schema "${schema}", version ${version}, up to date` };
  if (version < SCHEMA_VERSION) {
    const text = `schema "${schema}", version ${version}: the next run migrates it to ${SCHEMA_VERSION}`;
    return { ...finding, status: 'warn', text, fix: `run \`${formatCommand('ledger', 'migrate', id)}\`` };
  }
  const text = `schema "${schema}", version ${version}: this program knows versions up to ${SCHEMA_VERSION}`;
  return { ...finding, status: 'fail', text, fix: 'update @oneshot/etl here as well' };
}
