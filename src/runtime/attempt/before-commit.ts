import type { QueryResult } from 'pg';
import type { ProtocolClient } from '../postgres/protocol.js';

/** A task whose body and checks have succeeded, inside its transaction. */
export interface TaskBeforeCommit {
  readonly taskId: string;
  /** The result of the task, as the tasks that need it get it. */
  readonly result: unknown;
  /** The rows that the task has written. */
  readonly rows: number;
  /** Sends one statement in the transaction of the task. Returns the rows of its answer. */
  readonly query: (
    text: string,
    values?: readonly unknown[],
  ) => Promise<readonly Readonly<Record<string, unknown>>[]>;
}

/** Called before the COMMIT of a task. An error that it throws rolls the task back. */
export type BeforeCommit = (task: TaskBeforeCommit) => Promise<void>;

/**
 * Returns what `beforeCommit` gets. `result` is JSON text. The values of a query's rows are those that a session gets.
 */
export function describeTask(
  client: Pick<ProtocolClient, 'query'>,
  { result, ...facts }: { readonly taskId: string; readonly result: string; readonly rows: number },
): TaskBeforeCommit {
  const query: TaskBeforeCommit['query'] = (text, values) =>
    new Promise((resolve, reject) => {
      client.query({ text, values, queryMode: 'extended' }, undefined, (error, answer) => {
        if (error) reject(error);
        else resolve((answer as QueryResult).rows);
      });
    });
  return { ...facts, result: JSON.parse(result), query };
}
