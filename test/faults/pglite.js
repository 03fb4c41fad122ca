// Runs SQL in an embedded database and prints the last rows as JSON: a process of its own, because the database keeps
// the event loop busy for seconds, and the moments of all other injections with it.
import { PGlite } from '@electric-sql/pglite';

const [directory, sql, ...values] = process.argv.slice(2);
const db = await PGlite.create(directory);
const { rows } = values.length > 0 ? await db.query(sql, values) : (await db.exec(sql)).at(-1);
await db.close();
process.stdout.write(`${JSON.stringify(rows)}\n`);
