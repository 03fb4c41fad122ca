// The least that a Node program does for one transaction.
import pg from 'pg';

const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
await client.query('BEGIN');
await client.query('SELECT 1');
await client.query('COMMIT');
await client.end();
