// Runs one transaction with as little code as possible: the reference for the start of a program.
import pg from 'pg';

const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
await client.query('BEGIN');
await client.query('SELECT 1');
await client.query('COMMIT');
await client.end();
