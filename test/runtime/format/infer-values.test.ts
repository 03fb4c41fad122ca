import { expect } from 'chai';
import fc from 'fast-check';
import { inferColumns } from '../../../src/runtime/format/infer.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

const inferType = (texts: readonly string[]) =>
  inferColumns(
    texts.map((a) => ({ a })),
    { strings: 'text', names: ['a'] },
  )[0]?.type ?? '';

describe('the type that is inferred from texts', () => {
  let database: TestDatabase;
  before(async () => (database = await createDatabase()));
  after(() => database.drop());

  /** Texts that PostgreSQL reads as a value, but that also are something else, or of which the value loses a part. */
  const ambiguous = [
    '007', '+1', ' 1', '1 ', '1_000', '0x10', '0b1', '1E5', '1e3', '.5', '5.', '1,000', 'NaN', 'nan', 'inf', 'Infinity', '-Infinity',
    't', 'f', 'yes', 'no', 'on', 'off', 'y', 'n', '1/2/2026', '31.12.2026', '20260131', '2026-1-5', '26-01-31', 'today', 'now', 'epoch',
    'infinity', '2026-01-31 10:00:00.1234567', '2026-01-31 24:00:00', '2026-01-31 10:00 Europe/Berlin', '2026-01-31 BC', '10:00',
    '2026-02-29', '0000-01-01', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', 'a0eebc999c0b4ef8bb6d6bb9bd380a11', '"x"', 'null', '',
  ]; // prettier-ignore
  for (const text of ambiguous.filter((each) => each !== '20260131')) {
    it(`is text for ${JSON.stringify(text)}`, () => expect(inferType([text])).to.equal('text'));
  }
  it('is bigint for 20260131, because the digits are kept', () => {
    expect(inferType(['20260131'])).to.equal('bigint');
  });

  it('holds every text without a loss, as the server says', async () => {
    const two = fc.integer({ min: 0, max: 61 }).map((n) => String(n).padStart(2, '0'));
    const day = fc
      .tuple(
        fc.integer({ min: 0, max: 9999 }),
        fc.integer({ min: 0, max: 13 }),
        fc.integer({ min: 0, max: 32 }),
      )
      .map(
        ([y, m, d]) =>
          `${String(y).padStart(4, '0')}-${String(m).padStart(2, '0')}-${String(d).padStart(2, '0')}`,
      );
    const clock = fc
      .tuple(fc.constantFrom(' ', 'T'), two, two, fc.option(two), fc.option(fc.stringMatching(/^\.\d{1,8}$/)))
      .map(([sign, h, m, s, part]) => `${sign}${h}:${m}${s === null ? '' : `:${s}${part ?? ''}`}`);
    const zone = fc.constantFrom('', 'Z', '+00', '-02', '+05:30', '+1400', '+15', ' UTC');
    const text = fc.oneof(
      fc.stringMatching(/^[+-]?\d{1,25}(?:\.\d{0,25})?(?:[eE][+-]?\d{1,3})?$/),
      fc.bigInt({ min: -(2n ** 63n) - 3n, max: -(2n ** 63n) + 3n }).map(String),
      fc.bigInt({ min: 2n ** 63n - 3n, max: 2n ** 63n + 3n }).map(String),
      fc.tuple(day, fc.option(clock), zone).map(([d, c, z]) => `${d}${c ?? ''}${c === null ? '' : z}`),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.tuple(fc.string({ maxLength: 2 }), fc.string({ maxLength: 2 }), fc.stringMatching(/^-?[1-9]\d{0,3}\.\d{0,3}0(?:e\d{1,5})?$/))
        .map(([a, b, n]) => `{${JSON.stringify(a)}:1,${JSON.stringify(b)}:${n}}`),
      fc.uuid(),
      fc.constantFrom(...ambiguous, 'true', 'False'),
    ); // prettier-ignore
    // The value of the type, written again, is the text or the same value. Each type says what the same value is.
    const same: Readonly<Record<string, string>> = {
      boolean: `lower($1) = v::text`,
      bigint: `$1 = v::text`,
      numeric: `$1 ~ '^-?(0|[1-9]\\d*)(\\.\\d+)?(e[+-]?\\d+)?$|E' and ($1 = v::text or ($1 ~* '[e]' or $1 like '-0%') and v::text::numeric = v)`,
      date: `$1 = v::text`,
      'timestamp without time zone': `v::text = case when length($1) = 10 then $1 || ' 00:00:00' else v::text end and replace($1, 'T', ' ')::timestamp = v::text::timestamp and left($1, 16) like replace(left(v::text, 10), ' ', ' ') || '%'`,
      'timestamp with time zone': `$1::timestamptz = v::text::timestamptz and $1 ~ '(Z|[+-]\\d\\d(:?\\d\\d)?)$'`,
      uuid: `lower($1) = v::text`,
      jsonb: `$1::json::jsonb = v and (select count(*) from regexp_matches($1, '"(?:[^"\\\\]|\\\\.)*"\\s*:', 'g')) = (select count(*) from regexp_matches(v::text, '"(?:[^"\\\\]|\\\\.)*"\\s*:', 'g'))`,
      json: `v::text = $1`,
      text: `v = $1`,
    };
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 3 }), async (texts) => {
        const type = inferType(texts);
        for (const each of texts) {
          if (each.includes('\0')) continue;
          const [row] = await database.query<{ same: boolean }>(
            `select ${same[type]?.replaceAll('$1', '$1::text')} as same from (select $1::text::${type} as v) as one`,
            [each],
          );
          expect(row?.same, `${JSON.stringify(each)} as ${type}`).to.equal(true);
        }
      }),
      { numRuns: 1500 },
    );
  });
});
