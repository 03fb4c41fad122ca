import { insert, raw, type SessionEnding } from './session-endings.js';

/**
 * Ways to use or to break a session with its first query. The query is sent in the same pipeline as the claim of the
 * task.
 */
export const FIRST_QUERY_ENDINGS: readonly SessionEnding[] = [
  ...['COMMIT', 'ROLLBACK', 'COMMIT AND CHAIN', 'ROLLBACK AND CHAIN'].flatMap((sql): SessionEnding[] => [
    {
      title: `refuses a raw ${sql} as the first query`,
      code: 'ETL-3202',
      body: async ({ session }) => {
        await raw(session, sql);
        await insert(session, 'y');
      },
    },
    {
      title: `refuses a raw ${sql} as the first query, also if the task catches the error`,
      code: 'ETL-3202',
      body: async ({ session }) => {
        await raw(session, sql).catch(() => undefined);
        await insert(session, 'y');
      },
    },
  ]),
  {
    title: 'fails a task with the error of its first query',
    code: 'ETL-3001',
    sqlstate: '42703',
    what: /^column "nope" does not exist$/,
    body: async ({ session }) => void (await raw(session, 'select nope from t')),
  },
  {
    title: 'fails a task that swallows the error of its first query',
    code: 'ETL-3203',
    sqlstate: '22012',
    body: async ({ session }) => void (await raw(session, 'select 1/0').catch(() => undefined)),
  },
];
