import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { nameSchema } from '../../../src/runtime/ledger/ledger.js';
import { readMigration, SCHEMA_VERSION } from '../../../src/runtime/ledger/schema.js';
import { ROOT } from '../../support/cli.js';
import { cluster, createDatabase, type TestDatabase } from '../../support/database.js';
import { createHostileSchema, HIJACKED } from '../../support/hostile-schema.js';
import { recordingProxy } from '../../support/recording-proxy.js';
import type { FinishedRun } from '../../support/run.js';
import { listStatementNames, type StatementName } from '../../support/statement-names.js';
import { runWidely, useCommands, WIDE_TABLES } from '../../support/wide-run.js';

/** The DDL of the ledger, which runs with a `search_path` of its own. */
const DDL = new Set(Array.from({ length: SCHEMA_VERSION }, (_, i) => readMigration(i + 1, nameSchema())));

describe('the statements of the runner', () => {
  /** All names in all statements that the runner sends in the first test. */
  const names: StatementName[] = [];

  /** Lists the tasks of runs that ended in another way than `runWidely` expects. */
  const listFailures = (runs: readonly FinishedRun[]): readonly string[] =>
    runs.flatMap(({ tasks }, i) =>
      tasks.flatMap(({ taskId, state, error }) =>
        state === 'success' || (i === 0 && taskId === 'broken') ? [] : [`${taskId}: ${error?.message}`],
      ),
    );

  async function runAll(db: TestDatabase, url: string): Promise<void> {
    await mkdir(join(ROOT, '.etl/test'), { recursive: true });
    const root = await mkdtemp(join(ROOT, '.etl/test/wide-'));
    try {
      const runs = await runWidely({ db: url, other: url }, root);
      expect(listFailures(runs)).to.deep.equal([]);
      expect(runs.map(({ state }) => state)).to.deep.equal(['failed', 'success', 'success', 'success']);
      await useCommands(url);
      expect(await db.query('select note from public.copied order by id')).to.have.lengthOf(5);
    } finally {
      await rm(root, { recursive: true });
    }
  }

  it('name the schema of each table, function, operator, type and collation', async () => {
    await using db = await createDatabase();
    await db.query(WIDE_TABLES);
    await using proxy = await recordingProxy((await cluster()).port);
    await runAll(db, proxy.url(db.url));
    const statements = [...proxy.statements].filter((text) => !DDL.has(text));
    expect(statements).to.have.lengthOf.above(100);
    const unqualified: string[] = [];
    for (const text of statements) {
      const own = await listStatementNames(text);
      names.push(...own);
      for (const { kind, name, schema } of own)
        if (schema === undefined) unqualified.push(`${kind} ${name}: ${text.replaceAll(/\s+/g, ' ')}`);
    }
    expect(unqualified).to.deep.equal([]);
  });

  for (const path of ['evil, public', 'evil, pg_catalog, public', 'evil, pg_temp, pg_catalog']) {
    it(`use no object of a hostile schema with the search_path ${path}`, async () => {
      expect(names, 'the names of the first test').to.have.lengthOf.above(100);
      await using db = await createDatabase();
      await db.query(WIDE_TABLES);
      await createHostileSchema(db, names);
      await db.query(`alter database ${db.name} set search_path = ${path}`);
      // A careless statement uses the schema.
      await db.query(`set search_path = ${path}`);
      const careless = await db
        .query(`select hashtextextended('x', 0)`)
        .catch((error: unknown) => String(error));
      expect(careless).to.include(HIJACKED);
      await db.query('set search_path = pg_catalog');
      await runAll(db, db.url);
    });
  }
});
