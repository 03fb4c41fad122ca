import { hash } from 'node:crypto';
import { CodeReader } from '../fingerprint/code-reader.js';
import type { CodeDescription } from '../modules/location.js';
import { describeDefinition } from './dag.js';
import type { PlannedTask } from './plan.js';

/**
 * A fingerprint: a hash of everything that decides what a task does, and the parts that the hash was made of. The ledger
 * stores the text. Example: `2:9f86d081884c7d65 {"its SQL":"ungWv48B"}`.
 *
 * - `2` is the version of the form. Fingerprints of another version are never equal.
 * - The hash covers the parts, and the hashes of the upstream tasks.
 * - After the hash, `?` and a random word say that nobody can tell whether the task was changed. The word is another one
 *   in each process, so such fingerprints of two processes are never equal.
 */
export type Fingerprint = string;

const VERSION = '2';
/** The most parts of a fingerprint. If a task has more, the parts in one file become one part. */
const MOST_PARTS = 40;
/** The value of a part of which nobody can tell whether it has changed. */
const UNDECIDED = '?';

/** The descriptions of tasks that have functions. */
const described = new WeakMap<object, CodeDescription>();

/** Describes tasks whose config is not known. It does not follow the code around their functions. */
const plainReader = new CodeReader({
  modules: undefined,
  entries: [],
  directory: '',
  cache: undefined,
  version: '',
  variables: {},
  describeOwn: describeDefinition,
});

/**
 * Describes the code of the tasks now, before a task runs and changes a variable that other tasks use. Tasks that are
 * made of texts alone are left out, because a Dag can have a million of them.
 */
export async function describeTasks(tasks: readonly PlannedTask[]): Promise<void> {
  for (const task of tasks) if (mayHaveCode(task)) await describe(task);
  tasks[0]?.location.root.code?.close();
}

function mayHaveCode({ task: { options, body } }: PlannedTask): boolean {
  if (options.with !== undefined) return true;
  return Object.values(body.listCode()).some((value) => value !== undefined && typeof value !== 'string');
}

/**
 * Computes the fingerprint of a task. The fingerprints of the upstream tasks must be computed before, and passed in the
 * order of `task.upstream`. Equal fingerprints mean that a task still does the same. Throws ETL-3005 if the SQL file of
 * the task can't be read.
 */
export async function computeFingerprint(
  task: PlannedTask,
  upstream: readonly Fingerprint[],
): Promise<Fingerprint> {
  const { root } = task.location;
  const { parts: code, undecided } = await describe(task);
  const parts = new Map(code);
  for (const subject of undecided) parts.set(subject, UNDECIDED);
  const files = (await task.task.body.readFiles?.(root.directory)) ?? {};
  for (const [file, text] of Object.entries(files))
    parts.set(file, hash('sha256', text, 'base64url').slice(0, 8));
  const own = JSON.stringify(Object.fromEntries(joinParts(parts)));
  const text = JSON.stringify([task.task.kind, own, ...upstream.map(getHash)]);
  const isUndecided = undecided.size > 0 || upstream.some((each) => getNonce(each) !== undefined);
  const nonce = isUndecided ? `?${root.code?.nonce ?? ''}` : '';
  return `${VERSION}:${hash('sha256', text).slice(0, 32)}${nonce} ${own}`;
}

/**
 * Says whether two fingerprints have the same hash. This also holds if nobody can tell whether the task was changed: a
 * task that another process has done for the same run counts as done.
 */
export function hasSameHash(one: Fingerprint | undefined, other: Fingerprint | undefined): boolean {
  return one !== undefined && other !== undefined && getHash(one) === getHash(other);
}

/** The most changes that `explainChange` names. */
const MOST_CHANGES = 3;

/** Says in words what differs between the fingerprint in the ledger and that of today. */
export function explainChange(recorded: Fingerprint, today: Fingerprint): string {
  const [before, after] = [readParts(recorded), readParts(today)];
  if (before === undefined || after === undefined) return 'recorded by another version of etl';
  const changed: string[] = [];
  const undecided: string[] = [];
  for (const [subject, value] of Object.entries(after)) {
    const old = before[subject];
    if (value === UNDECIDED || old === UNDECIDED)
      undecided.push(`it can't be told whether ${subject} changed`);
    else if (old !== undefined && old !== value) changed.push(describeChange(subject, old, value));
  }
  const added = Object.keys(after).filter((subject) => !Object.hasOwn(before, subject));
  const removed = Object.keys(before).filter((subject) => !Object.hasOwn(after, subject));
  const uses = [
    ...added.map((subject) => `it uses ${subject} now`),
    ...removed.map((subject) => `it used ${subject} before`),
  ];
  // If the function of a task has changed, what the function uses is no news.
  const all = [...changed, ...(changed.length === 0 ? uses : []), ...undecided];
  if (all.length === 0) return 'its `needs` changed';
  const rest = all.length - MOST_CHANGES;
  return all.slice(0, MOST_CHANGES).join(', ') + (rest > 0 ? `, and ${rest} more` : '');
}

function describeChange(subject: string, before: string, after: string): string {
  const isPackage = subject.startsWith('the package ');
  return isPackage ? `${subject} changed from ${before} to ${after}` : `${subject} changed`;
}

/** Describes the code and the values of a task. */
async function describe(task: PlannedTask): Promise<CodeDescription> {
  const known = described.get(task.task);
  if (known !== undefined) return known;
  const { options, body, location } = task.task;
  const { needs } = options;
  const { code = plainReader } = location.root;
  const description = await code.describe({
    ...body.listCode(),
    'its connection': task.conn,
    'its isolation level': task.conn === undefined ? undefined : task.isolation,
    'its checks': options.checks,
    'its `with`': options.with,
    'the names in its `needs`': needs === undefined || Array.isArray(needs) ? undefined : Object.keys(needs),
  });
  // Rows in an array are many: reading them a second time would take as long as the first time.
  if (description.usesCode || mayHaveCode(task)) described.set(task.task, description);
  return description;
}

/** Joins the parts that are in one file if there are too many parts. */
function joinParts(parts: ReadonlyMap<string, string>): [string, string][] {
  if (parts.size <= MOST_PARTS) return [...parts].toSorted(compareKeys);
  const joined = new Map<string, string>();
  for (const [subject, value] of [...parts].toSorted(compareKeys)) {
    const file = value === UNDECIDED ? undefined : / in (\S+)(?: \(\d+\))?$/.exec(subject)?.[1];
    const before = file === undefined ? undefined : joined.get(file);
    joined.set(
      file ?? subject,
      before === undefined ? value : hash('sha256', `${before} ${value}`, 'base64url').slice(0, 8),
    );
  }
  return [...joined];
}

function compareKeys([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Returns the beginning of a fingerprint, up to the random word. */
function getHash(fingerprint: Fingerprint): string {
  return /^[^ ?]*/.exec(fingerprint)?.[0] ?? '';
}

function getNonce(fingerprint: Fingerprint): string | undefined {
  return /^[^ ]*\?([^ ]*)/.exec(fingerprint)?.[1];
}

/** Returns the parts of a fingerprint. Returns undefined for a fingerprint of another version. */
function readParts(fingerprint: Fingerprint): Readonly<Record<string, string>> | undefined {
  const start = fingerprint.indexOf('{');
  if (!fingerprint.startsWith(`${VERSION}:`) || start < 0) return undefined;
  return JSON.parse(fingerprint.slice(start)) as Record<string, string>;
}
