// Runs SQL in an embedded database and prints the rows of the last statement as JSON. This is a process of its own,
// because the database blocks the event loop for seconds, which would delay all other injections.
import { PGlite } from '@electric-sql/pglite';

const [directory, sql, ...values] = process.argv.slice(2);
const db = await PGlite.create(directory);
const { rows } = values.length > 0 ? await db.query(sql, values) : (await db.exec(sql)).at(-1);
await db.close();
process.stdout.write(`${JSON.stringify(rows)}\n`);
