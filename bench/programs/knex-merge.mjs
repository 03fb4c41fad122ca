// Merges a CSV file into a table with Knex: batches of 1,000 rows in one transaction.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import knexFactory from 'knex';

const knex = knexFactory({ client: 'pg', connection: process.env.DATABASE_URL, pool: { min: 0, max: 1 } });
await knex.transaction(async (trx) => {
  let columns;
  let batch = [];
  const merge = async () => {
    await trx('evpk').insert(batch).onConflict('id').merge();
    batch = [];
  };
  for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
    const fields = line.split(',');
    if (columns === undefined) columns = fields;
    else
      batch.push(Object.fromEntries(columns.map((name, i) => [name, fields[i] === '' ? null : fields[i]])));
    if (batch.length === 1000) await merge();
  }
  if (batch.length > 0) await merge();
});
await knex.destroy();
