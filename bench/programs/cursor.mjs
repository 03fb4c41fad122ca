// Reads a table as objects, in batches of 1,000.
import pg from 'pg';
import Cursor from 'pg-cursor';

const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
await client.query('BEGIN');
const cursor = client.query(new Cursor('select * from src'));
let sum = 0;
for (let rows = await cursor.read(1000); rows.length > 0; rows = await cursor.read(1000))
  for (const row of rows) sum += row.quantity;
await client.query('COMMIT');
await client.end();
if (!(sum > 0)) throw new Error('nothing was read');
