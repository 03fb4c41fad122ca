import { expect } from 'chai';
import { formatInterval, formatTime } from '../../../src/runtime/interval/zone-time.js';
import { createDatabase } from '../../support/database.js';

describe('a time in a time zone', () => {
  it('is the time that PostgreSQL writes in this zone', async () => {
    await using db = await createDatabase();
    const zones = [
      'UTC',
      'Europe/Berlin',
      'America/New_York',
      'Asia/Kolkata',
      'Pacific/Apia',
      'Australia/Lord_Howe',
    ];
    const times = [
      '2026-03-29T00:59:59Z',
      '2026-03-29T01:00:00Z',
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:30:00Z',
      '1999-12-31T23:59:59Z',
    ];
    const rows = await db.query<{ zone: string; at: string; text: string }>(
      `select zone, at, to_char(at::timestamptz at time zone zone, 'YYYY-MM-DD HH24:MI:SS') as text
       from unnest('{${zones.join(',')}}'::text[]) zone, unnest('{${times.join(',')}}'::text[]) at`,
    );
    expect(rows).to.have.lengthOf(zones.length * times.length);
    for (const { zone, at, text } of rows) expect(formatTime(new Date(at), zone), zone).to.equal(text);
  });

  it('of an interval has the name of the zone, and the offsets if the clock is set back', () => {
    const span = (start: string, end: string) => ({ start: new Date(start), end: new Date(end) });
    const day = span('2026-03-01T01:00:00Z', '2026-04-01T00:00:30Z');
    expect(formatInterval(day, 'UTC')).to.equal('[2026-03-01 01:00, 2026-04-01 00:00:30) UTC');
    expect(formatInterval(day, 'Europe/Berlin')).to.equal(
      '[2026-03-01 02:00, 2026-04-01 02:00:30) Europe/Berlin',
    );
    expect(formatInterval(span('2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'), 'Europe/Berlin')).to.equal(
      '[2026-10-25 02:30:00+02:00, 2026-10-25 02:30:00+01:00) Europe/Berlin',
    );
  });
});
