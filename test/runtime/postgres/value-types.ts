import fc from 'fast-check';

/** A type of PostgreSQL, with random values as texts. */
export interface ValueType {
  readonly name: string;
  /** The type in SQL. */
  readonly sql: string;
  readonly texts: fc.Arbitrary<string>;
  /** Values that pg's parsers keep: its `Date` has milliseconds, for example. Default: all of `texts`. */
  readonly inJavaScript?: fc.Arbitrary<string> | undefined;
  /** Values that Parquet holds. Default: all of `texts`. Undefined if `texts` is right. */
  readonly inParquet?: fc.Arbitrary<string> | undefined;
  /** Values that NDJSON keeps: it can't tell JSON's null from NULL. Default: all of `texts`. */
  readonly inNdjson?: fc.Arbitrary<string> | undefined;
}

/** Types of which pg's parser returns another value than the column has. They are read with `text: true` only. */
export const NOT_IN_JAVASCRIPT: ReadonlySet<string> = new Set([
  'numeric[]', // pg reads the numbers of an array as doubles
  'text[0:1]', // an array of JavaScript has no bounds
]);

const pad = (value: number, size = 2): string => String(value).padStart(size, '0');

/** Characters that a format, a quote or a parser could stumble over. No NUL, which PostgreSQL can't store. */
const character = fc.oneof(
  fc.constantFrom('\\', '"', "'", ',', ';', '\t', '\n', '\r', ' ', '{', '}', '(', ')', '[', ']', '\\N', '\\.', 'NULL', 'é', '€', '😀', '\u2028', '\u0085', '\b', '\v', '\u007f', '\ufeff', '%', '$1', ':a', '?'),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 3 }),
); // prettier-ignore
const string = fc.oneof(
  fc.array(character, { maxLength: 12 }).map((parts) => parts.join('').replaceAll('\0', '')),
  fc.constantFrom('', 'NULL', 'null', '\\N', '\\.', ' ', '""', 'true', '1', '1e5', '2026-05-01', '{}', '[]', '-', 'infinity'),
); // prettier-ignore
const ascii = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_ ".,\\]{0,15}$/);

const int = (bits: number): fc.Arbitrary<string> => {
  const most = 2n ** BigInt(bits - 1) - 1n;
  return fc.oneof(
    fc.bigInt({ min: -most - 1n, max: most }),
    fc.constantFrom(0n, 1n, -1n, most, -most - 1n),
  ).map(String);
}; // prettier-ignore
const bigint = int(64);
const decimal = (whole: number, scale: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 10n ** BigInt(whole) - 1n }), fc.integer({ min: 0, max: scale }), fc.bigInt({ min: 0n, max: 10n ** BigInt(scale) - 1n }))
    .map(([isNegative, units, digits, rest]) => {
      const fraction = digits === 0 ? '' : `.${String(rest).padStart(scale, '0').slice(0, digits)}`;
      return `${isNegative && (units > 0n || /[1-9]/.test(fraction)) ? '-' : ''}${units}${fraction}`;
    }); // prettier-ignore
const double = fc.oneof(
  fc.double({ noNaN: true }),
  fc.constantFrom(0, -0, 0.1, 1e300, 5e-324, 123456.789, Infinity, -Infinity, NaN),
);
const writeDouble = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));
const float8 = double.map(writeDouble);
const finite = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }).map(writeDouble);
const float4 = fc.oneof(
  fc.float({ noNaN: true }),
  fc.constantFrom(0, -0, 3.4028234663852886e38, Infinity, NaN),
).map(writeDouble); // prettier-ignore

/** A day of the range of PostgreSQL, seldom before our era or after 9999. */
const days = (min: number, max: number): fc.Arbitrary<string> =>
  fc.integer({ min, max }).map((day) => {
    const date = new Date(day * 86_400_000);
    const year = date.getUTCFullYear();
    const text = `${pad(year > 0 ? year : 1 - year, 4)}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
    return year > 0 ? text : `${text} BC`;
  });
const DAY = { bc: -2_440_000, first: -719_162, last: 2_932_896, far: 100_000_000 };
const modernDay = days(-36_500, 36_500);
const day = fc.oneof(
  modernDay,
  days(DAY.first, DAY.last),
  days(DAY.bc, DAY.first),
  days(DAY.last, 10_000_000),
);
const clock = (digits: number): fc.Arbitrary<string> =>
  fc.integer({ min: 0, max: 86_399 }).chain((second) =>
    fc.integer({ min: 0, max: 10 ** digits - 1 }).map((fraction) => {
      const text = `${pad(Math.floor(second / 3600))}:${pad(Math.floor(second / 60) % 60)}:${pad(second % 60)}`;
      return digits === 0 || fraction === 0 ? text : `${text}.${pad(fraction, digits)}`;
    }),
  );
const stamp = (dayText: fc.Arbitrary<string>, digits: number, zone = ''): fc.Arbitrary<string> =>
  fc
    .tuple(dayText, clock(digits))
    .map(([date, time]) =>
      date.endsWith(' BC') ? `${date.slice(0, -3)} ${time}${zone} BC` : `${date} ${time}${zone}`,
    );
const infinities = fc.constantFrom('infinity', '-infinity');
const timestamp = fc.oneof(stamp(day, 6), infinities);
const timestamptz = fc.oneof(stamp(day, 6, '+00'), infinities);
/** Days from 1902 to 2037 at noon: a local time that exists in every zone. */
const noon = days(-24_000, 24_000).map((date) => `${date} 12:00:00`);
const finiteStamp = stamp(fc.oneof(modernDay, days(DAY.first, DAY.last)), 6);

const intervalParts = fc.tuple(
  fc.integer({ min: -100, max: 100 }),
  fc.integer({ min: -1000, max: 1000 }),
  fc.integer({ min: -360_000, max: 360_000 }),
  fc.integer({ min: 0, max: 999_999 }),
);
const interval = intervalParts.map(
  ([months, dayCount, seconds, micros]) =>
    `${months} mons ${dayCount} days ${seconds}.${pad(micros, 6)} secs`,
);
const jsonValue = fc.jsonValue({ maxDepth: 3, stringUnit: 'grapheme' }).map((value) => JSON.stringify(value));
const withoutEscape = (text: string): boolean => !/\\u0000|\\ud[89a-f]/i.test(text);
const json = fc.oneof(
  jsonValue.filter(withoutEscape),
  fc.constantFrom('"a"', '1', '-1.50', 'true', '[]', '{}', '[[]]', '{"a": {"b": [1, null, "x"]}}', '"2026-05-01"', '"2026-05-01T00:00:00Z"', '12345678901234567890', '{"n": 0.12345678901234567890}', '""', '{"__proto__": 1}', '{"constructor": "x"}'),
); // prettier-ignore
/** JSON whose numbers are doubles, and which is not null: pg reads numbers with JSON.parse, and null as NULL. */
const plainJson = fc
  .oneof(
    fc.jsonValue({ maxDepth: 3, stringUnit: 'grapheme' }).map((value) => JSON.stringify(value)),
    fc.constantFrom('"a"', '1', 'true', '[]', '{}', '[[]]', '{"a":{"b":[1,null,"x"]}}', '"2026-05-01"'),
  )
  .filter((text) => withoutEscape(text) && text !== 'null');
/** JSON that a file format keeps: not null, which becomes NULL, and in the notation of `JSON.stringify`. */
const fileJson = json.filter((text) => text !== 'null' && isCompact(text));
/** Says whether the text has no zero at the end of a number, and no blank outside of a string. */
function isCompact(text: string): boolean {
  const outside = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  return !/\s|\.\d*0(?!\d)/.test(outside);
}
/** Numbers without zeros at the end, which a file format of JSON does not keep. */
const compactDecimal = decimal(30, 20).filter((text) => !/\.\d*0$/.test(text));

const bytes = fc.uint8Array({ maxLength: 12 }).map((value) => `\\x${Buffer.from(value).toString('hex')}`);
const uuid = fc.uuid();
const coordinate = fc.integer({ min: -1000, max: 1000 }).map((n) => String(n / 8));
const point = fc.tuple(coordinate, coordinate).map(([x, y]) => `(${x},${y})`);
const bounds = (item: fc.Arbitrary<bigint | number>, write: (value: bigint | number) => string): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom('empty', '(,)'),
    fc.tuple(item, item, fc.constantFrom('[', '('), fc.constantFrom(']', ')')).map(([a, b, open, close]) => {
      const [low, high] = a <= b ? [a, b] : [b, a];
      return `${open}${write(low)},${write(high)}${close}`;
    }),
  ); // prettier-ignore
const smallInt = fc.integer({ min: -10_000, max: 10_000 });
const toDay = (value: bigint | number): string =>
  new Date(Number(value) * 86_400_000).toISOString().slice(0, 10);

/** Quotes an item of an array. */
const quoteItem = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
const array = (item: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .array(fc.option(item, { freq: 5 }), { maxLength: 5 })
    .map((items) => `{${items.map((each) => (each === null ? 'NULL' : quoteItem(each))).join(',')}}`);

/** Every type that the test of all paths uses. */
export const TYPES: readonly ValueType[] = [
  { name: 'boolean', sql: 'boolean', texts: fc.constantFrom('true', 'false') },
  { name: 'smallint', sql: 'smallint', texts: int(16) },
  { name: 'integer', sql: 'integer', texts: int(32) },
  { name: 'bigint', sql: 'bigint', texts: bigint },
  { name: 'oid', sql: 'oid', texts: fc.bigInt({ min: 0n, max: 4294967295n }).map(String) },
  { name: 'real', sql: 'real', texts: float4 },
  { name: 'double precision', sql: 'double precision', texts: float8 },
  { name: 'numeric', sql: 'numeric', texts: fc.oneof(decimal(30, 20), fc.constantFrom('NaN', '0.000', '1.50', '1e-10', 'Infinity')), inNdjson: compactDecimal },
  { name: 'numeric(20,4)', sql: 'numeric(20,4)', texts: fc.oneof(decimal(14, 4), fc.constant('NaN')), inParquet: decimal(14, 4) },
  { name: 'text', sql: 'text', texts: string },
  { name: 'varchar(60)', sql: 'varchar(60)', texts: string.filter((text) => Array.from(text).length <= 60) },
  { name: 'char(20)', sql: 'char(20)', texts: ascii },
  { name: '"char"', sql: '"char"', texts: fc.constantFrom('a', ' ', '"', ',', '\\', 'Z', '\t') },
  { name: 'name', sql: 'name', texts: ascii },
  { name: 'bytea', sql: 'bytea', texts: bytes },
  { name: 'date', sql: 'date', texts: fc.oneof(day, infinities, fc.constant('5874897-12-31')), inJavaScript: fc.oneof(modernDay, days(DAY.first, DAY.last), days(DAY.bc, DAY.first)), inParquet: day },
  { name: 'time', sql: 'time', texts: fc.oneof(clock(6), fc.constant('24:00:00')) },
  { name: 'timetz', sql: 'timetz', texts: clock(6).map((text) => `${text}+05:30`) },
  { name: 'timestamp', sql: 'timestamp', texts: timestamp, inJavaScript: noon, inParquet: finiteStamp },
  { name: 'timestamptz', sql: 'timestamptz', texts: timestamptz, inJavaScript: stamp(modernDay, 3, '+00'), inParquet: finiteStamp.map((text) => `${text}+00`) },
  { name: 'timestamp(0)', sql: 'timestamp(0)', texts: stamp(modernDay, 0), inJavaScript: noon },
  { name: 'interval', sql: 'interval', texts: interval, inJavaScript: interval },
  { name: 'uuid', sql: 'uuid', texts: uuid },
  { name: 'json', sql: 'json', texts: json, inJavaScript: plainJson, inNdjson: fileJson, inParquet: fileJson },
  { name: 'jsonb', sql: 'jsonb', texts: json, inJavaScript: plainJson, inNdjson: fileJson, inParquet: fileJson },
  { name: 'xml', sql: 'xml', texts: fc.constantFrom('<a/>', '<a b="1">x &amp; y</a>', 'text', '<a/><b/>', '<a>é\n</a>') },
  { name: 'money', sql: 'money', texts: decimal(10, 2) },
  { name: 'inet', sql: 'inet', texts: fc.ipV4().map((ip) => `${ip}/16`) },
  { name: 'cidr', sql: 'cidr', texts: fc.constantFrom('10.0.0.0/8', '2001:db8::/32', '0.0.0.0/0') },
  { name: 'macaddr', sql: 'macaddr', texts: fc.constantFrom('08:00:2b:01:02:03', 'ff:ff:ff:ff:ff:ff') },
  { name: 'bit(5)', sql: 'bit(5)', texts: fc.stringMatching(/^[01]{5}$/) },
  { name: 'varbit', sql: 'varbit', texts: fc.stringMatching(/^[01]{0,20}$/) },
  { name: 'point', sql: 'point', texts: point },
  { name: 'lseg', sql: 'lseg', texts: fc.tuple(point, point).map(([a, b]) => `[${a},${b}]`) },
  { name: 'box', sql: 'box', texts: fc.tuple(point, point).map(([a, b]) => `${a},${b}`) },
  { name: 'path', sql: 'path', texts: fc.tuple(point, point).map(([a, b]) => `[${a},${b}]`) },
  { name: 'polygon', sql: 'polygon', texts: fc.tuple(point, point, point).map((all) => `(${all.join(',')})`) },
  { name: 'circle', sql: 'circle', texts: fc.tuple(point, fc.integer({ min: 1, max: 99 })).map(([at, r]) => `<${at},${r}>`) },
  { name: 'int4range', sql: 'int4range', texts: bounds(smallInt, String) },
  { name: 'numrange', sql: 'numrange', texts: bounds(smallInt, (n) => `${n}.50`) },
  { name: 'daterange', sql: 'daterange', texts: bounds(smallInt, toDay) },
  { name: 'tsrange', sql: 'tsrange', texts: bounds(smallInt, (n) => `"${toDay(n)} 01:02:03.5"`) },
  { name: 'tstzrange', sql: 'tstzrange', texts: bounds(smallInt, (n) => `"${toDay(n)} 01:02:03+00"`) },
  { name: 'int4multirange', sql: 'int4multirange', texts: fc.constantFrom('{}', '{[1,3),[5,7)}') },
  { name: 'tsvector', sql: 'tsvector', texts: fc.constantFrom(`'cat':3A 'fat':2`, `'a''b':1`, '') },
  { name: 'tsquery', sql: 'tsquery', texts: fc.constantFrom(`'fat' & !'rat'`, `'a' <-> 'b'`) },
  { name: 'pg_lsn', sql: 'pg_lsn', texts: fc.constantFrom('16/B374D848', '0/0') },
  { name: 'jsonpath', sql: 'jsonpath', texts: fc.constantFrom('$."a"[*]', '$."x y"?(@ > 1)') },
  { name: 'regclass', sql: 'regclass', texts: fc.constantFrom('pg_class', 'pg_type') },
  { name: 'an enum', sql: 'mood', texts: fc.constantFrom('ok', 'not, "ok"', 'NULL', '') },
  { name: 'a domain of date', sql: 'day', texts: modernDay },
  { name: 'a domain of timestamptz', sql: 'instant', texts: timestamptz, inJavaScript: stamp(modernDay, 3, '+00'), inParquet: finiteStamp.map((text) => `${text}+00`) },
  { name: 'a domain of jsonb', sql: 'document', texts: json, inJavaScript: plainJson, inNdjson: fileJson, inParquet: fileJson },
  { name: 'a composite', sql: 'pair', texts: fc.tuple(int(32), ascii).map(([a, b]) => `(${a},${quoteItem(b)})`) },
  { name: 'integer[]', sql: 'integer[]', texts: array(int(32)) },
  { name: 'bigint[]', sql: 'bigint[]', texts: array(bigint) },
  { name: 'numeric[]', sql: 'numeric[]', texts: array(decimal(25, 10)), inNdjson: array(compactDecimal), inParquet: array(compactDecimal) },
  { name: 'double precision[]', sql: 'double precision[]', texts: array(float8), inParquet: array(finite) },
  { name: 'text[]', sql: 'text[]', texts: array(string) },
  { name: 'text[0:1]', sql: 'text[]', texts: fc.tuple(string, string).map((all) => `[0:1]={${all.map(quoteItem).join(',')}}`) },
  { name: 'boolean[]', sql: 'boolean[]', texts: array(fc.constantFrom('t', 'f')) },
  { name: 'date[]', sql: 'date[]', texts: array(day), inJavaScript: array(modernDay) },
  { name: 'timestamptz[]', sql: 'timestamptz[]', texts: array(stamp(day, 6, '+00')), inJavaScript: array(stamp(modernDay, 3, '+00')) },
  { name: 'timestamp[]', sql: 'timestamp[]', texts: array(stamp(day, 6)), inJavaScript: array(noon) },
  { name: 'interval[]', sql: 'interval[]', texts: array(interval) },
  { name: 'bytea[]', sql: 'bytea[]', texts: array(bytes) },
  { name: 'uuid[]', sql: 'uuid[]', texts: array(uuid) },
  { name: 'jsonb[]', sql: 'jsonb[]', texts: array(json), inJavaScript: array(plainJson.filter((text) => !text.startsWith('['))), inNdjson: array(fileJson.filter((text) => !text.startsWith('['))), inParquet: array(fileJson.filter((text) => !text.startsWith('['))) },
]; // prettier-ignore
