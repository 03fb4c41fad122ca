import { inspect } from 'node:util';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { EtlError } from '../../../src/errors.js';
import { parseConnection } from '../../../src/hooks/parse-connection.js';
import {
  createConnection,
  formatDsn,
  type Connection,
  type ConnectionFields,
} from '../../../src/hooks/connection.js';

/** Lists the fields of a connection with its password, without `id` and `definedBy`. */
function listFields(connection: Connection): Record<string, unknown> {
  const { id: _id, definedBy: _origin, ...fields } = connection;
  return connection.password === undefined ? fields : { ...fields, password: connection.password };
}

function parse(text: string): Record<string, unknown> {
  return listFields(parseConnection('my_db', text, 'AIRFLOW_CONN_MY_DB'));
}

function catchError(text: string): EtlError {
  try {
    parseConnection('my_db', text, 'AIRFLOW_CONN_MY_DB');
  } catch (error) {
    if (error instanceof EtlError) return error;
    throw error;
  }
  throw new Error('the text was parsed');
}

describe('parseConnection, given a URI,', () => {
  const socket = { scheme: 'postgres', login: 'u', password: 'p' };
  // Each expected value was compared with Airflow's algorithm under CPython's urllib.
  const rows: [text: string, fields: Partial<ConnectionFields>][] = [
    ['postgres://u:p@h:5432/db', { ...socket, host: 'h', port: 5432, database: 'db' }],
    ['  postgres://h/db\n', { scheme: 'postgres', host: 'h', database: 'db' }],
    ['postgresql://h', { scheme: 'postgres', host: 'h' }],
    ['PostgreSQL://DB.Internal/Shop', { scheme: 'postgres', host: 'db.internal', database: 'Shop' }],
    ['pgsql://h', { scheme: 'postgres', host: 'h' }],
    ['type://', { scheme: 'type' }],
    ['type:///db', { scheme: 'type', database: 'db' }],
    ['type:////db', { scheme: 'type', database: '/db' }],
    ['type://h/', { scheme: 'type', host: 'h' }],
    ['type://:pw@', { scheme: 'type', password: 'pw' }],
    ['type://user@', { scheme: 'type', login: 'user' }],
    ['type://user:@h', { scheme: 'type', login: 'user', host: 'h' }],
    ['type://@:5433', { scheme: 'type', port: 5433 }],
    ['type://:5433', { scheme: 'type', port: 5433 }],
    ['type://h:', { scheme: 'type', host: 'h' }],
    ['type://h:0', { scheme: 'type', host: 'h', port: 0 }],
    ['type://h:65535', { scheme: 'type', host: 'h', port: 65_535 }],
    ['type://u:p@/db', { scheme: 'type', login: 'u', password: 'p', database: 'db' }],
    [
      'type://dom%2Fu:p%20w%3A%40%2F%23%25@h',
      { scheme: 'type', login: 'dom/u', password: 'p w:@/#%', host: 'h' },
    ],
    ['type://u:p:q@r@h', { scheme: 'type', login: 'u', password: 'p:q@r', host: 'h' }],
    ['type://u:100%zz+%@h', { scheme: 'type', login: 'u', password: '100%zz+%', host: 'h' }],
    ['type://h/a%2Fb%20c', { scheme: 'type', host: 'h', database: 'a/b c' }],
    ['postgresql://u:p@%2Fvar%2FRun%2Fpg/db', { ...socket, host: '/var/Run/pg', database: 'db' }],
    ['postgres://u:p@%2FTmP%2F:1234', { ...socket, host: '/TmP/', port: 1234 }],
    [
      'postgresql://u:p@%2Ftmp%2Fz6%2FExample%3Awest1%3Atestdb/testdb',
      { ...socket, host: '/tmp/z6/Example:west1:testdb', database: 'testdb' },
    ],
    ['scheme://H%2FLoc:1', { scheme: 'scheme', host: 'H/Loc', port: 1 }],
    ['scheme://DB%2DMain', { scheme: 'scheme', host: 'db-Main' }],
    ['postgres://[::1]/db', { scheme: 'postgres', host: '::1', database: 'db' }],
    ['postgres://u:p@[FE80::1%25eth0]:5432', { ...socket, host: 'fe80::1%eth0', port: 5432 }],
    ['postgres://%3A%3A1:5', { scheme: 'postgres', host: '::1', port: 5 }],
    ['http://https://Host:80/db', { scheme: 'http', host: 'https://host', port: 80, database: 'db' }],
    ['http://https://u:p@h', { scheme: 'http', login: 'u', password: 'p', host: 'https://h' }],
    ['http://https://', { scheme: 'http' }],
    [
      'spark://k8s%3a%2F%2F100.68.0.1:443?deploy-mode=cluster',
      { scheme: 'spark', host: 'k8s://100.68.0.1', port: 443, extra: { 'deploy-mode': 'cluster' } },
    ],
    [
      'google-cloud-platform://?key=%2Fk.json&scope=https%3A%2F%2Fwww',
      { scheme: 'google_cloud_platform', extra: { key: '/k.json', scope: 'https://www' } },
    ],
    ['type://?scope=https://x/y', { scheme: 'type', extra: { scope: 'https://x/y' } }],
    [
      'type://h?a=x%20y+z&b=&c&a=2&&d=1=2',
      { scheme: 'type', host: 'h', extra: { a: '2', b: '', c: '', d: '1=2' } },
    ],
    ['type://h/db?x=1%2B1', { scheme: 'type', host: 'h', database: 'db', extra: { x: '1+1' } }],
    ['type://h?email=a@b', { scheme: 'type', host: 'h', extra: { email: 'a@b' } }],
    ['type://?a=1&__extra__=%7B%22n%22%3A+%5B1%5D%7D', { scheme: 'type', extra: { n: [1] } }],
    ['type://?__extra__=', { scheme: 'type' }],
    ['type://?j=%7B%22k%22%3A1%7D', { scheme: 'type', extra: { j: '{"k":1}' } }],
    ['pglite:.etl/pgdata', { scheme: 'pglite', database: '.etl/pgdata' }],
    ['pglite::memory:', { scheme: 'pglite', database: ':memory:' }],
    ['pglite://.etl/pg%20data?x', { scheme: 'pglite', database: '.etl/pg%20data?x' }],
    ['pglite:///srv/etl@prod', { scheme: 'pglite', database: '/srv/etl@prod' }],
  ];
  for (const [text, fields] of rows) {
    it(`reads ${text.trim()}`, () => {
      expect(parse(text)).to.deep.equal({ extra: {}, ...fields });
    });
  }

  const errors: [text: string, where: string, why: RegExp, fix: RegExp][] = [
    ['', '', /empty/, /postgres:\/\//],
    [' \n', '', /empty/, /postgres:\/\//],
    ['postgres//u:pw@h', ', column 1', /scheme:\/\//, /write scheme:\/\//],
    ['postgres:u:pw@h', ', column 1', /scheme:\/\//, /write scheme/],
    ['h:5432/db', ', column 1', /scheme:\/\//, /write scheme/],
    ['"postgres://h"', ', column 1', /quotation mark/, /remove/],
    ['jdbc:postgresql://h/db', ', column 1', /JDBC/, /postgres:\/\/<login>/],
    ['Server=h;Database=d;User Id=u;', ', column 1', /ADO\.NET/, /postgres:\/\/<login>/],
    ['postgres://u:p#w@h', ', column 15', /#/, /percent-encode/],
    ['postgres://h/db#part', ', column 16', /#/, /%23/],
    ['postgres://u:p/w@h/db', ', column 17', /unencoded @/, /%2F/],
    ['postgres://u:12/w@h/db', ', column 18', /unencoded @/, /%2F/],
    ['postgres://u:12?w@h/db', ', column 18', /unencoded @/, /%3F/],
    ['postgres://u:12?w@h/db?sslmode=require', ', column 18', /unencoded @/, /%3F/],
    ['postgres://u:p?w', ', column 14', /port/, /percent-encode/],
    ['postgres://u:p[w@h', ', column 15', /\[/, /%5B/],
    ['postgres://h:65536', ', column 14', /65535/, /password/],
    ['postgres://h:-1', ', column 14', /65535/, /password/],
    ['postgres://h:1.5', ', column 14', /65535/, /password/],
    ['postgres://::1/db', ', column 13', /port/, /brackets/],
    ['postgres://u@[::1', ', column 14', /IPv6/, /\[::1\]/],
    ['postgres://u@[h]', ', column 14', /IPv6/, /\[::1\]/],
    ['postgres://[::1]5432', ', column 12', /IPv6/, /\[::1\]:5432/],
    ['postgres://h/%FF', ', column 14', /UTF-8/, /%25/],
    ['postgres://h/a%00b', ', column 14', /UTF-8/, /%25/],
    ['postgres://u:p\nw@h', ', column 15', /line break/, /remove/],
    ['a://b://c://d', ', column 6', /more than two/, /%3A%2F%2F/],
    ['http://u@https://h', ', column 15', /second/, /%3A%2F%2F/],
    ['http://u:p@h/db?x=https://y', ', column 24', /second/, /%3A%2F%2F/],
    ['http://h/db?x=https://y', ', column 20', /second/, /%3A%2F%2F/],
    ['type://?__extra__=%5B1%5D', ', field "extra"', /JSON object/, /sslmode/],
    ['type://?__extra__=%7B', ', field "extra"', /JSON object/, /sslmode/],
    ['type://?__proto__=1', ', field "extra"', /__proto__/, /remove/],
    ['pglite:', '', /directory/, /pglite:<directory>/],
    ['pglite://u:pw@h/db', '', /no login/, /pglite:<directory>/],
  ];
  for (const [text, where, why, fix] of errors) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      const error = catchError(text);
      expect(error.code).to.equal('ETL-2201');
      expect(error.message).to.equal('connection "my_db" is malformed');
      expect(error.where).to.equal(`AIRFLOW_CONN_MY_DB${where}`);
      expect(error.why).to.match(why);
      expect(error.fix).to.match(fix);
    });
  }
});

describe('parseConnection, given JSON,', () => {
  const rows: [text: string, fields: Partial<ConnectionFields>][] = [
    [
      ' {"conn_type": "postgresql", "description": "x", "login": "u", "password": "p:/@#%", "host": "Db", "port": 1, "schema": "s"}',
      { scheme: 'postgres', login: 'u', password: 'p:/@#%', host: 'Db', port: 1, database: 's' },
    ],
    ['{"conn_type": "abc-def"}', { scheme: 'abc_def' }],
    ['{"conn_type": "t", "port": "1"}', { scheme: 't', port: 1 }],
    ['{"conn_type": "t", "port": 0}', { scheme: 't', port: 0 }],
    ['{"conn_type": "t", "port": "", "password": "", "login": "", "host": ""}', { scheme: 't' }],
    ['{"conn_type": "t", "port": null, "password": null, "extra": null}', { scheme: 't' }],
    ['{"conn_type": "t", "extra": {"a": {"b": [1]}}}', { scheme: 't', extra: { a: { b: [1] } } }],
    ['{"conn_type": "t", "extra": "{\\"a\\": 1}"}', { scheme: 't', extra: { a: 1 } }],
    ['{"conn_type": "t", "extra": ""}', { scheme: 't' }],
    ['{"conn_type": "pglite", "schema": "dir"}', { scheme: 'pglite', database: 'dir' }],
  ];
  for (const [text, fields] of rows) {
    it(`reads ${text.trim()}`, () => {
      expect(parse(text)).to.deep.equal({ extra: {}, ...fields });
    });
  }

  const errors: [text: string, where: string, why: RegExp][] = [
    ['{', '', /valid JSON/],
    ['{"conn_type": "t"} x', '', /valid JSON/],
    ['{}', ', field "conn_type"', /missing/],
    ['{"conn_type": 1}', ', field "conn_type"', /string/],
    ['{"conn_type": "a b"}', ', field "conn_type"', /name/],
    ['{"conn_type": "t", "user": "u"}', '', /number 2/],
    ['{"conn_type": "t", "login": 7}', ', field "login"', /string/],
    ['{"conn_type": "t", "host": "a\\u0000b"}', ', field "host"', /NUL/],
    ...['-1', '65536', '1.5', '"1.5"', '"x"', '" 1"', 'true', '[1]'].map((port): [string, string, RegExp] => [
      `{"conn_type": "t", "port": ${port}}`,
      ', field "port"',
      /65535/,
    ]),
    ...['[]', '1', '"[]"', '"x"', 'true'].map((extra): [string, string, RegExp] => [
      `{"conn_type": "t", "extra": ${extra}}`,
      ', field "extra"',
      /JSON object/,
    ]),
    ['{"conn_type": "t", "extra": {"__proto__": {}}}', ', field "extra"', /__proto__/],
    ['{"conn_type": "pglite", "schema": "d", "host": "h"}', '', /directory/],
    ['{"conn_type": "pglite"}', '', /directory/],
  ];
  for (const [text, where, why] of errors) {
    it(`refuses ${text}`, () => {
      const error = catchError(text);
      expect([error.code, error.where]).to.deep.equal(['ETL-2201', `AIRFLOW_CONN_MY_DB${where}`]);
      expect(error.why).to.match(why);
    });
  }
});

describe('a URI that Airflow writes', () => {
  it('reads every connection that Airflow can write as a URI', () => {
    const text = fc.string({ unit: 'binary', minLength: 1 }).filter((value) => !value.includes('\0'));
    // JSON has no -0: it is written as 0.
    const jsonValue = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);
    const host = fc.oneof(
      text,
      fc.domain(),
      fc.ipV6(),
      fc.ipV4(),
      text.map((name) => `k8s://${name}`),
    );
    const fields = fc.record(
      {
        scheme: fc
          .stringMatching(/^[a-z][a-z0-9+._]{0,8}$/)
          .filter((s) => !/^(pglite|postgresql|pgsql)$/.test(s)),
        host,
        port: fc.integer({ min: 0, max: 65_535 }),
        login: text,
        password: text,
        database: text,
        extra: fc.oneof(
          fc.dictionary(keyed(text), text),
          fc.dictionary(keyed(fc.string()), jsonValue),
          fc.constant({ __extra__: 'x' }),
        ),
      },
      { requiredKeys: ['scheme'] },
    );
    fc.assert(
      fc.property(fields, (values) => {
        const connection = createConnection({ id: 'my_db', definedBy: 'AIRFLOW_CONN_MY_DB', ...values });
        expect(parse(writeUri(connection))).to.deep.equal(listFields(connection));
      }),
      { numRuns: 200 },
    );
  });
});

describe('an error of parseConnection', () => {
  // The password has a mark on both sides of a delimiter, because half a password in an error is a leak, too.
  const mark = fc.stringMatching(/^Zq[A-Z0-9]{8,12}$/);
  const glue = fc.constantFrom(
    '',
    '@',
    '/',
    '?',
    '#',
    ':',
    '%',
    '%FF',
    '[',
    ']',
    '&',
    '=',
    ' ',
    '"',
    '\\',
    '\n',
    '://',
  );
  const malformations: ((secret: string) => string)[] = [
    (s) => s,
    (s) => `postgres//u:${s}@h/db`,
    (s) => `"postgres://u:${s}@h/db"`,
    (s) => `jdbc:postgresql://h/db?password=${s}`,
    (s) => `postgres://u:${s}/x@h/db`,
    (s) => `postgres://u:x#${s}@h/db`,
    (s) => `postgres://u:1?${s}@h/db`,
    (s) => `postgres://u:[${s}@h/db`,
    (s) => `postgres://h:${s}`,
    (s) => `postgres://u:${s}@h:70000`,
    (s) => `postgres://u:${s}@[h]/db`,
    (s) => `postgres://u:%FF${s}@h`,
    (s) => `a://${s}://b://c`,
    (s) => `postgres://u:${s}@h/?x=a://b`,
    (s) => `postgres://h?__extra__=${s}`,
    (s) => `pglite://u:${s}@h`,
    (s) => `{"conn_type": "postgres", "password": "${s}"`,
    (s) => `{${s}}`,
    (s) => JSON.stringify({ conn_type: `a ${s}` }),
    (s) => JSON.stringify({ conn_type: 't', [s]: s }),
    (s) => JSON.stringify({ conn_type: 't', port: s }),
    (s) => JSON.stringify({ conn_type: 't', login: [s] }),
    (s) => JSON.stringify({ conn_type: 't', extra: s }),
    (s) => JSON.stringify({ conn_type: 'pglite', password: s }),
  ];

  /** Malformed by libpq's rules. */
  const libpqMalformations: ((secret: string) => string)[] = [
    (s) => `host=h password='${s}`,
    (s) => `host=h password=a ${s}`,
    (s) => `host=h password=a ${s}=b`,
    (s) => `host=h password=a\u0000${s}`,
    (s) => `postgres://u:a@${s}@h/db`,
    (s) => `postgres://u:a/${s}@h/db`,
    (s) => `postgres://[${s}/db`,
    (s) => `postgres://[${s}]x/db`,
    (s) => `postgres://h/db?${s}`,
    (s) => `postgres://h/db?password=a=${s}`,
    (s) => `postgres://u:%zz${s}@h/db`,
    (s) => `postgres://u:a ${s}@h/db`,
  ];

  it('never contains a part of the definition', () => {
    const malform = fc.constantFrom(...malformations, ...libpqMalformations);
    const definedBy = fc.constantFrom('AIRFLOW_CONN_MY_DB', 'ETL_CONN_MY_DB');
    const secret = fc.tuple(mark, glue, mark);
    fc.assert(
      fc.property(malform, definedBy, secret, (write, name, [left, delimiter, right]) => {
        expectNoneOf([left, right], write(left + delimiter + right), name);
      }),
      { numRuns: 4000 },
    );
  });

  for (const malform of malformations.map((row) => row('ZqPLANTED7'))) {
    it(`is thrown for ${malform}`, () => {
      expect(catchError(malform).code).to.equal('ETL-2201');
      expectNoneOf(['ZqPLANTED7'], malform, 'AIRFLOW_CONN_MY_DB');
    });
  }

  for (const text of libpqMalformations.map((row) => row('ZqPLANTED7'))) {
    it(`is thrown by libpq's rules for ${JSON.stringify(text)}`, () => {
      expect(() => parseConnection('my_db', text, 'ETL_CONN_MY_DB'))
        .to.throw(EtlError)
        .with.property('code', 'ETL-2201');
      expectNoneOf(['ZqPLANTED7'], text, 'ETL_CONN_MY_DB');
    });
  }
});

describe('a connection', () => {
  const connection = parseConnection(
    'my_db',
    'postgres://etl:s3cret-word@db.internal:5432/shop?sslmode=require&token=t0ken-value&options=-cx',
    'ETL_CONN_MY_DB',
  );

  it('hides its password from inspect, JSON.stringify and spreading', () => {
    expect(connection.password).to.equal('s3cret-word');
    const shown = [inspect(connection), JSON.stringify(connection), inspect({ ...connection })].join('\n');
    expect(shown).not.to.include('s3cret-word');
  });

  it('is frozen, and so is its extra', () => {
    expect(Object.isFrozen(connection)).to.equal(true);
    expect(Object.isFrozen(connection.extra)).to.equal(true);
  });

  const dsns: [text: string, dsn: string][] = [
    [
      'postgres://etl:pw@db.internal:5432/shop?sslmode=require&token=x',
      'postgres://etl:***@db.internal:5432/shop?sslmode=require&token=***',
    ],
    ['postgres://', 'postgres://'],
    ['postgres://u@[::1]:5432', 'postgres://u@[::1]:5432'],
    ['postgres://:pw@%2Fvar%2Frun?connect_timeout=5', 'postgres://:***@%2Fvar%2Frun/?connect_timeout=5'],
    ['t://h?__extra__=%7B%22sslmode%22%3A%7B%22a%22%3A1%7D%7D', 't://h/?sslmode=***'],
    ['pglite:.etl/pgdata', 'pglite:.etl/pgdata'],
  ];
  for (const [text, dsn] of dsns) {
    it(`is shown as ${dsn}`, () => {
      expect(formatDsn(parseConnection('my_db', text, '--conn'))).to.equal(dsn);
    });
  }
});

/** Writes a connection in Airflow's URI form. All bytes of the host are escaped, which keeps its case. */
function writeUri({ scheme, login, password, host, port, database, extra }: Connection): string {
  const quote = encodeURIComponent;
  const user = `${quote(login ?? '')}${password === undefined ? '' : `:${quote(password)}`}`;
  const name = Array.from(Buffer.from(host ?? ''), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join(
    '',
  );
  const entries = Object.entries(extra);
  const isPlain = entries.every(([key, value]) => key !== '__extra__' && typeof value === 'string');
  const pairs = isPlain ? entries : [['__extra__', JSON.stringify(extra)]];
  const query = pairs.map((pair) => pair.map((part) => quote(String(part))).join('=')).join('&');
  return `${scheme.replaceAll('_', '-')}://${user}@${name}${port === undefined ? '' : `:${port}`}/${quote(database ?? '')}?${query}`;
}

function keyed(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return text.filter((key) => key !== '__proto__');
}

/** Expects no mark in the error of a text. A delimiter can make the text valid; then nothing is checked. */
function expectNoneOf(marks: string[], text: string, definedBy: string): void {
  try {
    parseConnection('my_db', text, definedBy);
  } catch (error) {
    const { message, stack, where, why, fix, data, cause } = error as EtlError;
    const shown = [message, stack, where, why, fix, data, inspect(cause), JSON.stringify(error)].join('\n');
    const all = shown + inspect(error, { depth: null, showHidden: true });
    for (const secret of marks) expect(all).not.to.include(secret);
    expect(cause).to.equal(undefined);
  }
}
